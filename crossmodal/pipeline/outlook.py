"""A cheap prediction, before training, that a face teacher cannot help: see docs/preflight.md."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.evaluation.similarity import CARRIED_SHARE, Predicted, r2_within_actor, share_carried
from crossmodal.models import AudioClassifier
from crossmodal.pipeline.stage import StageRun
from crossmodal.pipeline.stored.sound_statistics import sound_statistics


def print_outlook(student: StageRun, teacher: StageRun, device: torch.device) -> None:
    """Print a line if teaching is unlikely to help.

    It is unlikely to help if every training clip has a label, and if sound predicts almost none of the dimensions of
    the face features, or of stored face embeddings, beyond the label. Nothing is known of pixels.
    """
    sounds, faces = student.datamodule, teacher.datamodule
    train, val = sounds.split["train"], [clip for clip in sounds.split["val"] if clip.label is not None]
    is_measurable = len({clip.actor for clip in train}) > 1 and faces.face_embedding_size is not None
    if not is_measurable or any(clip.label is None for clip in train):
        return
    sides = [_gather(student.task.model, sounds, faces, clips, device) for clips in (train, val)]
    share = share_carried(r2_within_actor(*sides)[1])
    if share < CARRIED_SHARE:
        print(
            "Teaching is unlikely to help: every clip has a label, and beyond the label sound predicts "
            f"{share:.0%} of the face features. A face teacher helps where few clips have labels.",
            flush=True,
        )


def _gather(
    model: nn.Module,
    sounds: CorpusDataModule,
    faces: CorpusDataModule,
    clips: Sequence[Clip],
    device: torch.device,
) -> Predicted:
    means = [batch["face_embeddings"].mean(dim=1) for batch in faces.loader(clips)]
    targets = np.array([sounds.labels.index(str(clip.label)) for clip in clips], np.int64)
    assert isinstance(model, AudioClassifier), "a student"
    sound = sound_statistics(model, sounds, clips, device)
    return Predicted(sound, torch.cat(means).double().numpy(), [clip.actor for clip in clips], targets)
