"""`crossmodal data prepare --to litdata`: write prepared clips as a stream."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from crossmodal.datasets.cache import FaceCrops
from crossmodal.datasets.clip import Clip, Split
from crossmodal.datasets.complete_clips import MAX_DURATION, prepare_complete
from crossmodal.datasets.source import CorpusSource
from crossmodal.datasets.splits.given_split import shared_speakers
from crossmodal.datasets.splits.protocols import NUM_FOLDS, split_clips
from crossmodal.datasets.stream.reader import StreamAbout
from crossmodal.datasets.stream.writer import check_target, write_stream
from crossmodal.errors import ConfigError, LeakageError, ProtocolError

_SPLIT_ARGUMENTS = ("protocol", "fold", "num_folds", "label_set", "allow_speaker_leakage")


def check_stream_arguments(args: argparse.Namespace) -> None:
    """Check the arguments of a stream before decoding.

    Raises:
        ConfigError: If an argument needs --to, the format is unknown, a shard is given, or `check_target` fails.
        MissingExtraError: If litdata is not installed.
    """
    if not args.to:
        given = [f"--{name}" for name in _SPLIT_ARGUMENTS if getattr(args, name) is not None]
        if given:
            raise ConfigError(f"{', '.join(given)} has no effect without --to litdata DIR.")
        return
    kind, target = args.to
    if kind != "litdata":
        raise ConfigError(f"--to {kind}: the only supported format is litdata, as in --to litdata DIR.")
    if args.shard:
        raise ConfigError(
            "A stream needs all clips, but --shard selects a part of them. Prepare the shards first; then run the same "
            "command with --to and without --shard, which reuses the decoded clips."
        )
    check_target(target)


def divide_pairs(
    args: argparse.Namespace, source: CorpusSource, listed: Sequence[Clip], usable: Sequence[Clip] | None = None
) -> dict[Split, list[Clip]]:
    """Split clips by the protocol of the command.

    Args:
        args: Arguments of the command.
        source: Corpus.
        listed: Clips of the corpus.
        usable: Clips to split. Default: all, to check the split before decoding.

    Raises:
        LeakageError: As in `split_clips`.
        ProtocolError: As in `split_clips`.
    """
    protocol = args.protocol or source.protocol
    num_folds = NUM_FOLDS if args.num_folds is None else args.num_folds
    listed = [clip for clip in listed if source.holds(clip)]
    leaks = bool(args.allow_speaker_leakage)
    try:
        return split_clips(
            listed if usable is None else usable, protocol, args.fold or 0, source.label_set, leaks, num_folds, listed
        )
    except (LeakageError, ProtocolError) as error:  # their advice uses the keys of fit
        advice = str(error).replace("--data.allow_speaker_leakage true", "--allow_speaker_leakage")
        raise type(error)(advice.replace("--data.", "--")) from error


def write_prepared(
    args: argparse.Namespace, source: CorpusSource, listed: Sequence[Clip], crops: FaceCrops, folder: Path
) -> None:
    """Write the paired clips as a stream, split as in `PairedDataModule`."""
    held = [clip for clip in listed if source.holds(clip)]
    corpus = prepare_complete(held, audio=True, crops=crops, tensors=None, max_duration=MAX_DURATION, folder=folder)
    split = divide_pairs(args, source, listed, corpus.clips)
    about = StreamAbout(
        labels=source.labels,
        kind=source.kind,
        name=source.name,
        protocol=args.protocol or source.protocol,
        fold=args.fold or 0,
        is_speaker_dependent=args.protocol == "random" or bool(shared_speakers(split)),
        actors={name: sorted({clip.actor for clip in part}) for name, part in split.items()},
        num_clips={name: len(part) for name, part in split.items()},
    )
    _, target = args.to
    write_stream(split, corpus, about, target, args.num_processes)
    counts = ", ".join(f"{number} to {name}" for name, number in about.num_clips.items())
    print(f"The stream is in {target}, {about.protocol} fold {about.fold}: pairs {counts}.")
