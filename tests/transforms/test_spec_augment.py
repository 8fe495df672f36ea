import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError
from crossmodal.transforms import SpecAugment


def hidden_columns(masked):
    """Return a mask of the frames that are masked in all features, (B, frames)."""
    return (masked == 0).all(dim=1)


def hidden_rows(masked):
    """Return a mask of the features that are masked in all frames, (B, F)."""
    return (masked == 0).all(dim=2)


@st.composite
def batches(draw):
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    torch.manual_seed(draw(st.integers(0, 1000)))
    return torch.randn(len(lengths), draw(st.integers(1, 20)), max(lengths)), torch.tensor(lengths)


@settings(max_examples=40)
@given(
    batch=batches(),
    seed=st.integers(0, 1000),
    masks=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_other_values_are_unchanged(batch, seed, masks, shares):
    features, length = batch
    before = features.clone()
    augment = SpecAugment(masks[0], shares[0], masks[1], shares[1])
    torch.manual_seed(seed)
    masked = augment(features, length)
    assert torch.equal(features, before)
    assert masked.shape == features.shape
    assert masked[masked != 0].tolist() == features[masked != 0].tolist()
    torch.manual_seed(seed)
    assert torch.equal(augment(features, length), masked)
    assert augment.eval()(features, length) is features


def test_bands_have_all_widths_up_to_their_share():
    torch.manual_seed(0)
    augment = SpecAugment(num_freq_masks=1, freq_mask_share=0.2, num_time_masks=0)
    masked = augment(torch.ones(500, 40, 6), torch.full((500,), 6))
    hidden = hidden_rows(masked)
    assert torch.equal((masked == 0).sum(dim=(1, 2)), 6 * hidden.sum(dim=1))  # a band is masked in all frames
    assert hidden.sum(dim=1).unique().tolist() == list(range(9))
    edges = hidden.int().diff(dim=1, prepend=torch.zeros(500, 1), append=torch.zeros(500, 1)).abs().sum(dim=1)
    assert edges.max() == 2  # contiguous
    assert hidden.float().mean() == pytest.approx(0.1, abs=0.01)
    assert hidden.any(dim=0).all()  # everywhere


def test_time_masks_are_within_the_length_of_the_clip():
    length = torch.tensor([20, 100] * 250)
    torch.manual_seed(0)
    masked = SpecAugment(num_freq_masks=0, num_time_masks=1, time_mask_share=0.3)(torch.ones(500, 3, 120), length)
    hidden = hidden_columns(masked)
    for valid in (20, 100):
        widths = hidden[length == valid].sum(dim=1)
        assert widths.min() == 0
        assert widths.max() == pytest.approx(0.3 * valid, abs=0.5)
        assert not hidden[length == valid, valid:].any()
        assert hidden[length == valid, :valid].any(dim=0).all()


def test_several_masks_cover_more_than_one():
    torch.manual_seed(0)
    length = torch.full((300,), 100)
    augments = (SpecAugment(0, 0.0, masks, 0.2) for masks in (1, 3))
    one, three = (hidden_columns(augment(torch.ones(300, 2, 100), length)).float().mean() for augment in augments)
    assert one == pytest.approx(0.1, abs=0.01)
    assert 0.23 < three < 0.29  # 0.3, less where they overlap


def test_probability_is_per_clip():
    torch.manual_seed(0)
    masked = SpecAugment(2, 1.0, 2, 1.0, p=0.3)(torch.ones(500, 40, 40), torch.full((500,), 40))
    touched = (masked == 0).any(dim=(1, 2))
    assert touched.float().mean() == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(
    "name, value",
    {"num_freq_masks": -1, "num_time_masks": 1.5, "freq_mask_share": 1.1, "time_mask_share": -0.1, "p": 2}.items(),
)
def test_invalid_settings_are_config_errors(name, value):
    with pytest.raises(ConfigError, match=name):
        SpecAugment(**{name: value})
