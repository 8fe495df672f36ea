"""Predict the emotion of audio and video files, and of the recordings in folders."""

import argparse
from pathlib import Path

from crossmodal import EmotionRecognizer
from crossmodal.errors import MediaError

SUFFIXES = {".wav", ".flac", ".mp3", ".m4a", ".mp4"}


def main() -> None:
    """Read the arguments and print a line per recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model folder, or owner/name on the Hugging Face Hub")
    parser.add_argument("inputs", nargs="+", type=Path, help="files and folders")
    args = parser.parse_args()

    recognizer = EmotionRecognizer.from_pretrained(args.model)
    for path in args.inputs:
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        for file in inside if path.is_dir() else [path]:
            try:
                prediction = recognizer(file)
            except MediaError as error:
                print(f"{file}: {error}")
            else:
                print(f"{file}: {prediction.label} ({prediction.score:.2f})")


if __name__ == "__main__":
    main()
