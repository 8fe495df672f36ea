import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.transforms import ClipNormalization, FeatureNormalization


def fitted_to(batches):
    normalization = FeatureNormalization(batches[0][0].shape[1])
    normalization.fit_from_sums(*sum(FeatureNormalization.accumulate(*batch) for batch in batches))
    return normalization


def test_identity_until_fitted():
    features = torch.randn(2, 3, 5)
    normalization = FeatureNormalization(3)
    assert torch.equal(normalization(features), features)
    assert not normalization.fitted


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=4), st.integers(0, 99))
def test_statistics_exclude_padding(lengths_of_batches, seed):
    generator = torch.Generator().manual_seed(seed)
    batches, own_frames = [], []
    for lengths in lengths_of_batches:
        features = -300 + 7 * torch.randn(len(lengths), 3, 9, generator=generator)
        batches.append((features, torch.tensor(lengths)))
        own_frames += [clip[:, :valid].numpy() for clip, valid in zip(features, lengths, strict=True)]
    frames = np.concatenate(own_frames, axis=1).astype(np.float64)
    normalization = fitted_to(batches)
    np.testing.assert_allclose(normalization.mean, frames.mean(axis=1), rtol=1e-5)
    if frames.shape[1] > 1:
        np.testing.assert_allclose(normalization.std, frames.std(axis=1), rtol=1e-3)


@pytest.mark.parametrize("constant", [0.0, 1e-4, 0.1, -1234.567])
def test_a_constant_feature_is_not_scaled(constant):
    normalization = fitted_to([(torch.full((2, 1, 777), constant),)])
    assert normalization.std.item() == 1
    assert normalization(torch.full((1, 1, 1), constant + 1)).item() == pytest.approx(1, abs=1e-3)


def test_small_features_are_scaled():
    features = 1e-3 * torch.randn(2, 1, 500)
    assert fitted_to([(features,)])(features).std().item() == pytest.approx(1, rel=1e-2)


def test_no_frames_are_a_value_error():
    sums = FeatureNormalization.accumulate(torch.randn(1, 3, 5), torch.tensor([0]))
    with pytest.raises(ValueError, match="frames"):
        FeatureNormalization(3).fit_from_sums(*sums)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(0, 5), st.booleans(), st.integers(0, 99))
def test_clip_normalization_equals_numpy(frames, padding, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    clip = 50 * torch.randn(3, frames, generator=generator)
    padded = torch.nn.functional.pad(clip, (0, padding), value=1e4)[None]
    ours = ClipNormalization(scale)(padded, torch.tensor([frames]))[0, :, :frames].numpy()
    expected = clip.numpy() - clip.numpy().mean(axis=1, keepdims=True)
    if scale and frames > 1:
        expected /= clip.numpy().std(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, expected, atol=1e-3, rtol=1e-3)


def test_a_constant_feature_of_a_clip_becomes_zero():
    features = torch.full((1, 2, 7), -100.0)
    assert torch.equal(ClipNormalization(scale=True)(features, torch.tensor([7])), torch.zeros(1, 2, 7))
