import pytest
import torch
from lightning.pytorch import seed_everything

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.tasks import TeacherTask
from tests.tasks.tiny import NUM_CLASSES, TEACHER, faces, fit, loader, trainer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

PIXELS = TEACHER | {"backbone": "test_resnet", "pretrained": False, "in_features": None}


def watch_faces(task):
    """Collect the input faces of the model and its training mode."""
    shown = []
    task.model.register_forward_pre_hook(lambda model, inputs: shown.append((model.training, inputs[0].clone())))
    return shown


@pytest.mark.parametrize("horizontal_flip", [0.0, 1.0])
def test_faces_are_flipped_in_training_only(horizontal_flip):
    task = TeacherTask(**PIXELS, horizontal_flip=horizontal_flip)
    shown = watch_faces(task)
    items = loader(faces([0, 1, 2, 3]))
    (batch,) = items
    fit(task, items, items)
    by_mode = dict(shown)
    assert by_mode.keys() == {True, False}
    assert torch.equal(by_mode[True], batch["faces"].flip(-1) if horizontal_flip else batch["faces"])
    assert torch.equal(by_mode[False], batch["faces"])


def test_all_video_frames_of_a_clip_are_flipped_together():
    seed_everything(0, verbose=False)
    task = TeacherTask(**PIXELS, horizontal_flip=0.5).train()
    shown = watch_faces(task)
    (batch,) = loader(faces([0, 1, 2, 3] * 4, size=8), batch_size=16)
    task.compute_losses(batch)
    pairs = list(zip(shown[0][1], batch["faces"], strict=True))
    mirrored = [torch.equal(after, before.flip(-1)) for after, before in pairs]
    assert mirrored == [not torch.equal(after, before) for after, before in pairs]
    assert 0 < sum(mirrored) < 16


def test_predictions_are_embedding_and_logits_of_each_clip():
    task = TeacherTask(**PIXELS, horizontal_flip=1.0)
    items = faces([0, 1, 2, 3])
    (outputs,) = trainer().predict(task, loader(items))
    pixels = torch.stack([item["faces"] for item in items])
    with torch.no_grad():
        embedding = task.eval().model.embed(pixels)
        logits = task(pixels)
    assert outputs["clip"] == ["clip-0", "clip-1", "clip-2", "clip-3"]
    assert outputs["teacher_embedding"].shape == (4, 5)
    assert outputs["teacher_logits"].shape == (4, NUM_CLASSES)
    torch.testing.assert_close(outputs["teacher_embedding"], embedding)
    torch.testing.assert_close(outputs["teacher_logits"], logits)


def test_a_frozen_backbone_is_not_optimized():
    task = TeacherTask(**PIXELS)
    before = {name: value.clone() for name, value in task.model.encoder.backbone.state_dict().items()}
    head = task.model.head[1].weight.detach().clone()
    items = loader(faces([0, 1, 2, 3]))
    run = fit(task, items, items)
    optimized = {id(parameter) for group in run.optimizers[0].param_groups for parameter in group["params"]}
    assert not optimized & {id(parameter) for parameter in task.model.encoder.backbone.parameters()}
    assert all(torch.equal(value, before[name]) for name, value in task.model.encoder.backbone.state_dict().items())
    assert not torch.equal(task.model.head[1].weight, head)


def test_an_unfrozen_backbone_is_trained():
    task = TeacherTask(**PIXELS, freeze_backbone=False)
    first = next(task.model.encoder.backbone.parameters())
    before = first.detach().clone()
    fit(task, loader(faces([0, 1, 2, 3])))
    assert not torch.equal(first, before)


def test_a_checkpoint_has_its_backbone_and_needs_no_download(tmp_path, monkeypatch):
    import timm

    create = timm.create_model
    calls = []

    def create_offline(name, pretrained=False, **kwargs):
        calls.append(pretrained)
        return create(name, pretrained=False, **kwargs)

    monkeypatch.setattr(timm, "create_model", create_offline)
    task = TeacherTask(**PIXELS | {"pretrained": True})
    run = fit(task, loader(faces([0, 1, 2, 3])))
    run.save_checkpoint(tmp_path / "teacher.ckpt")
    assert calls == [True]
    again = TeacherTask.load_from_checkpoint(tmp_path / "teacher.ckpt", weights_only=True)
    assert calls == [True, False]
    pixels = torch.stack([item["faces"] for item in faces([0, 1], seed=3)])
    with torch.no_grad():
        assert torch.equal(again.eval()(pixels), task.eval()(pixels))


def test_a_checkpoint_loads_without_the_backbone_weights_file(tmp_path):
    donor = TeacherTask(**PIXELS)
    weights = tmp_path / "backbone.pth"
    torch.save(donor.model.encoder.backbone.network.state_dict(), weights)
    task = TeacherTask(**PIXELS, weights=str(weights))
    given, taken = donor.model.encoder.backbone.state_dict(), task.model.encoder.backbone.state_dict()
    assert all(torch.equal(taken[name], value) for name, value in given.items())
    assert "weights" not in task.hparams
    fit(task, loader(faces([0, 1, 2, 3]))).save_checkpoint(tmp_path / "teacher.ckpt")
    weights.unlink()
    again = TeacherTask.load_from_checkpoint(tmp_path / "teacher.ckpt", weights_only=True)
    assert again.state_dict().keys() == task.state_dict().keys()
    assert all(torch.equal(value, task.state_dict()[name]) for name, value in again.state_dict().items())


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        ({"backbone": None, "in_features": None}, ConfigError, "in_features"),
        ({"weights": "gone.pth"}, WeightsError, r"gone\.pth"),
        ({"backbone_kwargs": {"sise": 32}}, ConfigError, r"'sise'.*'size'"),
    ],
)
def test_an_invalid_argument_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        TeacherTask(**PIXELS | wrong)
