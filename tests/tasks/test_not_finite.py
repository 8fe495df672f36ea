import math

import pytest
import torch

from crossmodal.datamodules import collate_clips
from crossmodal.errors import NotFiniteError
from crossmodal.losses import list_align_losses, list_kd_losses
from crossmodal.tasks import FinetuneTask, TeacherTask, TransferTask
from tests.tasks.tiny import NUM_CLASSES, STUDENT, TEACHER, face_embeddings, fit, loader, voices, with_teacher_outputs

LABELS = [0, 1, 2, 3]


def spoil(task):
    """Let a task's head say nothing but NaN."""
    with torch.no_grad():
        for parameter in task.model.head.parameters():
            parameter.fill_(math.nan)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_clip_whose_sound_is_no_number_is_named(bad):
    items = voices(LABELS * 2)
    items[5]["waveform"][100] = bad
    with pytest.raises(NotFiniteError, match=r"finetune, train, epoch 0, step 1: the loss is nan.*heard of clip-5 is"):
        fit(FinetuneTask(**STUDENT, corpus_normalization=False), loader(items))


def test_statistics_of_a_clip_that_is_no_number_are_not_taken():
    items = voices(LABELS * 2)
    items[5]["waveform"][100] = math.nan
    with pytest.raises(NotFiniteError, match="finetune, before training: What is read or heard of clip-5 is no number"):
        fit(FinetuneTask(**STUDENT), loader(items))


def test_the_clip_whose_face_is_no_number_is_named():
    items = face_embeddings(LABELS)
    items[2]["face_embeddings"][1, 0] = math.nan
    with pytest.raises(NotFiniteError, match="teacher, before training: What is read or heard of clip-2 is no number"):
        fit(TeacherTask(**TEACHER), loader(items))


def test_the_clip_of_which_a_teacher_said_no_number_is_named():
    items = with_teacher_outputs(voices(LABELS))
    items[3]["teacher_logits"][0] = math.inf
    with pytest.raises(NotFiniteError, match=r"transfer, train, epoch 0, step 0: .*clip-3 is no number"):
        fit(TransferTask(**STUDENT, teacher_embedding_size=5), loader(items))


def test_a_training_that_runs_away_is_told_from_bad_clips():
    task = FinetuneTask(**STUDENT)
    spoil(task)
    with pytest.raises(NotFiniteError, match=r"clips are sound, but what the model says of clip-0, .*A lower lr"):
        fit(task, loader(voices(LABELS)))


def test_a_learning_rate_that_is_far_too_high_ends_with_that_error():
    with pytest.raises(NotFiniteError, match="the training has run away"):
        fit(FinetuneTask(**STUDENT | {"lr": 1e30}), loader(voices(LABELS * 2)), max_epochs=20)


def test_validation_is_looked_at_too():
    task = FinetuneTask(**STUDENT)
    bad = voices(LABELS)
    bad[1]["waveform"][:] = math.nan
    with pytest.raises(NotFiniteError, match=r"finetune, val, epoch 0, .*clip-1 is no number"):
        fit(task, loader(voices(LABELS)), loader(bad))


def test_not_every_clip_of_a_large_batch_is_named():
    task = FinetuneTask(**STUDENT)
    spoil(task)
    with pytest.raises(NotFiniteError, match="clip-7 and 12 more is no number"):
        fit(task, loader(voices(LABELS * 5), batch_size=20))


def test_a_loss_without_a_trainer():
    task = FinetuneTask(**STUDENT)
    spoil(task)
    with pytest.raises(NotFiniteError, match="finetune, train, without a trainer: the loss is nan"):
        task.training_step(collate_clips(voices(LABELS)), 0)


def strange_voices():
    """Silence, a constant, a recording that is all clipped, and one that is a single click."""
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
def test_silent_constant_and_clipped_clips_are_fine(front_end, encoder, clip_normalization):
    settings = {"front_end": front_end, "encoder": encoder, "clip_normalization": clip_normalization}
    task = FinetuneTask(num_classes=NUM_CLASSES, **settings)
    # In a batch of their own, and beside others.
    fit(task, loader(strange_voices() + voices(LABELS)), loader(strange_voices()), max_epochs=2)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in task.parameters())


@pytest.mark.parametrize("kd_loss", [None, *list_kd_losses()])
@pytest.mark.parametrize("align_loss", [None, *list_align_losses()])
def test_a_voice_that_is_silent_can_be_taught(kd_loss, align_loss):
    items = with_teacher_outputs(strange_voices())
    for item in items:
        item["teacher_features"] = torch.ones(3)
    items[0]["teacher_embedding"][:] = 0.0  # has no direction
    items[1]["teacher_logits"][:] = 0.0  # have no spread
    task = TransferTask(
        **STUDENT, kd_loss=kd_loss, align_loss=align_loss, teacher_embedding_size=5, teacher_features_size=3
    )
    fit(task, loader(items), max_epochs=2)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in task.parameters())
