"""Which clips have all that a batch needs, and their arrays."""

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

MAX_DURATION = 60.0  # seconds, where nobody says otherwise


def prepare_usable(
    clips: Sequence[Clip],
    *,
    audio: bool,
    crops: FaceCrops | None,
    tensors: ClipTensors | None,
    max_duration: float,
    folder: Path,
) -> PreparedCorpus:
    """Decode what is not decoded yet, of the clips that have all that is needed; the others are set aside.

    Args:
        clips: Those that are wanted.
        audio: Whether a clip needs sound.
        crops: The face crops that a clip needs, if any.
        tensors: The stored tensors in which a clip has to be, if any.
        max_duration: Seconds; a clip whose sound is longer is set aside.
        folder: The cache.
    """
    lacking = {clip.clip: reason for clip in clips if (reason := _lacks(clip, audio, crops, tensors))}
    whole = [clip for clip in clips if clip.clip not in lacking]
    corpus = prepare_corpus(whole, audio=audio, crops=crops, folder=folder)
    too_long = {name: why for name, path in corpus.waveforms.items() if (why := _too_long(path, max_duration))}
    set_aside = [ExcludedClip(name, reason) for name, reason in (lacking | too_long).items()]
    return replace(
        corpus,
        clips=[clip for clip in corpus.clips if clip.clip not in too_long],
        set_aside=[*set_aside, *corpus.set_aside],
    )


def read_stored(
    path: str | None, face_features: str | None, num_rows: int, actors: Mapping[str, str] | None, folder: Path
) -> tuple[ClipTensors, list[ExcludedClip]]:
    """Read what stands in a batch in place of pixels.

    Args:
        path: A file of tensors by clip; or none, and `face_features`.
        face_features: See `store_face_features`.
        num_rows: Of the features of a clip with many.
        actors: Who speaks in each clip, where each actor's mean is to be taken off the faces.
        folder: The cache.

    Returns:
        The tensors, and what of them was set aside.
    """
    set_aside: list[ExcludedClip] = []
    if path:
        tensors = ClipTensors(path)
    else:
        tensors, set_aside = store_face_features(str(face_features), num_rows, folder)
    if actors and "face_embeddings" in tensors.shapes:
        tensors = center_by_actor(tensors, actors, folder)
    return tensors, set_aside


def _lacks(clip: Clip, audio: bool, crops: FaceCrops | None, tensors: ClipTensors | None) -> str | None:
    """Why a clip cannot be used, if so."""
    if audio and clip.audio is None:
        return "no partner: there is no sound for this face"
    if tensors is not None and clip.clip not in tensors:
        return f"no partner: {tensors.about.get('source', tensors.path)} has nothing for this clip"
    if crops and clip.video is None:
        return "no partner: there is no video for this sound"
    return None


def _too_long(path: Path, max_duration: float) -> str | None:
    # The size of the file is looked at first: to open every one costs as much as an epoch's reading.
    most = round(max_duration * SAMPLE_RATE)
    if not path.exists() or path.stat().st_size < 4 * most:
        return None
    array = read_array(path)
    if array is None or len(array) <= most:
        return None
    return f"it lasts {len(array) / SAMPLE_RATE:.1f} s, and max_duration is {max_duration:g}"
