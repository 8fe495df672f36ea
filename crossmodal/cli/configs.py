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
    if args.name is None:
        _list(args)
        return 0
    path = find_config(args.name)
    print(path if args.path else path.read_text(encoding="utf-8"), end="\n" if args.path else "")
    return 0


def _list(args: argparse.Namespace) -> None:
    if args.path:
        print(configs_folder())
        return
    comments = dict(describe_configs())
    if not comments:
        raise ConfigError(f"{configs_folder()} has no configs: reinstall crossmodal.")
    if args.format == "json":
        print(json.dumps(comments, indent=2, ensure_ascii=False))
        return
    width = max(map(len, comments))
    for name, comment in comments.items():
        print(f"{name:<{width}}  {comment}")
