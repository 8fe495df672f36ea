"""Clips with all inputs that a batch needs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from crossmodal.datasets.cache import FaceCrops, PreparedCorpus, prepare_corpus
from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.faces.actor_normalization import center_by_actor
from crossmodal.datasets.faces.features import store_face_features
from crossmodal.datasets.stored_array import read_array
from crossmodal.media import SAMPLE_RATE

MAX_DURATION = 60.0  # seconds, the default


def prepare_complete(
    clips: Sequence[Clip],
    *,
    audio: bool,
    crops: FaceCrops | None,
    tensors: ClipTensors | None,
    max_duration: float,
    folder: Path,
) -> PreparedCorpus:
    """Decode the clips that have sound, a video for `crops` and `tensors`, as required; other clips are excluded.

    Clips with more than `max_duration` seconds of sound are excluded, too.
    """
    reasons = {clip.clip: reason for clip in clips if (reason := _missing_input(clip, audio, crops, tensors))}
    corpus = prepare_corpus(
        [clip for clip in clips if clip.clip not in reasons], audio=audio, crops=crops, folder=folder
    )
    for name, path in corpus.waveforms.items():
        if (seconds := _longer(path, max_duration)) is not None:
            reasons[name] = f"it lasts {seconds:.1f} s, longer than max_duration {max_duration:g}"
    return replace(
        corpus,
        clips=[clip for clip in corpus.clips if clip.clip not in reasons],
        excluded=[*(ExcludedClip(name, reason) for name, reason in reasons.items()), *corpus.excluded],
    )


def read_stored(
    path: str | None, face_features: str | None, num_rows: int, actors: Mapping[str, str] | None, folder: Path
) -> tuple[ClipTensors, list[ExcludedClip]]:
    """Read tensors that replace pixels in a batch; returns them and the excluded entries.

    Args:
        path: Path of a file of tensors by clip, or None to use `face_features`, see `store_face_features`.
        face_features: Table or folder of features.
        num_rows: Number of feature rows per clip, for clips with many rows.
        actors: Actor of each clip, to subtract each actor's mean from the faces; None or empty to keep them.
        folder: Cache folder.
    """
    excluded: list[ExcludedClip] = []
    if path:
        tensors = ClipTensors(path)
    else:
        tensors, excluded = store_face_features(str(face_features), num_rows, folder)
    if actors and "face_embeddings" in tensors.shapes:
        tensors = center_by_actor(tensors, actors, folder)
    return tensors, excluded


def _missing_input(clip: Clip, audio: bool, crops: FaceCrops | None, tensors: ClipTensors | None) -> str | None:
    if audio and clip.audio is None:
        return "not paired: this face has no sound"
    if tensors is not None and clip.clip not in tensors:
        return f"not paired: {tensors.about.get('source', tensors.path)} does not contain this clip"
    if crops and clip.video is None:
        return "not paired: this sound has no video"
    return None


def _longer(path: Path, max_duration: float) -> float | None:
    """Return the duration if it exceeds `max_duration`, in seconds."""
    # Check the file size first: opening all files takes as long as reading them for an epoch.
    max_samples = round(max_duration * SAMPLE_RATE)
    if not path.exists() or path.stat().st_size < 4 * max_samples:
        return None
    array = read_array(path)
    return None if array is None or len(array) <= max_samples else len(array) / SAMPLE_RATE
