"""Tests of students with a frozen network as front end, on waveforms and on stored features."""

import copy

import pytest
import torch

from crossmodal import ControlTask, FinetuneTask, TransferTask
from crossmodal.errors import ConfigError
from tests.tasks.tiny import STUDENT, fit, loader, trainer, voices, with_teacher_outputs
from tests.tiny_speech import shrink, write_weights

LABELS = [0, 1, 2, 3] * 2


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    shrink(monkeypatch)
    weights = write_weights(tmp_path / "weights.safetensors")
    kwargs = {"front_end": "ssl", "front_end_kwargs": {"weights": weights, "subsampling": 2}}
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
        {"augmentation": {"mixup": {"alpha": 1.0}, "spec_augment": {}}},
        {"augmentation": {"mixup": {"alpha": 1.0}}, "clip_normalization": "mean", "corpus_normalization": False},
    ],
    ids=["plain", "clip normalization", "augmentation", "mixup of clips as they are"],
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


def test_mixing_centred_features_equals_mixing_normalized_features(settings):
    task = FinetuneTask(**settings, augmentation={"mixup": {"alpha": 1.0}})
    (batch,) = loader(with_features(voices(LABELS), settings), batch_size=8)
    normalization = task.normalization()
    normalization.fit_from_sums(*normalization.accumulate(batch["features"] + 100, batch["feature_length"]))
    batch["features"] = batch["features"] + 100  # far from zero, unlike the padding
    task.train()
    torch.manual_seed(0)
    mixed = task._augment(batch)
    torch.manual_seed(0)
    expected = task.augmentation.mixup({**batch, "features": normalization(batch["features"])})
    for row, length in enumerate(mixed["feature_length"].tolist()):
        one, other = (values[row, :, :length] for values in (normalization(mixed["features"]), expected["features"]))
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert torch.equal(mixed["label_weight"], expected["label_weight"])


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


@pytest.mark.parametrize("task_class", [FinetuneTask, ControlTask, TransferTask])
def test_waveform_augmentation_is_a_config_error(settings, task_class):
    augmentation = {"noise": None, "spec_augment": None, "speed": {"factors": [0.9]}, "mixup": None}
    with pytest.raises(ConfigError, match="noise, speed"):
        task_class(**settings, augmentation=augmentation)
    task_class(**settings, augmentation={"spec_augment": None, "mixup": None})
    task_class(**STUDENT, augmentation=augmentation)


def test_layer_weights_are_learned(settings):
    task = FinetuneTask(**settings)
    fit(task, loader(with_features(voices(LABELS), settings)), max_epochs=3)
    assert task.model.layer_mix.weights.std() > 0
