"""Export a model folder to ONNX and compare its predictions with those of PyTorch."""

import argparse

from crossmodal import EmotionRecognizer
from crossmodal.inference.export import export_model


def main() -> None:
    """Read the arguments, export, and print the largest difference of a probability."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model folder, such as runs/fit/model")
    parser.add_argument("out", help="folder to write; it runs without torch")
    parser.add_argument("recordings", nargs="+", help="audio files for the comparison")
    args = parser.parse_args()

    export_model(args.model, out=args.out)
    before = EmotionRecognizer.from_pretrained(args.model, backend="torch")(args.recordings)
    after = EmotionRecognizer.from_pretrained(args.out, backend="onnx")(args.recordings)
    for recording, first, second in zip(args.recordings, before, after, strict=True):
        difference = max(
            (abs(first.probabilities[label] - second.probabilities[label]) for label in first.probabilities), default=0
        )
        print(f"{recording}: {first.label}, {second.label}; largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
