"""A cheap prediction, before training, that a face teacher cannot help: see docs/preflight.md."""

from collections.abc import Sequence

import numpy as np
import torch

from crossmodal.datasets.clip import Clip
from crossmodal.evaluation.similarity import CARRIED_SHARE, Predicted, r2_within_actor, share_carried
from crossmodal.models import AudioClassifier
from crossmodal.pipeline.stage import StageRun
from crossmodal.pipeline.stored.sound_statistics import sound_statistics


def print_outlook(student: StageRun, teacher: StageRun, device: torch.device) -> None:
    """Print a line if teaching is unlikely to help. Every training clip must have a label.

    It is unlikely to help if sound predicts almost none of the dimensions of the face features, or of stored face
    embeddings, beyond the label. Nothing is known of pixels.
    """
    split, has_vectors = student.datamodule.split, teacher.datamodule.face_embedding_size is not None
    if not has_vectors or len({clip.actor for clip in split["train"]}) < 2:
        return
    labelled = ([clip for clip in split[name] if clip.label is not None] for name in ("train", "val"))
    train, val = (_gather(student, teacher, clips, device) for clips in labelled)
    share = share_carried(r2_within_actor(train, val)[1])
    if share < CARRIED_SHARE:
        print(
            "Teaching is unlikely to help: every clip has a label, and beyond the label sound predicts "
            f"{share:.0%} of the face features. A face teacher helps where few clips have labels.",
            flush=True,
        )


def _gather(student: StageRun, teacher: StageRun, clips: Sequence[Clip], device: torch.device) -> Predicted:
    model, sounds = student.task.model, student.datamodule
    assert isinstance(model, AudioClassifier), "a student"
    means = [batch["face_embeddings"].mean(dim=1) for batch in teacher.datamodule.loader(clips)]
    targets = np.array([sounds.labels.index(str(clip.label)) for clip in clips], np.int64)
    sound = sound_statistics(model, sounds, clips, device)
    return Predicted(sound, torch.cat(means).double().numpy(), [clip.actor for clip in clips], targets)
