"""Clips with all inputs that a batch needs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crossmodal.datasets.cache import FaceCrops, PreparedCorpus
from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.source import CorpusSource
from crossmodal.datasets.stored_array import read_array
from crossmodal.errors import DataError
from crossmodal.media import SAMPLE_RATE

MAX_DURATION = 60.0  # seconds, the default


def prepare_complete(
    source: CorpusSource,
    clips: Sequence[Clip],
    *,
    audio: bool,
    crops: FaceCrops | None,
    tensors: ClipTensors | None,
    max_duration: float,
    folder: Path,
) -> PreparedCorpus:
    """Decode the clips that have all required inputs and at most `max_duration` seconds of sound; others are excluded.

    Required are sound if `audio`, faces if `crops`, and an entry in `tensors`, if given. Names must be unique.
    """
    if len({clip.clip for clip in clips}) < len(clips):
        raise DataError(f"The corpus {source.name} lists two clips with the same name.")
    reasons = {clip.clip: reason for clip in clips if (reason := _missing_input(clip, audio, crops, tensors))}
    complete = [clip for clip in clips if clip.clip not in reasons]
    corpus = source.prepare(complete, audio=audio, crops=crops, folder=folder)
    for clip in corpus.clips:
        if clip.clip in corpus.waveforms and (reason := _too_long(clip, corpus.waveforms[clip.clip], max_duration)):
            reasons[clip.clip] = reason
    return replace(
        corpus,
        clips=[clip for clip in corpus.clips if clip.clip not in reasons],
        excluded=[*(ExcludedClip(name, reason) for name, reason in reasons.items()), *corpus.excluded],
    )


def _missing_input(clip: Clip, audio: bool, crops: FaceCrops | None, tensors: ClipTensors | None) -> str | None:
    if audio and clip.audio is None:
        return "not paired: this face has no sound"
    if tensors is not None and clip.clip not in tensors:
        source, example = tensors.about.get("source", tensors.path), tensors.about["clips"][0]
        return f"not paired: {source} does not contain this clip; it has clips such as {example}"
    if crops and clip.video is None:
        return "not paired: this sound has no video"
    return None


def _too_long(clip: Clip, path: Path, max_duration: float) -> str | None:
    """Return a reason if a waveform is too long; in a stream, which has no such files, the clip has its duration."""
    # Check the file size first: opening all files takes as long as reading them for an epoch.
    if path.exists() and path.stat().st_size < 4 * round(max_duration * SAMPLE_RATE):
        return None
    array = read_array(path)
    duration = (clip.duration or 0) if array is None else len(array) / SAMPLE_RATE
    return f"it lasts {duration:.1f} s, longer than max_duration {max_duration:g}" if duration > max_duration else None
