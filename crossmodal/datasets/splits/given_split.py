"""The protocol ``given``: the split that a corpus defines itself."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from crossmodal.datasets.clip import SPLITS, Clip, Split
from crossmodal.errors import LeakageError, ProtocolError

_SHOWN = 8  # maximum number of speakers in an error message


def split_as_given(clips: Sequence[Clip], fold: int, allow_speaker_leakage: bool = False) -> dict[Split, list[Clip]]:
    """Divide clips by the split that their corpus defines; clips without one are dropped.

    LeakageError is raised if speakers are in more than one split, without `allow_speaker_leakage`.
    """
    if fold != 0:
        raise ProtocolError(f"Protocol given has only fold 0, the split of the corpus, not {fold}.")
    divided: dict[Split, list[Clip]] = {name: [clip for clip in clips if clip.split == name] for name in SPLITS}
    if not any(divided.values()):
        raise ProtocolError(
            "Protocol given needs a manifest with a column 'split', and this corpus has none. Use --data.protocol "
            "grouped."
        )
    check_speakers(divided, allow_speaker_leakage)
    return divided


def check_speakers(divided: Mapping[Split, Sequence[Clip]], allow_speaker_leakage: bool) -> None:
    """Raise LeakageError if speakers are in more than one split, without `allow_speaker_leakage`."""
    if not allow_speaker_leakage and (shared := shared_speakers(divided)):
        raise LeakageError(_leak(shared))


def shared_speakers(divided: Mapping[Split, Sequence[Clip]]) -> dict[str, list[Split]]:
    """Return the speakers in more than one split, with these splits."""
    parts: dict[str, list[Split]] = defaultdict(list)
    for name, clips in divided.items():
        for speaker in {clip.actor for clip in clips}:
            parts[speaker].append(name)
    return {speaker: names for speaker, names in sorted(parts.items()) if len(names) > 1}


def _leak(shared: Mapping[str, Sequence[Split]]) -> str:
    examples = "; ".join(f"{speaker} ({', '.join(parts)})" for speaker, parts in list(shared.items())[:_SHOWN])
    more = f"; and {len(shared) - _SHOWN} more" if len(shared) > _SHOWN else ""
    return (
        f"{len(shared)} speaker(s) are in more than one part of the given split: {examples}{more}. Results on them "
        "do not apply to unseen speakers. --data.protocol grouped makes folds that share no speaker. "
        "--data.allow_speaker_leakage true uses the split unchanged and marks every result speaker-dependent."
    )
