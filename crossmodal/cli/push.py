"""`crossmodal push`."""

import argparse

from crossmodal.inference.hub import push


def push_command(args: argparse.Namespace) -> int:
    """Run `crossmodal push`."""
    print(push(args.model, args.repository, private=args.private, revision=args.revision))
    return 0
