import math

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from crossmodal.errors import ConfigError
from crossmodal.tasks import ControlTask, FinetuneTask, TeacherTask, TransferTask
from crossmodal.tasks.base import UnweightedAverageRecall
from crossmodal.tasks.schedule import OneCycleSchedule
from tests.tasks.tiny import (
    STUDENT,
    TEACHER,
    face_embeddings,
    faces,
    fit,
    loader,
    trainer,
    voices,
    with_teacher_outputs,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LABELS = [0, 1, 2, 3, 0, 1, 2, 3]
METRICS = ("loss", "uar", "war", "f1")


def teacher(**kwargs):
    return TeacherTask(**TEACHER | kwargs), face_embeddings


def finetune(**kwargs):
    return FinetuneTask(**STUDENT | kwargs), voices


def control(**kwargs):
    return ControlTask(**STUDENT | kwargs), voices


def transfer(**kwargs):
    task = TransferTask(teacher_embedding_size=5, **STUDENT | kwargs)
    return task, lambda labels: with_teacher_outputs(voices(labels))


STAGES = pytest.mark.parametrize("make", [teacher, control, transfer, finetune], ids=lambda make: make.__name__)


@STAGES
def test_a_few_clips_can_be_memorised(make):
    seed_everything(0, verbose=False)
    task, clips = make(label_smoothing=0.0)
    items = loader(clips(LABELS))
    before = trainer().validate(task, items, verbose=False)[0]
    after = fit(task, items, items, max_epochs=40).callback_metrics
    name = task.stage
    assert after[f"{name}/val_uar"] == 1
    assert after[f"{name}/val_loss"] < 0.4 < 1.0 < before[f"{name}/val_loss"]


@STAGES
def test_logged_names_contain_stage_and_split(make):
    task, clips = make()
    run = fit(task, loader(clips(LABELS)), loader(clips(LABELS)))
    expected = {f"{make.__name__}/{split}_{metric}" for split in ("train", "val") for metric in METRICS}
    if make is transfer:
        expected |= {"transfer/task_loss", "transfer/kd_loss", "transfer/align_loss"}
    assert run.callback_metrics.keys() == expected
    assert task.monitor == f"{make.__name__}/val_uar"
    tested = trainer().test(task, loader(clips(LABELS)), verbose=False)[0]
    assert tested.keys() == {f"{make.__name__}/test_{metric}" for metric in METRICS}


def test_logged_metrics_equal_scikit_learn_on_the_labelled_clips():
    labels = [0, 0, 0, 0, 0, 1, 2, 2, 3, -1, 0]  # uneven, in batches of 4, 4 and 3, one without a label
    task, _ = finetune()
    items = voices(labels)
    logged = trainer().validate(task, loader(items), verbose=False)[0]
    with torch.no_grad():
        guesses = [int(task.eval()(item["waveform"].view(1, 1, -1)).argmax()) for item in items]
    true, guessed = zip(*[pair for pair in zip(labels, guesses, strict=True) if pair[0] >= 0], strict=True)
    assert logged["finetune/val_uar"] == pytest.approx(balanced_accuracy_score(true, guessed))
    assert logged["finetune/val_war"] == pytest.approx(accuracy_score(true, guessed))
    assert logged["finetune/val_f1"] == pytest.approx(f1_score(true, guessed, average="macro"))


def test_metrics_are_reset_in_each_epoch():
    task, clips = finetune(lr=0.0)
    items = loader(clips(LABELS))
    once = trainer().validate(task, items, verbose=False)[0]
    again = fit(task, items, items, max_epochs=3).callback_metrics
    # The first epoch fits the normalization, so only later epochs must agree.
    settled = trainer().validate(task, items, verbose=False)[0]
    assert again["finetune/val_uar"] == settled["finetune/val_uar"]
    assert once["finetune/val_loss"] != settled["finetune/val_loss"]


@pytest.mark.parametrize(
    "smoothing, expected", [(0.0, math.log(1 + math.exp(-2))), (0.1, math.log(1 + math.exp(-2)) + 0.1)]
)
def test_the_task_loss_by_hand(smoothing, expected):
    # For two classes with logits 2 and 0: -log p0 = log(1 + e^-2) and -log p1 = 2 + log(1 + e^-2). Smoothing by 0.1
    # gives the wrong class a weight of 0.05, and so adds 0.05 * 2.
    task, _ = finetune(num_classes=2, label_smoothing=smoothing)
    loss = task.task_loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    assert float(loss) == pytest.approx(expected)


def test_task_loss_excludes_unlabelled_clips():
    task, _ = finetune(num_classes=2, label_smoothing=0.1)
    logits = torch.tensor([[2.0, 0.0], [0.5, 0.0], [9.0, -9.0]], requires_grad=True)
    loss = task.task_loss(logits, torch.tensor([0, 1, -1]))
    labelled = task.task_loss(logits[:2], torch.tensor([0, 1]))
    torch.testing.assert_close(loss, labelled)
    loss.backward()
    assert logits.grad[2].abs().max() == 0 < logits.grad[0].abs().max()


def test_an_unlabelled_batch_has_zero_loss_and_gradient():
    logits = torch.tensor([[2.0, 0.0], [0.5, 0.0]], requires_grad=True)
    loss = finetune(num_classes=2)[0].task_loss(logits, torch.tensor([-1, -1]))
    loss.backward()
    assert float(loss) == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("drop_last", [False, True])
def test_normalization_is_fitted_to_the_unpadded_training_frames(drop_last):
    task, _ = finetune()
    items = voices([0, 1, 2, 3, 0, 1])
    louder = voices(LABELS, seed=5, loudness=0.01)
    fit(task, loader(items, shuffle=True, drop_last=drop_last), loader(louder), max_epochs=2)
    alone = [task.model.front_end(item["waveform"].view(1, 1, -1))[0][0].numpy() for item in items]
    frames = np.concatenate(alone, axis=1)
    assert frames.shape[0] == 13
    np.testing.assert_allclose(task.model.normalization.mean, frames.mean(axis=1), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(task.model.normalization.std, frames.std(axis=1), rtol=1e-3, atol=1e-3)


def test_teacher_normalization_is_fitted_to_all_video_frames():
    task, _ = teacher()
    items = face_embeddings(LABELS)
    fit(task, loader(items, batch_size=3), loader(face_embeddings(LABELS[:4], seed=9)))
    rows = torch.cat([item["face_embeddings"] for item in items]).numpy()
    np.testing.assert_allclose(task.model.normalization.mean, rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(task.model.normalization.std, rows.std(axis=0), rtol=1e-4)


def test_only_a_frozen_backbones_embeddings_are_normalized():
    pixels = TEACHER | {"in_features": None, "backbone": "test_resnet", "pretrained": False}
    frozen, trained = (TeacherTask(**pixels, freeze_backbone=freeze, horizontal_flip=0.0) for freeze in (True, False))
    items = faces([0, 1, 2, 3])
    fit(frozen, loader(items, batch_size=3))
    fit(trained, loader(items))
    embeddings = frozen.model.encoder.backbone(torch.stack([item["faces"] for item in items])).flatten(0, 1)
    np.testing.assert_allclose(frozen.model.normalization.mean, embeddings.mean(dim=0), rtol=1e-3, atol=1e-4)
    assert frozen.model.normalization.fitted
    assert trained.normalization() is None
    assert not trained.model.normalization.fitted
    assert torch.equal(trained.model.normalization.std, torch.ones(trained.model.encoder.in_features))


def test_a_loaded_normalization_is_not_refitted():
    task, clips = finetune()
    task.model.normalization.mean.fill_(2.0)
    task.model.normalization.std.fill_(3.0)
    task.model.normalization.fitted.fill_(True)
    fit(task, loader(clips(LABELS)), loader(clips(LABELS)))
    assert (task.model.normalization.mean == 2).all()
    assert (task.model.normalization.std == 3).all()


def test_learning_rate_follows_one_cycle():
    rates = []

    class Watched(FinetuneTask):
        def on_train_batch_start(self, batch, batch_idx):
            rates.append(self.optimizers().param_groups[0]["lr"])

    fit(Watched(**STUDENT | {"lr": 0.1, "warmup": 0.5}), loader(voices(LABELS), batch_size=1), max_epochs=2)
    assert len(rates) == 16
    assert max(rates) == pytest.approx(0.1, rel=0.05)
    assert rates.index(max(rates)) == 7  # half of 16 steps
    assert rates[0] == pytest.approx(0.1 / 25)  # the initial rate of OneCycleLR
    assert rates[-1] < 1e-3


@pytest.mark.parametrize("warmup, steps", [(0.0, 8), (1.0, 8), (0.125, 8), (0.2, 5), (0.5, 2), (0.2, 1)])
def test_any_warmup_and_number_of_steps_is_a_schedule(warmup, steps):
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], 0.1)
    schedule = OneCycleSchedule(optimizer, steps, warmup)
    rates = []
    for _ in range(steps + 2):  # a tuner takes steps after the end
        rates += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert all(0 < rate <= 0.1 for rate in rates)
    assert rates[steps:] == [rates[steps - 1]] * 2
    if steps == 8:
        assert max(rates) == pytest.approx(0.1, rel=0.1)


def test_a_longer_training_resumes_on_its_own_schedule(tmp_path):
    rates = []

    class Watched(FinetuneTask):
        def on_train_batch_start(self, batch, batch_idx):
            rates.append(self.optimizers().param_groups[0]["lr"])

    def train(epochs, checkpoint=None):
        rates.clear()
        run = trainer(max_epochs=epochs, enable_checkpointing=True, default_root_dir=tmp_path)
        run.fit(Watched(**STUDENT), loader(voices(LABELS), batch_size=2), ckpt_path=checkpoint, weights_only=True)
        return run, list(rates)

    train(2)[0].save_checkpoint(tmp_path / "two.ckpt")
    _, resumed = train(4, tmp_path / "two.ckpt")
    _, whole = train(4)
    assert len(whole) == 16
    assert resumed[1:] == pytest.approx(whole[9:])  # the first rate is still that of the checkpoint


@STAGES
@pytest.mark.parametrize("class_weighting", [False, True])
def test_a_label_beyond_num_classes_is_a_config_error(make, class_weighting):
    task, clips = make(num_classes=3, class_weighting=class_weighting)
    with pytest.raises(ConfigError, match="num_classes"):
        fit(task, loader(clips(LABELS)))


def test_endless_training_is_a_config_error():
    task, clips = finetune()
    with pytest.raises(ConfigError, match="max_epochs"):
        fit(task, loader(clips(LABELS)), max_epochs=-1)


def test_uar_excludes_classes_without_targets():
    metric = UnweightedAverageRecall(3)
    predicted, true = torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1])
    metric.update(predicted, true)
    assert metric.compute().item() == pytest.approx(balanced_accuracy_score(true, predicted)) == 0.75


def test_class_weights_are_inverse_class_frequencies():
    task, _ = finetune(class_weighting=True, label_smoothing=0.0)
    fit(task, loader(voices([0, 1, 1, 1, 2, 2]), batch_size=6), max_epochs=1)
    # n / (number of present classes * n of the class); class 3 is absent and has weight 1.
    torch.testing.assert_close(task.class_weight, torch.tensor([2.0, 2 / 3, 1.0, 1.0]))
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    label = torch.tensor([0, 1, 1, 1])
    losses = [task.task_loss(logits[i : i + 1], label[i : i + 1]) for i in range(4)]
    weighted = task.task_loss(logits, label)
    torch.testing.assert_close(weighted, (losses[0] + sum(losses[1:]) / 3) / 2)


def test_patience_stops_training_without_improvement():
    # Not dense: its batch normalization changes the predictions even if the weights do not change.
    task, _ = finetune(patience=2, lr=1e-12, encoder="lstm", encoder_kwargs={"hidden_size": 8})
    items = loader(voices(LABELS))
    assert fit(task, items, items, max_epochs=20).current_epoch < 5
    task, _ = finetune(lr=1e-12)
    assert fit(task, items, items, max_epochs=6).current_epoch == 6


def test_augmentation_is_applied_in_training_only():
    task, _ = finetune(augmentation={"gain": {"min_gain_db": -40, "max_gain_db": -20, "p": 1.0}})
    batch = next(iter(loader(voices(LABELS))))
    fit(task, loader(voices(LABELS)))
    seen = []
    task.model.front_end.register_forward_pre_hook(lambda module, args: seen.append(args[0].abs().max().item()))
    task.train().compute_losses(task.augmentation.batch(batch))
    task.eval().compute_losses(task.augmentation.batch(batch))
    assert seen[0] < 0.2 * seen[1]
