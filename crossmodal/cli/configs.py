"""`crossmodal configs`: list and print the configs that are installed with the package."""

import argparse
import json

from crossmodal.errors import ConfigError
from crossmodal.shipped_configs import configs_folder, describe_configs, find_config


def configs_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `configs`."""
    parser.description = (
        "List the shipped configs with the first line of each. fit --config accepts these names in any working "
        "directory, and study run accepts the name of a study without studies/. With NAME, print the config, or its "
        "path for other programs: wandb sweep $(crossmodal configs sweeps/teaching --path)."
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a config to print; default: list all")
    parser.add_argument("--path", action="store_true", help="print the path of NAME, or of the folder of all configs")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")


def configs_command(args: argparse.Namespace) -> int:
    """Run `crossmodal configs`."""
    path = configs_folder() if args.name is None else find_config(args.name)
    if args.path:
        print(path)
    elif args.name is not None:
        print(path.read_text(encoding="utf-8"), end="")
    elif not (comments := dict(describe_configs())):
        raise ConfigError(f"{path} has no configs: reinstall crossmodal.")
    elif args.format == "json":
        print(json.dumps(comments, indent=2))
    else:
        width = max(map(len, comments))
        for name, comment in comments.items():
            print(f"{name:<{width}}  {comment}")
    return 0
