"""Protocols of the user: callables that divide clips."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from crossmodal.datasets.clip import SPLITS, Clip, Split
from crossmodal.datasets.splits.given_split import check_speakers
from crossmodal.errors import ProtocolError
from crossmodal.naming import Part
from crossmodal.own_code import is_class_path

_parse = partial(Part.parse, "protocol", {})


def name_of_protocol(protocol: Any) -> str:
    """Return the name of a protocol for reports: a built-in name or a path."""
    return protocol if isinstance(protocol, str) else _parse(protocol).name


def is_own_protocol(protocol: Any) -> bool:
    """Return True unless it is a built-in name, or a word that should be one."""
    return not isinstance(protocol, str) or is_class_path(protocol)


def split_by_own(protocol: Any, clips: Sequence[Clip], fold: int, allow_leakage: bool) -> dict[Split, list[Clip]]:
    """Divide clips by a callable, which is given as a function, a class or an object, or by the path of a class.

    It takes the usable clips and the fold, and returns the clips of ``train``, ``val`` and ``test``. Clips may be left
    out. The same leakage check applies as to `split_as_given`.
    """
    name, made = name_of_protocol(protocol), _parse(protocol).create({})
    if not callable(made):
        raise ProtocolError(f"The protocol {name} is not callable: define __call__(self, clips, fold).")
    divided = made(clips, fold)
    if not isinstance(divided, dict) or divided.keys() != {*SPLITS}:
        raise ProtocolError(f"The protocol {name} must return a dict with the clips of {', '.join(SPLITS)}.")
    split: dict[Split, list[Clip]] = {part: list(divided[part]) for part in SPLITS}
    uses = Counter(clip for part in split.values() for clip in part)
    if wrong := [clip.clip for clip in uses if uses[clip] > 1] + [clip.clip for clip in uses.keys() - {*clips}]:
        raise ProtocolError(f"The protocol {name} uses a clip twice, or one that it was not given: {wrong[0]}.")
    check_speakers(split, allow_leakage)
    return split
