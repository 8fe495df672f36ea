import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.transforms import FeatureNormalization


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
def test_statistics_are_those_of_the_unpadded_frames(lengths_of_batches, seed):
    generator = torch.Generator().manual_seed(seed)
    batches, own_frames = [], []
    for lengths in lengths_of_batches:
        features = -300 + 7 * torch.randn(len(lengths), 3, 9, generator=generator)
        batches.append((features, torch.tensor(lengths)))
        own_frames += [clip[:, :own].numpy() for clip, own in zip(features, lengths, strict=True)]
    frames = np.concatenate(own_frames, axis=1).astype(np.float64)
    normalization = fitted_to(batches)
    np.testing.assert_allclose(normalization.mean, frames.mean(axis=1), rtol=1e-5)
    if frames.shape[1] > 1:
        np.testing.assert_allclose(normalization.std, frames.std(axis=1), rtol=1e-3)


def test_what_it_was_fitted_to_becomes_standard():
    features = 5 + 3 * torch.randn(4, 3, 50)
    normalized = fitted_to([(features,)])(features)
    torch.testing.assert_close(normalized.mean(dim=(0, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalized.std(dim=(0, 2), correction=0), torch.ones(3))


@pytest.mark.parametrize("constant", [0.0, 1e-4, 0.1, -1234.567])
def test_a_constant_feature_is_only_shifted(constant):
    normalization = fitted_to([(torch.full((2, 1, 777), constant),)])
    assert normalization.std.item() == 1
    assert normalization(torch.full((1, 1, 1), constant + 1)).item() == pytest.approx(1, abs=1e-3)


def test_small_features_are_scaled_too():
    features = 1e-3 * torch.randn(2, 1, 500)
    assert fitted_to([(features,)])(features).std().item() == pytest.approx(1, rel=1e-2)


def test_statistics_travel_in_the_state_dict():
    normalization = fitted_to([(torch.randn(2, 3, 5),)])
    twin = FeatureNormalization(3)
    twin.load_state_dict(normalization.state_dict())
    features = torch.randn(1, 3, 4)
    assert twin.fitted
    assert torch.equal(twin(features), normalization(features))


def test_no_frames_at_all_are_refused():
    sums = FeatureNormalization.accumulate(torch.randn(1, 3, 5), torch.tensor([0]))
    with pytest.raises(ValueError, match="no frames"):
        FeatureNormalization(3).fit_from_sums(*sums)
