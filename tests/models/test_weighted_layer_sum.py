import pytest
import torch

from crossmodal.errors import ConfigError
from crossmodal.models import WeightedLayerSum


def test_initial_weights_give_the_mean_of_the_layers():
    features = torch.randn(2, 3 * 5, 7)
    layers = features.view(2, 3, 5, 7)
    torch.testing.assert_close(WeightedLayerSum(3)(features), layers.mean(dim=1))


def test_layers_are_summed_with_softmax_weights():
    mix = WeightedLayerSum(3)
    mix.scores.data = torch.tensor([0.3, -1.0, 2.0])
    features = torch.randn(2, 3 * 5, 7)
    share = [torch.tensor(score).exp() for score in (0.3, -1.0, 2.0)]
    expected = torch.zeros(2, 5, 7)
    for layer in range(3):
        expected += share[layer] / sum(share) * features[:, 5 * layer : 5 * (layer + 1)]
    torch.testing.assert_close(mix(features), expected)
    assert mix.weights.sum().item() == pytest.approx(1.0)


def test_training_finds_the_informative_layer():
    torch.manual_seed(0)
    mix = WeightedLayerSum(4)
    optimizer = torch.optim.Adam(mix.parameters(), lr=0.1)
    features = torch.randn(16, 4 * 3, 5)
    for _ in range(200):
        optimizer.zero_grad()
        (mix(features) - features[:, 6:9]).square().mean().backward()
        optimizer.step()
    assert mix.weights.argmax() == 2
    assert mix.weights[2] > 0.9


def test_zero_layers_are_a_config_error():
    with pytest.raises(ConfigError, match="num_layers"):
        WeightedLayerSum(0)
