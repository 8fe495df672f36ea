"""Tests of students with a frozen network as front end, on waveforms and on stored features."""

import copy

import pytest
import torch

from crossmodal import ControlTask, FinetuneTask, TransferTask
from crossmodal.errors import ConfigError
from tests.tasks.tiny import STUDENT, fit, loader, trainer, voices, with_teacher_outputs
from tests.tiny_speech import BUNDLE, shrink, write_weights, write_whisper

LABELS = [0, 1, 2, 3] * 2


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    shrink(monkeypatch)
    weights = write_weights(tmp_path / "weights.safetensors")
    kwargs = {"front_end": "pretrained", "front_end_kwargs": {"model": BUNDLE, "weights": weights, "subsampling": 2}}
    return {**STUDENT, **kwargs, "dropout": 0.3}


def with_features(items, settings):
    """Return the items with stored features in half precision instead of waveforms."""
    model = FinetuneTask(**settings).model
    stored = []
    for item in items:
        features, _ = model.run_front_end(item["waveform"].view(1, 1, -1))
        rest = {name: value for name, value in item.items() if name != "waveform"}
        stored.append(rest | {"features": features[0].half()})
    return stored


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"clip_normalization": "mean_std"},
        {"augmentation": {"spec_augment": {}}},
        {"clip_normalization": "mean", "corpus_normalization": False},
    ],
    ids=["plain", "clip normalization", "augmentation", "clip normalization alone"],
)
@pytest.mark.parametrize("task_class", [FinetuneTask, ControlTask, TransferTask])
def test_waveforms_and_stored_features_give_the_same_result(settings, task_class, more):
    items = voices(LABELS)
    if task_class is TransferTask:
        items, more = with_teacher_outputs(items), {**more, "teacher_embedding_size": 5}
    results = []
    for training in (items, with_features(items, settings)):
        torch.manual_seed(0)
        task = task_class(**{**settings, **more})
        fit(task, loader(training), loader(training), max_epochs=2)
        results.append((task.state_dict(), trainer().predict(task, loader(training))))
    (live, live_predictions), (stored, stored_predictions) = results
    assert live.keys() == stored.keys()
    for name, value in live.items():
        assert torch.equal(value, stored[name]), name
    for one, other in zip(live_predictions, stored_predictions, strict=True):
        assert torch.equal(one["probabilities"], other["probabilities"])


def test_the_network_is_frozen_and_not_in_checkpoints(settings, tmp_path):
    task = FinetuneTask(**settings)
    plain = fit(task, loader(voices(LABELS)), max_epochs=1)
    network = task.model.front_end.load()
    held = copy.deepcopy(network.state_dict())
    fit(task, loader(voices(LABELS)), max_epochs=1)
    task.train()
    assert not network.training
    assert all(torch.equal(value, held[name]) for name, value in network.state_dict().items())
    plain.save_checkpoint(tmp_path / "a.ckpt")
    checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert not any("front_end" in name for name in checkpoint["state_dict"])
    in_optimizer = sum(len(group["params"]) for group in plain.optimizers[0].param_groups)
    assert in_optimizer == len(list(task.model.parameters()))
    assert (tmp_path / "a.ckpt").stat().st_size < 200_000
    again = FinetuneTask.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.model.config == task.model.config


def with_versions(items, count):
    """Return items with `count` versions of stored features: the clip, and constants that tell which one was drawn."""
    stored = []
    for item in items:
        features = item["features"].float()
        versions = torch.stack([features, *(torch.full_like(features, number) for number in range(1, count))])
        length = torch.full((count,), features.shape[-1])
        stored.append({**item, "features": versions, "feature_length": length})
    return stored


def test_training_draws_among_the_stored_copies_and_evaluation_uses_the_clip(settings):
    task = FinetuneTask(**settings, augmentation={"noise": None}, stored_copies=2)
    assert task.num_versions == 3
    items = with_features(voices([0]), settings)
    features = torch.stack([one["features"] for one in with_versions(items, 3)])
    batch = {"features": features.expand(60, -1, -1, -1), "feature_length": torch.full((60, 3), features.shape[-1])}
    task.train()
    drawn = task.features(batch)[0][:, 0, 0]
    assert {*drawn.tolist()} == {1.0, 2.0, features[0, 0, 0, 0].item()}
    task.eval()
    assert torch.equal(task.features(batch)[0], features[:, 0].expand(60, -1, -1))
    assert FinetuneTask(**settings, augmentation={"spec_augment": None}).num_versions == 1


def test_waveform_augmentation_is_applied_to_waveforms(settings):
    task = FinetuneTask(**settings, augmentation={"speed": {"factors": [0.5]}}).train()
    (batch,) = loader(voices([0, 1]), batch_size=2)
    augmented = task.augmentation.batch(batch)
    assert augmented["waveform"].shape[-1] == 2 * batch["waveform"].shape[-1]
    assert torch.isfinite(task.training_step(batch, 0))


@pytest.mark.parametrize("copies", [0, -1])
def test_stored_copies_must_be_positive(settings, copies):
    with pytest.raises(ConfigError, match="stored_copies"):
        FinetuneTask(**settings, stored_copies=copies)


@pytest.fixture
def trainable(settings, tmp_path):
    kwargs = {"model": write_whisper(tmp_path / "whisper"), "layers": [2, 3], "trainable_layers": 1}
    return {**settings, "front_end_kwargs": kwargs, "lr": 1e-3}


@pytest.mark.parametrize("pretrained_lr", [None, 3e-5])
def test_trained_layers_have_their_own_learning_rate(trainable, pretrained_lr):
    task = FinetuneTask(**trainable, pretrained_lr=pretrained_lr)
    plain = fit(task, loader(voices(LABELS)))
    others, pretrained = plain.optimizers[0].param_groups
    assert {*map(id, pretrained["params"])} == {*map(id, task.model.front_end.parameters())}
    assert len(others["params"]) + len(pretrained["params"]) == len([*task.model.parameters()])
    assert (others["max_lr"], pretrained["max_lr"]) == pytest.approx((1e-3, pretrained_lr or 1e-4))


@pytest.mark.parametrize("more", [{}, {"augmentation": {"spec_augment": {}}}], ids=["plain", "masked"])
@pytest.mark.parametrize("task_class", [FinetuneTask, TransferTask])
def test_layers_are_trained_on_waveforms_as_on_stored_features(trainable, task_class, more):
    items = voices(LABELS)
    if task_class is TransferTask:
        items, more = with_teacher_outputs(items), {**more, "teacher_embedding_size": 5}
    before = FinetuneTask(**trainable).model.front_end.state_dict()
    states = []
    for training in (items, with_features(items, trainable)):
        torch.manual_seed(0)
        task = task_class(**{**trainable, **more})
        fit(task, loader(training), loader(training), max_epochs=2)
        states.append(task.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name])
    changed = [name for name, value in before.items() if not torch.equal(value, states[0][f"model.front_end.{name}"])]
    assert len(changed) == len(before)


def test_a_checkpoint_has_the_trained_layers(trainable, tmp_path):
    task = FinetuneTask(**trainable)
    fit(task, loader(voices(LABELS))).save_checkpoint(tmp_path / "a.ckpt")
    again = FinetuneTask.load_from_checkpoint(tmp_path / "a.ckpt").eval()
    (batch,) = loader(voices([0, 1]), batch_size=2)
    with torch.no_grad():
        one, other = (each(batch["waveform"], batch["waveform_length"]) for each in (again, task.eval()))
    assert torch.equal(one, other)


def test_clip_normalization_is_refused_for_trained_layers(trainable):
    with pytest.raises(ConfigError, match="clip_normalization"):
        FinetuneTask(**trainable, clip_normalization="mean")


@pytest.mark.parametrize("mix", [True, False])
def test_layers_are_mixed_or_concatenated(settings, mix):
    task = FinetuneTask(**settings, mix_layers=mix)
    assert (task.model.layer_mix is not None) is mix
    assert task.model.config["mix_layers"] is mix
    assert task.model.encoder.pooling.in_features == (16 if mix else 48)


def test_layer_weights_are_learned(settings):
    task = FinetuneTask(**settings)
    fit(task, loader(with_features(voices(LABELS), settings)), max_epochs=3)
    assert task.model.layer_mix.weights.std() > 0
