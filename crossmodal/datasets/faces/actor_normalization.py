"""Normalisation of face features by the mean of their actor."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.storage import content_key

# Increase when the same face features are normalised differently.
VERSION = 1


def center_by_actor(tensors: ClipTensors, actors: Mapping[str, str], folder: Path) -> ClipTensors:
    """Subtract each actor's mean over all clips and video frames from ``face_embeddings`` of shape (N, D).

    A face at rest identifies the actor, not the emotion. No label is used, and actors are independent of each other, so
    nothing leaks between splits. The result for a clip depends on the actor's other clips, which suits a teacher: all
    recordings are available when it predicts. Clips without an actor in `actors` are dropped.
    """
    clips = [clip for clip in tensors.clips if clip in actors]
    actor_of_clip = np.array([actors[clip] for clip in clips])
    key = content_key(source=tensors.digest, actors=[(clip, actors[clip]) for clip in clips], version=VERSION)
    path = folder / "face_embeddings" / f"{key}.safetensors"
    with ClipTensors.missing(path, "centred faces") as missing:
        if missing:
            values = np.stack([tensors[clip]["face_embeddings"] for clip in clips]).astype(np.float32)
            for actor in np.unique(actor_of_clip):
                rows = actor_of_clip == actor
                values[rows] -= values[rows].mean(axis=(0, 1))
            about = {name: value for name, value in tensors.about.items() if name != "clips"}
            ClipTensors.save(path, clips, {"face_embeddings": values}, **about)
    return ClipTensors(path)
