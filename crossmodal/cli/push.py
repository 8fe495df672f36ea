"""`crossmodal push`."""

import argparse

from crossmodal.inference.hub import files_to_push, push


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
    parser.add_argument("--dry-run", action="store_true", help="check the folder and list the files; upload nothing")


def push_command(args: argparse.Namespace) -> int:
    """Run `crossmodal push`."""
    if args.dry_run:
        for path in files_to_push(args.model, args.repository):
            print(f"{path.name}  {path.stat().st_size / 1e6:.2f} MB")
        print(f"Nothing was uploaded. Without --dry-run, these files go to {args.repository}.")
        return 0
    print(push(args.model, args.repository, private=args.private, revision=args.revision))
    return 0
