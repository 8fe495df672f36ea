"""`crossmodal export`."""

import argparse
from pathlib import Path

from crossmodal.errors import ConfigError
from crossmodal.inference.export import export_model
from crossmodal.inference.recognizer import find_model


def export_command(args: argparse.Namespace) -> int:
    """Run `crossmodal export`.

    Raises:
        ConfigError: The model is on the Hub, and --out names no folder for the export.
    """
    folder = find_model(args.model)
    if args.out is None and folder != Path(args.model):
        raise ConfigError(f"{args.model} was downloaded from the Hub: name a folder for its export with --out DIR.")
    for exported in export_model(folder, args.out, int8=args.int8):
        print(
            f"{exported.path} ({exported.size / 1e6:.2f} MB): on {exported.clips} generated sounds, probabilities "
            f"differ from those of {exported.original} by at most {exported.largest:.1g} (mean {exported.mean:.1g}); "
            f"the same emotion in {exported.same_label}."
        )
    if args.int8:
        print(f"To measure the loss of 8 bits: crossmodal test --model {args.out or folder} --backend int8")
    return 0
