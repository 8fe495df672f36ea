"""`crossmodal data prepare --to litdata`: what was prepared, as a stream."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from crossmodal.datasets.cache import FaceCrops
from crossmodal.datasets.clip import Clip, Split
from crossmodal.datasets.source import CorpusSource
from crossmodal.datasets.splits.given_split import shared_speakers
from crossmodal.datasets.splits.protocols import NUM_FOLDS, split_clips
from crossmodal.datasets.stream.reader import StreamAbout
from crossmodal.datasets.stream.writer import check_target, write_stream
from crossmodal.datasets.usable import MAX_DURATION, prepare_usable
from crossmodal.errors import ConfigError, LeakageError, ProtocolError

_DIVIDING = ("protocol", "fold", "num_folds", "label_set", "allow_speaker_leakage")


def check_stream_arguments(args: argparse.Namespace) -> None:
    """Refuse what cannot be, before anything is decoded.

    Raises:
        ConfigError: An argument that is of streams alone, another format, a shard, or see `check_target`.
        MissingExtraError: litdata is not installed.
    """
    if not args.to:
        given = [f"--{name}" for name in _DIVIDING if getattr(args, name) is not None]
        if given:
            raise ConfigError(f"Only a stream is divided: {', '.join(given)} without --to litdata DIR says nothing.")
        return
    kind, target = args.to
    if kind != "litdata":
        raise ConfigError(f"--to {kind}: the only format to write is litdata, as in --to litdata DIR.")
    if args.shard:
        raise ConfigError(
            "--shard knows a part of the clips, and a stream is written of all. Prepare the shards first; then the "
            "same command with --to, without --shard, finds everything decoded and writes the stream."
        )
    check_target(target)


def divide_pairs(
    args: argparse.Namespace, source: CorpusSource, listed: Sequence[Clip], usable: Sequence[Clip] | None = None
) -> dict[Split, list[Clip]]:
    """Divide clips by the protocol that is asked for.

    Args:
        args: Of the command.
        source: The corpus.
        listed: Its clips.
        usable: Those to divide; all, to see beforehand whether it can be done.

    Raises:
        LeakageError: See `split_clips`.
        ProtocolError: See `split_clips`.
    """
    protocol = args.protocol or source.protocol
    num_folds = NUM_FOLDS if args.num_folds is None else args.num_folds
    listed = [clip for clip in listed if source.holds(clip)]
    leaks = bool(args.allow_speaker_leakage)
    try:
        return split_clips(
            listed if usable is None else usable, protocol, args.fold or 0, source.label_set, leaks, num_folds, listed
        )
    except (LeakageError, ProtocolError) as error:  # they advise in the keys of fit
        advice = str(error).replace("--data.allow_speaker_leakage true", "--allow_speaker_leakage")
        raise type(error)(advice.replace("--data.", "--")) from error


def write_prepared(
    args: argparse.Namespace, source: CorpusSource, listed: Sequence[Clip], crops: FaceCrops, folder: Path
) -> None:
    """Write the clips that have all that a pair needs, divided as `PairedDataModule` does."""
    held = [clip for clip in listed if source.holds(clip)]
    corpus = prepare_usable(held, audio=True, crops=crops, tensors=None, max_duration=MAX_DURATION, folder=folder)
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
