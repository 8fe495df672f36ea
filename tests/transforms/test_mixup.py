import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError
from crossmodal.transforms import Mixup


def batch_of(labels, lengths, sound="waveform"):
    """Return a batch in which all values of a clip are its index."""
    channels, name = (1, "waveform_length") if sound == "waveform" else (3, "feature_length")
    number = torch.arange(1.0, len(labels) + 1)
    values = torch.zeros(len(labels), channels, max(lengths))
    for clip, length in enumerate(lengths):
        values[clip, :, :length] = number[clip]
    return {
        "clip": [f"clip {clip}" for clip in range(len(labels))],
        "label": torch.tensor(labels),
        sound: values,
        name: torch.tensor(lengths),
        "teacher_embedding": number[:, None].repeat(1, 4),
        "teacher_logits": -number[:, None].repeat(1, 2),
    }


@st.composite
def batches(draw):
    clips = draw(st.lists(st.tuples(st.integers(-1, 7), st.integers(1, 20)), min_size=1, max_size=8))
    labels, lengths = zip(*clips, strict=True)
    return batch_of(labels, lengths, draw(st.sampled_from(["waveform", "features"])))


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) if isinstance(value, torch.Tensor) else value == other[key]
        for key, value in one.items()
    )


@settings(max_examples=60)
@given(
    batch=batches(),
    seed=st.integers(0, 1000),
    alpha=st.sampled_from([0.001, 0.2, 1.0, 1000.0]),
    p=st.sampled_from([0.5, 1.0]),
)
def test_mixup_equals_a_naive_implementation(batch, seed, alpha, p):
    before = copy.deepcopy(batch)
    mixup = Mixup(alpha, p)
    torch.manual_seed(seed)
    mixed = mixup(batch)
    assert same(batch, before)
    torch.manual_seed(seed)
    assert same(mixup(batch), mixed)
    assert mixup.eval()(batch) is batch

    sound, length = ("waveform", "waveform_length") if "waveform" in batch else ("features", "feature_length")
    weight = mixed["label_weight"]
    assert (weight.dtype, mixed["mixed_label"].dtype) == (torch.float32, torch.int64)
    assert 0.5 <= weight.min() <= weight.max() <= 1
    assert mixed["clip"] == batch["clip"]
    assert torch.equal(mixed["label"], batch["label"])
    for clip, own_weight in enumerate(weight.tolist()):
        number = clip + 1
        total = -mixed["teacher_logits"][clip, 0].item()
        partner = clip
        if own_weight < 1:  # the mixed value identifies the partner
            if own_weight > 0.9999:
                continue
            partner = round((total - own_weight * number) / (1 - own_weight)) - 1
        expected = own_weight * batch[sound][clip] + (1 - own_weight) * batch[sound][partner]
        torch.testing.assert_close(mixed[sound][clip], expected, atol=1e-4, rtol=0)
        value = own_weight * number + (1 - own_weight) * (partner + 1)
        torch.testing.assert_close(mixed["teacher_embedding"][clip], torch.full((4,), value))
        assert mixed[length][clip] == max(batch[length][clip], batch[length][partner])
        assert mixed["mixed_label"][clip] == batch["label"][partner]


@settings(max_examples=30)
@given(batch=batches(), seed=st.integers(0, 1000))
def test_unlabelled_clips_are_not_mixed(batch, seed):
    torch.manual_seed(seed)
    mixed = Mixup(alpha=1.0)(batch)
    unlabelled = batch["label"] == -1
    assert torch.equal(mixed["label_weight"][unlabelled], torch.ones(int(unlabelled.sum())))
    assert torch.equal(mixed["mixed_label"] == -1, unlabelled)
    for key, value in batch.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(mixed[key][unlabelled], value[unlabelled])


def test_every_labelled_clip_is_mixed_with_another():
    batch = batch_of(list(range(8)), [5] * 8)
    for seed in range(20):
        torch.manual_seed(seed)
        mixed = Mixup(alpha=1.0)(batch)
        assert (mixed["mixed_label"] != batch["label"]).all()
        assert sorted(mixed["mixed_label"].tolist()) == list(range(8))


def test_weights_follow_the_beta_distribution():
    batch = batch_of([0, 1] * 2000, [1] * 4000)
    torch.manual_seed(0)
    weight = Mixup(alpha=0.4)(batch)["label_weight"].double()
    # E|2 w - 1| and E(2 w - 1)^2 under Beta(a, a); the second is 1 / (2 a + 1).
    assert (2 * weight - 1).square().mean() == pytest.approx(1 / 1.8, abs=0.02)
    assert len(weight.unique()) > 2000


def test_probability_is_per_clip():
    torch.manual_seed(0)
    weight = Mixup(alpha=5.0, p=0.3)(batch_of([0, 1] * 500, [1] * 1000))["label_weight"]
    assert (weight < 1).float().mean() == pytest.approx(0.3, abs=0.05)


def test_padding_of_features_is_not_mixed():
    batch = batch_of([0, 1], [2, 5], sound="features")
    batch["features"][0, :, 2:] = 99.0
    torch.manual_seed(0)
    mixed = Mixup(alpha=1.0)(batch)
    weight = mixed["label_weight"]
    assert mixed["feature_length"].tolist() == [5, 5]
    torch.testing.assert_close(mixed["features"][1, 0, 2:], (weight[1] * 2).expand(3))
    torch.testing.assert_close(mixed["features"][0, 0, 2:], ((1 - weight[0]) * 2).expand(3))


def test_a_batch_without_audio_is_a_config_error():
    with pytest.raises(ConfigError, match="label, faces"):
        Mixup()({"label": torch.tensor([0, 1]), "faces": torch.zeros(2, 1, 3, 4, 4)})


@pytest.mark.parametrize("kwargs", [{"alpha": 0}, {"alpha": -1.0}, {"alpha": 1e9}, {"p": -0.1}])
def test_invalid_settings_are_config_errors(kwargs):
    with pytest.raises(ConfigError, match=next(iter(kwargs))):
        Mixup(**kwargs)
