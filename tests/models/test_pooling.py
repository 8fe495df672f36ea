from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError
from crossmodal.models import PoolingName, WeightedLayerSum, create_pooling


def reference(name, pooling, clip):
    """Pool an unpadded clip of shape (C, frames) with numpy."""
    if name == "last":
        return clip[:, -1]
    if name == "mean":
        return clip.mean(axis=1)
    if name == "stats":
        return np.concatenate([clip.mean(axis=1), np.sqrt(clip.var(axis=1) + 1e-5)])
    if name == "functionals":
        ranks = np.round(np.float32([0.05, 0.25, 0.5, 0.75, 0.95]) * (clip.shape[1] - 1)).astype(int)
        return np.concatenate([reference("stats", None, clip), np.sort(clip, axis=1)[:, ranks].flatten()])
    inner, _, outer = (layer for layer in pooling.score)
    hidden = np.tanh(inner.weight[..., 0].detach().numpy() @ clip + inner.bias.detach().numpy()[:, None])
    score = (outer.weight[..., 0].detach().numpy() @ hidden)[0]
    weight = np.exp(score) / np.exp(score).sum()
    return clip @ weight


@pytest.mark.parametrize("name", get_args(PoolingName))
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4), garbage=st.sampled_from([0.0, 1e6, float("nan")]))
def test_pooling_equals_numpy_on_the_unpadded_clip(name, lengths, garbage):
    torch.manual_seed(len(lengths))
    pooling = create_pooling(name, 3)
    features = torch.randn(len(lengths), 3, 12)
    for clip, length in zip(features, lengths, strict=True):
        clip[:, length:] = garbage
    pooled = pooling(features, torch.tensor(lengths)).detach()
    assert pooled.shape == (len(lengths), pooling.out_features)
    for result, clip, length in zip(pooled, features, lengths, strict=True):
        np.testing.assert_allclose(result, reference(name, pooling, clip[:, :length].numpy()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", get_args(PoolingName))
def test_the_default_length_is_all_frames(name):
    pooling = create_pooling(name, 3)
    features = torch.randn(2, 3, 7)
    torch.testing.assert_close(pooling(features), pooling(features, torch.tensor([7, 7])))


@pytest.mark.parametrize("name", get_args(PoolingName))
def test_a_single_frame_has_a_finite_gradient(name):
    features = torch.randn(2, 3, 1, requires_grad=True)
    create_pooling(name, 3)(features).sum().backward()
    assert features.grad.isfinite().all()


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"'atention'.*'attention'"):
        create_pooling("atention", 3)


@pytest.mark.parametrize("scores", [(0.0, 0.0, 0.0), (0.3, -1.0, 2.0)])
def test_layers_are_summed_with_softmax_weights(scores):
    mix, features = WeightedLayerSum(3), torch.randn(2, 3 * 5, 7)
    assert mix.scores.tolist() == [0, 0, 0]
    mix.scores.data = torch.tensor(scores)
    share = np.exp(scores) / np.exp(scores).sum()
    expected = sum(weight * features[:, 5 * layer : 5 * (layer + 1)] for layer, weight in enumerate(share))
    torch.testing.assert_close(mix(features), expected, check_dtype=False)


def test_zero_layers_are_a_config_error():
    with pytest.raises(ConfigError, match="num_layers"):
        WeightedLayerSum(0)
