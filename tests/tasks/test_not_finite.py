import math

import pytest
import torch

from crossmodal.datamodules import collate_clips
from crossmodal.errors import NotFiniteError
from crossmodal.losses import ALIGN_LOSSES, KD_LOSSES
from crossmodal.tasks import FinetuneTask, TeacherTask, TransferTask
from tests.tasks.tiny import NUM_CLASSES, STUDENT, TEACHER, face_embeddings, fit, loader, voices, with_teacher_outputs

LABELS = [0, 1, 2, 3]


def make_head_nan(task):
    """Set the parameters of a task's head to NaN."""
    with torch.no_grad():
        for parameter in task.model.head.parameters():
            parameter.fill_(math.nan)


@pytest.mark.parametrize(
    "make, name, value, where",
    [
        (lambda: FinetuneTask(**STUDENT, corpus_normalization=False), "waveform", math.nan, "finetune, train"),
        (lambda: FinetuneTask(**STUDENT, corpus_normalization=False), "waveform", math.inf, "finetune, train"),
        (lambda: FinetuneTask(**STUDENT), "waveform", math.nan, "finetune, before training"),
        (lambda: TeacherTask(**TEACHER), "face_embeddings", math.nan, "teacher, before training"),
        (lambda: TransferTask(**STUDENT, teacher_embedding_size=5), "teacher_logits", math.inf, "transfer, train"),
    ],
)
def test_a_clip_with_non_finite_data_is_named(make, name, value, where):
    items = face_embeddings(LABELS * 2) if name == "face_embeddings" else with_teacher_outputs(voices(LABELS * 2))
    items[5][name].view(-1)[0] = value
    with pytest.raises(NotFiniteError, match=f"{where}.*clip-5 are"):
        fit(make(), loader(items))


def test_diverged_training_is_distinguished_from_bad_clips():
    task = FinetuneTask(**STUDENT)
    make_head_nan(task)
    with pytest.raises(NotFiniteError, match=r"logits of clip-0, .*lr"):
        fit(task, loader(voices(LABELS)))


def test_a_huge_learning_rate_is_reported_as_divergence():
    with pytest.raises(NotFiniteError, match="diverged"):
        fit(FinetuneTask(**STUDENT | {"lr": 1e30}), loader(voices(LABELS * 2)), max_epochs=20)


def test_non_finite_validation_clips_are_named():
    task = FinetuneTask(**STUDENT)
    bad = voices(LABELS)
    bad[1]["waveform"][:] = math.nan
    with pytest.raises(NotFiniteError, match=r"finetune, val, epoch 1, .*clip-1 are"):
        fit(task, loader(voices(LABELS)), loader(bad))


def test_long_lists_of_clips_are_shortened():
    task = FinetuneTask(**STUDENT)
    make_head_nan(task)
    with pytest.raises(NotFiniteError, match="clip-7 and 12 more"):
        fit(task, loader(voices(LABELS * 5), batch_size=20))


def test_a_non_finite_loss_without_a_trainer():
    task = FinetuneTask(**STUDENT)
    make_head_nan(task)
    with pytest.raises(NotFiniteError, match=r"finetune, train, .* nan"):
        task.training_step(collate_clips(voices(LABELS)), 0)


def unusual_voices():
    """Return silence, a constant, a fully clipped recording and a single click."""
    items = voices(LABELS)
    items[0]["waveform"][:] = 0.0
    items[1]["waveform"][:] = 0.5
    items[2]["waveform"] = items[2]["waveform"].sign()
    items[3]["waveform"][:] = 0.0
    items[3]["waveform"][1000] = 1.0
    return items


@pytest.mark.parametrize("front_end", ["mfcc", "lmfb"])
@pytest.mark.parametrize("encoder", ["dense", "cnn", "lstm"])
@pytest.mark.parametrize("clip_normalization", [None, "mean_std"])
def test_silent_constant_and_clipped_clips_can_be_trained_on(front_end, encoder, clip_normalization):
    settings = {"front_end": front_end, "encoder": encoder, "clip_normalization": clip_normalization}
    task = FinetuneTask(num_classes=NUM_CLASSES, **settings)
    # In a batch with others, and alone.
    fit(task, loader(unusual_voices() + voices(LABELS)), loader(unusual_voices()), max_epochs=2)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in task.parameters())


@pytest.mark.parametrize("kd_loss", [None, *KD_LOSSES])
@pytest.mark.parametrize("align_loss", [None, *ALIGN_LOSSES])
def test_silent_clips_can_be_trained_on_with_every_loss(kd_loss, align_loss):
    items = with_teacher_outputs(unusual_voices())
    items[0]["teacher_embedding"][:] = 0.0  # no direction
    items[1]["teacher_logits"][:] = 0.0  # no variance
    task = TransferTask(**STUDENT, kd_loss=kd_loss, align_loss=align_loss, teacher_embedding_size=5)
    fit(task, loader(items), max_epochs=2)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in task.parameters())
