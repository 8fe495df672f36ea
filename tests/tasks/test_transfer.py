import copy

import pytest
import torch
from lightning.pytorch import LightningDataModule, seed_everything

from crossmodal.datamodules import collate_clips
from crossmodal.errors import ConfigError, LeakageError, WeightsError
from crossmodal.losses import KnowledgeDistillationLoss
from crossmodal.models import FaceClassifier
from crossmodal.models.serialization import save_model
from crossmodal.tasks import FinetuneTask, TransferTask
from tests.tasks.tiny import NUM_CLASSES, STUDENT, faces, fit, loader, trainer, voices, with_teacher_outputs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LABELS = [0, 1, 2, 3]
WIDTH = 5  # width of the teacher's embeddings


@pytest.fixture
def teacher(tmp_path):
    """Return the file of a teacher with batch normalization, trained on actor 03."""
    torch.manual_seed(3)
    sizes = {"num_classes": NUM_CLASSES, "embedding_size": WIDTH, "hidden_size": 16}
    backbone = {"backbone": "test_resnet", "freeze_backbone": False, "backbone_kwargs": {"pretrained": False}}
    model = FaceClassifier(**sizes, **backbone)
    path = tmp_path / "teacher.safetensors"
    save_model(model, path, train_actors=["03"])
    return path


def make(**kwargs):
    return TransferTask(**STUDENT | {"teacher_embedding_size": WIDTH, "label_smoothing": 0.0} | kwargs)


def paired(labels=LABELS, seed=0):
    """Return voices with faces."""
    return [voice | face for voice, face in zip(voices(labels, seed), faces(labels, seed), strict=True)]


def with_teacher(labels=LABELS, seed=0):
    """Return voices with stored teacher outputs."""
    return with_teacher_outputs(voices(labels, seed), WIDTH)


class Corpus(LightningDataModule):
    """Datamodule of items, with held-out actors."""

    def __init__(self, items, held_out_actors):
        super().__init__()
        self.items = items
        self.held_out_actors = set(held_out_actors)

    def train_dataloader(self):
        return loader(self.items)


def test_loss_is_the_weighted_sum_of_its_terms():
    seed_everything(0, verbose=False)
    task = make(kd_loss="kd", kd_loss_weight=0.7, temperature=3.0, align_loss="cosine", align_loss_weight=0.2).train()
    batch = collate_clips(with_teacher())
    logits, losses = task.compute_losses(batch)
    embedding = task.model.embed(batch["waveform"], batch["waveform_length"])

    task_loss = torch.nn.functional.cross_entropy(logits, batch["label"])
    student, teacher = ((values / 3.0).softmax(dim=1) for values in (logits, batch["teacher_logits"]))
    kd = 3.0**2 * (teacher * (teacher / student).log()).sum(dim=1).mean()
    projector = task.teaching.projectors["align_loss"]
    projected = embedding @ projector.weight.T + projector.bias
    norms = projected.norm(dim=1) * batch["teacher_embedding"].norm(dim=1)
    align = (1 - (projected * batch["teacher_embedding"]).sum(dim=1) / norms).mean()

    torch.testing.assert_close(losses["task_loss"], task_loss)
    torch.testing.assert_close(losses["kd_loss"], kd)
    torch.testing.assert_close(losses["align_loss"], align)
    torch.testing.assert_close(losses["loss"], task_loss + 0.7 * kd + 0.2 * align)
    assert min(kd, align) > 0.01  # large enough to affect the sum


@pytest.mark.parametrize("off, left", [("kd_loss", "align_loss"), ("align_loss", "kd_loss")])
def test_disabled_losses_are_not_computed(off, left):
    task = make(**{off: None}).train()
    _, losses = task.compute_losses(collate_clips(with_teacher()))
    assert losses.keys() == {"loss", "task_loss", left}
    torch.testing.assert_close(losses["loss"], losses["task_loss"] + task.teaching.terms[left].weight * losses[left])
    assert ("align_loss" in task.teaching.projectors) == (left == "align_loss")


def test_without_distillation_losses_the_loss_equals_the_control():
    batch = collate_clips(with_teacher())
    seed_everything(0, verbose=False)
    task = make(kd_loss=None, align_loss=None).train()
    seed_everything(0, verbose=False)
    alone = FinetuneTask(**STUDENT | {"label_smoothing": 0.0}).train()
    assert torch.equal(task.compute_losses(batch)[1]["loss"], alone.compute_losses(batch)[1]["loss"])


def test_validation_uses_only_the_task_loss():
    task = make()
    logged = trainer().validate(task, loader(voices(LABELS)), verbose=False)[0]
    assert logged.keys() == {f"transfer/val_{metric}" for metric in ("loss", "uar", "war", "f1")}


def test_kd_moves_the_student_to_the_teachers_logits():
    seed_everything(0, verbose=False)
    items = with_teacher([-1, -1, -1, -1])  # unlabelled, so only the teacher's losses apply
    task = make(kd_loss="kd", align_loss=None)
    batch = collate_clips(items)
    loss = KnowledgeDistillationLoss(2.0)
    run = fit(task, loader(items), max_epochs=40)
    with torch.no_grad():
        after = loss(task.eval()(batch["waveform"], batch["waveform_length"]), batch["teacher_logits"])
        uninformed = loss(torch.zeros(4, NUM_CLASSES), batch["teacher_logits"])
    assert after < 0.2 * uninformed
    assert run.callback_metrics["transfer/task_loss"] == 0


def test_training_does_not_change_a_live_teacher(teacher):
    task = make(teacher=str(teacher))
    live = task._teacher[0]
    before = copy.deepcopy(live.state_dict())
    task.train()
    assert not any(module.training for module in live.modules())
    items = loader(paired())
    run = fit(task, items, items)
    assert run.global_step == 1
    assert not any(module.training for module in live.modules())
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(value, before[name]) for name, value in live.state_dict().items())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in live.parameters())


def test_a_live_teacher_is_not_in_state_dict_optimizer_or_checkpoint(teacher, tmp_path):
    task = make(teacher=str(teacher))
    live = {id(parameter) for parameter in task._teacher[0].parameters()}
    run = fit(task, loader(paired()))
    run.save_checkpoint(tmp_path / "transfer.ckpt")
    names = make().state_dict().keys()
    assert not any("backbone" in name for name in names)
    assert task.state_dict().keys() == names
    assert not live & {id(parameter) for parameter in task.parameters()}
    assert not live & {id(parameter) for group in run.optimizers[0].param_groups for parameter in group["params"]}
    checkpoint = torch.load(tmp_path / "transfer.ckpt", weights_only=True)
    assert checkpoint["state_dict"].keys() == names
    assert "teacher" not in checkpoint["hyper_parameters"]
    assert str(teacher) not in str(checkpoint["hyper_parameters"])


def test_a_checkpoint_loads_without_teacher_and_weights_files(teacher, tmp_path):
    weights = tmp_path / "student.safetensors"
    save_model(FinetuneTask(**STUDENT).model, weights)
    task = make(teacher=str(teacher), weights=str(weights))
    fit(task, loader(paired())).save_checkpoint(tmp_path / "transfer.ckpt")
    teacher.unlink()
    weights.unlink()
    again = TransferTask.load_from_checkpoint(tmp_path / "transfer.ckpt", weights_only=True)
    assert again.model.config == task.model.config
    parts = {"front_end_kwargs", "encoder_kwargs"}  # a checkpoint spells out the defaults
    given, loaded = ({name: value for name, value in one.hparams.items() if name not in parts} for one in (task, again))
    assert loaded == given
    assert all(torch.equal(value, task.state_dict()[name]) for name, value in again.state_dict().items())
    batch = collate_clips(voices(LABELS))
    with torch.no_grad():
        expected = task.eval()(batch["waveform"], batch["waveform_length"])
        assert torch.equal(again.eval()(batch["waveform"], batch["waveform_length"]), expected)


@pytest.mark.parametrize("align_loss", ["mse", "cosine"])
@pytest.mark.parametrize("kd_loss", ["kd", "logit_std", "dist"])
def test_a_live_teacher_and_its_stored_outputs_give_the_same_loss(teacher, kd_loss, align_loss):
    task = make(teacher=str(teacher), kd_loss=kd_loss, align_loss=align_loss, horizontal_flip=0.0).train()
    live = collate_clips(paired())
    with torch.no_grad():
        embedding = task._teacher[0].embed(live["faces"])
        stored = {name: value for name, value in live.items() if name != "faces"}
        stored |= {"teacher_embedding": embedding, "teacher_logits": task._teacher[0].classify(embedding)}
    torch.testing.assert_close(task.compute_losses(live)[1], task.compute_losses(stored)[1])


def test_faces_for_a_live_teacher_are_randomly_flipped(teacher):
    task = make(teacher=str(teacher), horizontal_flip=1.0).train()
    live = collate_clips(paired())
    mirrored = live | {"faces": live["faces"].flip(-1)}
    outputs = task._teacher_outputs(live).embedding
    assert torch.equal(outputs, task._teacher[0].embed(mirrored["faces"]))
    assert not torch.allclose(outputs, task._teacher[0].embed(live["faces"]))


def test_a_teacher_must_not_be_trained_on_held_out_actors(teacher):
    with pytest.raises(LeakageError, match="actors 03"):
        trainer().fit(make(teacher=str(teacher)), datamodule=Corpus(paired(), {"03", "04"}))
    run = trainer()
    run.fit(make(teacher=str(teacher)), datamodule=Corpus(paired(), {"04", "05"}))
    assert run.global_step == 1


def test_a_missing_teacher_is_a_config_error():
    with pytest.raises(ConfigError, match="teacher_outputs"):
        fit(make(), loader(voices(LABELS)))


def test_a_teacher_of_another_width_is_a_config_error(teacher):
    with pytest.raises(ConfigError, match=r"width 5.*teacher_embedding_size is 7"):
        make(teacher=str(teacher), teacher_embedding_size=7)


def test_a_file_without_a_teacher_is_a_weights_error(tmp_path):
    path = tmp_path / "student.safetensors"
    save_model(FinetuneTask(**STUDENT).model, path)
    with pytest.raises(WeightsError, match="FaceClassifier"):
        make(teacher=str(path))
