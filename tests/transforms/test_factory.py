import pytest
import torch

from crossmodal.errors import ConfigError
from crossmodal.transforms import create_augmentation, list_augmentations


def voices(batch_size=4, num_samples=1600):
    return {
        "clip": [str(clip) for clip in range(batch_size)],
        "label": torch.arange(batch_size),
        "waveform": 2 * torch.rand(batch_size, 1, num_samples) - 1,
        "waveform_length": torch.full((batch_size,), num_samples),
    }


@pytest.mark.parametrize("settings", [None, {}])
def test_empty_settings_do_nothing(settings):
    augmentation = create_augmentation(settings)
    batch, features, length = voices(), torch.randn(4, 5, 6), torch.full((4,), 6)
    assert {key: value is batch[key] for key, value in augmentation.batch(batch).items()} == dict.fromkeys(batch, True)
    assert augmentation.features(features, length) is features


@pytest.mark.parametrize("name", list_augmentations())
def test_each_augmentation_acts_in_training_only(name):
    augmentation = create_augmentation({name: {"p": 1.0}})
    batch, features, length = voices(), torch.randn(4, 5, 60), torch.full((4,), 60)
    before = {key: value.clone() for key, value in batch.items() if key != "clip"}
    torch.manual_seed(0)
    augmented = augmentation.batch(batch)
    assert torch.equal(augmented["waveform"], batch["waveform"]) == (name == "spec_augment")
    assert torch.equal(augmentation.features(features, length), features) == (name != "spec_augment")
    assert all(torch.equal(batch[key], value) for key, value in before.items())

    augmentation.eval()
    untouched = augmentation.batch(batch)
    assert untouched.keys() == batch.keys()
    assert all(untouched[key] is batch[key] for key in batch)
    assert augmentation.features(features, length) is features


def test_order_does_not_depend_on_the_settings_and_there_is_no_state():
    everything = create_augmentation(dict.fromkeys(reversed(list_augmentations())))
    order = "SpeedPerturbation RandomCrop RandomGain AdditiveNoise SpecAugment"
    modules = [*everything.waveform, *everything.on_features]
    assert [type(module).__name__ for module in modules] == order.split()
    assert everything.state_dict() == {}


def test_arguments_and_sample_rate_are_passed_on():
    augmentation = create_augmentation({"noise": {"min_snr_db": 3}, "gain": {"p": None}}, 8000)
    gain, noise = augmentation.waveform
    assert (noise.min_snr_db, noise.sample_rate, gain.p) == (3, 8000, 0.5)


def test_a_batch_without_waveforms_is_unchanged():
    batch = {"label": torch.tensor([0, 1]), "face_embeddings": torch.zeros(2, 3, 4)}
    assert create_augmentation({"gain": {}, "speed": {}}).batch(batch) is batch


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sped": {}}, "'sped'.*'speed'"),
        ({"gain": {"min_gain": -3}}, "'gain'.*'min_gain'.*'min_gain_db'"),
        ({"noise": {"sample_rate": 8000}}, "'sample_rate'"),
        ({"speed": [0.9, 1.1]}, r"'speed'.*\[0.9, 1.1\]"),
        ({"gain": {"p": 2}}, "p must.*2"),
    ],
)
def test_invalid_settings_are_config_errors(settings, message):
    with pytest.raises(ConfigError, match=message):
        create_augmentation(settings)
