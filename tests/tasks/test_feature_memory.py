from weakref import WeakValueDictionary

import pytest
import torch

from crossmodal.tasks import FinetuneTask, feature_memory
from crossmodal.tasks.feature_memory import FeatureMemory
from crossmodal.transforms import SpeedPerturbation, create_augmentation
from tests.tasks.tiny import STUDENT, fit, loader, voices

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SPEED = {"speed": {"factors": [0.8, 1.25]}}


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch):
    """Use an empty cache, because the cache is shared within the process."""
    monkeypatch.setattr(feature_memory, "_MEMORIES", WeakValueDictionary())


def student(**kwargs):
    torch.manual_seed(0)
    return FinetuneTask(**STUDENT | kwargs)


def batch_of(labels, **kwargs):
    return next(iter(loader(voices(labels, **kwargs), batch_size=len(labels))))


def counted(task):
    """Return a list of the lengths of the waveforms that the front end processes from now on."""
    calls = []
    task.model.front_end.register_forward_pre_hook(lambda module, args: calls.append(args[0].shape[-1]))
    return calls


def test_cached_features_equal_the_model_features():
    task = student(encoder="tdnn", encoder_kwargs={"hidden_size": 8}).eval()
    batch = batch_of([0, 1, 2])
    features, length = task.features(batch)
    expected, expected_length = task.model.extract_features(batch["waveform"], batch["waveform_length"])
    assert torch.equal(length, expected_length)
    for row, (one, other) in enumerate(zip(features, expected, strict=True)):
        torch.testing.assert_close(one[:, : length[row]], other[:, : length[row]], atol=1e-3, rtol=0)


def test_features_are_computed_once_per_clip_and_speed():
    task = student(augmentation=SPEED, encoder="tdnn", encoder_kwargs={"hidden_size": 8})
    calls = counted(task)
    fit(task, loader(voices([0, 1, 2, 3])), loader(voices([0, 1, 2, 3])), max_epochs=12)
    lengths = [len(item["waveform"]) for item in voices([0, 1, 2, 3])]
    at_speeds = {round(length / speed) for length in lengths for speed in (0.8, 1.0, 1.25)}
    assert len(calls) == len(set(calls)) and set(calls) == at_speeds  # 1.0: normalization and validation


def test_a_step_does_not_depend_on_the_order_of_computation():
    first, second = student(augmentation=SPEED), student(augmentation=SPEED)
    for labels in ([0, 1, 2, 3], [3], [1, 2]):
        second.train().features(batch_of(labels))
    outputs = []
    for task in (first, second):
        torch.manual_seed(1)
        outputs.append(task.train().features(batch_of([0, 1, 2, 3]))[0])
    assert torch.equal(*outputs)


def test_summaries_are_cached_instead_of_features():
    task = student(augmentation=SPEED)
    calls = counted(task)
    items = voices([0, 1, 2, 3])
    fit(task, loader(items), loader(items), max_epochs=12)
    assert len(calls) == 4 * 2 + 4 + 1  # two speeds; validation; one batch for the normalization, not cached
    batch = batch_of([0, 1, 2, 3])
    task.eval()
    expected = task.model.encode(*task.model.extract_features(batch["waveform"], batch["waveform_length"]))
    torch.testing.assert_close(task.embed(batch), expected, atol=1e-3, rtol=1e-3)


def test_the_cache_is_shared_with_the_next_task():
    first, items = student(augmentation=SPEED), voices([0, 1, 2, 3])
    fit(first, loader(items), max_epochs=12)
    second, other = student(augmentation=SPEED), student(augmentation=SPEED, front_end_kwargs={"n_mfcc": 12})
    calls, other_calls = counted(second), counted(other)
    for task in (second, other):
        fit(task, loader(items), max_epochs=12)
    assert len(calls) == 1  # the normalization's pass
    assert len(other_calls) == 4 * 2 + 1
    kept = first.memory
    assert second.memory is kept and other.memory is not kept


def test_another_normalization_gives_other_summaries():
    task = student().eval()
    batch = batch_of([0, 1])
    before = task.embed(batch)
    task.model.normalization.mean += 3
    expected = task.model.encode(*task.model.extract_features(batch["waveform"], batch["waveform_length"]))
    assert not torch.allclose(task.embed(batch), before)
    torch.testing.assert_close(task.embed(batch), expected, atol=1e-3, rtol=1e-3)


def test_another_clip_with_the_same_name_has_its_own_features():
    task = student().eval()
    one, other = batch_of([0]), batch_of([1])
    assert one["clip"] == other["clip"]
    assert not torch.equal(task.features(one)[0], task.features(other)[0])


def test_features_beyond_max_bytes_are_computed_each_time():
    model = student().model
    calls = []

    def extract(waveform, length):
        calls.append(len(waveform))
        return model.extract_features(waveform, length)

    memory = FeatureMemory(extract, SpeedPerturbation([1.25]), max_bytes=0)
    one, other = (memory.features(batch_of([0, 1]), training=True)[0] for _ in range(2))
    assert torch.equal(one, other) and len(calls) == 4


@pytest.mark.parametrize("name, serves", [("speed", True), ("mixup", True), ("spec_augment", True), ("noise", False)])
def test_serves_only_speed_and_feature_augmentation(name, serves):
    assert FeatureMemory.serves(create_augmentation({name: None})) is serves


def test_mixup_mixes_cached_features():
    task = student(augmentation={"mixup": {"alpha": 5.0}})
    batch = batch_of([0, 1, 2, 3])
    fit(task, loader(voices([0, 1, 2, 3])))
    plain, _ = task.eval().features(batch)
    torch.manual_seed(0)
    mixed = task.train()._augment(batch)
    assert (mixed["label_weight"] < 1).any()
    assert not torch.allclose(mixed["features"][..., : plain.shape[-1]], plain[..., : mixed["features"].shape[-1]])
    assert task.compute_losses(mixed)[1]["loss"].isfinite()


def test_cached_features_do_not_depend_on_autocast():
    """Another run in the process, in single precision, may use the same cache."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 1, generator=generator)
    batch, features = batch_of([0, 1]), []
    for half in (True, False):
        memory = FeatureMemory(lambda waveform, length: (weight @ waveform, length), SpeedPerturbation([1.25]))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            features.append(memory.features(batch, training=True)[0])
    assert torch.equal(*features)
