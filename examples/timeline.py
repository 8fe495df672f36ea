"""Find the emotions over time in a recording of any length."""

import argparse

from crossmodal import EmotionRecognizer


def main() -> None:
    """Read the arguments and print a line per segment."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model folder, or owner/name on the Hugging Face Hub")
    parser.add_argument("recording", help="an audio or video file")
    parser.add_argument("--window", type=float, default=3.0, help="seconds; default: %(default)s")
    parser.add_argument("--hop", type=float, default=0.5, help="seconds; default: %(default)s")
    args = parser.parse_args()

    recognizer = EmotionRecognizer.from_pretrained(args.model)
    timeline = recognizer.timeline(args.recording, window=args.window, hop=args.hop)
    for segment in timeline.segments:
        print(f"{segment.start:7.2f} to {segment.end:7.2f} s: {segment.label} ({segment.score:.2f})")


if __name__ == "__main__":
    main()
