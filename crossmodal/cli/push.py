"""`crossmodal push`."""

import argparse

from crossmodal.inference.hub import push


def push_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `push`."""
    parser.description = (
        "Upload a model folder to the Hugging Face Hub in one commit: weights, configuration, model card and exported "
        "models. The repository is created if it does not exist. Log in first with `hf auth login` or set HF_TOKEN."
    )
    parser.add_argument("model", metavar="MODEL", help="model folder, such as runs/fit/model")
    parser.add_argument("repository", metavar="OWNER/NAME", help="name of the model on the Hub")
    parser.add_argument("--private", action="store_true", help="create a private repository")
    parser.add_argument("--revision", metavar="BRANCH", help="branch; default: main")


def push_command(args: argparse.Namespace) -> int:
    """Run `crossmodal push`."""
    print(push(args.model, args.repository, private=args.private, revision=args.revision))
    return 0
