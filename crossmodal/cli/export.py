"""`crossmodal export`."""

import argparse
from pathlib import Path

from crossmodal.cli.help_texts import TRUST
from crossmodal.errors import ConfigError
from crossmodal.inference.export import export_model
from crossmodal.inference.recognizer import find_model


def export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `export`."""
    parser.description = (
        "Export the voice model to ONNX: model.onnx maps waveforms to calibrated probabilities with onnxruntime. The "
        "export is first compared with PyTorch on generated sounds of three lengths in batches of two sizes. If "
        "probabilities differ by more than 1e-4, nothing is written. Needs the extra [export]."
    )
    model = "model folder, such as runs/fit/model, or name of a model on the Hub"
    parser.add_argument("model", metavar="MODEL", help=model)
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="default: %(default)s")
    int8 = "also write model.int8.onnx with 8-bit weights: at most half the size, nearly the same predictions"
    parser.add_argument("--int8", action="store_true", help=int8)
    out = "output folder, with copies of config.json and README.md; it needs no torch; default: MODEL"
    parser.add_argument("--out", metavar="DIR", help=out)
    parser.add_argument("--trust_own_code", action="store_true", help=TRUST)


def export_command(args: argparse.Namespace) -> int:
    """Run `crossmodal export`."""
    folder = find_model(args.model)
    if args.out is None and folder != Path(args.model):
        raise ConfigError(f"{args.model} was downloaded from the Hub: give a folder for the export with --out DIR.")
    for exported in export_model(folder, args.out, int8=args.int8, trust_own_code=args.trust_own_code):
        print(
            f"{exported.path} ({exported.size / 1e6:.2f} MB): on {exported.clips} generated sounds, probabilities "
            f"differ from {exported.original} by at most {exported.largest:.1g} (mean {exported.mean:.1g}); "
            f"the predicted emotion is the same in {exported.same_label}."
        )
    if args.int8:
        print(f"To evaluate the 8-bit model: crossmodal test --model {args.out or folder} --backend int8")
    return 0
