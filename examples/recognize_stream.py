"""Predict emotions in live audio. Here the chunks come from a file; a microphone works in the same way."""

import argparse

import soundfile

from crossmodal import EmotionRecognizer


def main() -> None:
    """Read the arguments and print a line per window, as soon as it is complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model folder, or owner/name on the Hugging Face Hub")
    parser.add_argument("recording", help="an audio file")
    parser.add_argument("--window", type=float, default=3.0, help="seconds; default: %(default)s")
    parser.add_argument("--hop", type=float, default=0.5, help="seconds; default: %(default)s")
    args = parser.parse_args()

    recognizer = EmotionRecognizer.from_pretrained(args.model)
    with soundfile.SoundFile(args.recording) as audio:
        stream = recognizer.stream(sample_rate=audio.samplerate, window=args.window, hop=args.hop)
        for chunk in audio.blocks(blocksize=audio.samplerate // 10, dtype="float32", always_2d=True):
            for window in stream.feed(chunk.T):  # (channels, samples); chunks may have any length
                print(f"{window.end:6.2f} s: {window.prediction.label}")
        for window in stream.finish():
            print(f"{window.end:6.2f} s: {window.prediction.label}")


if __name__ == "__main__":
    main()
