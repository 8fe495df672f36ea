import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from crossmodal.errors import WeightsError
from crossmodal.models.weights import load_backbone_weights


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def weights():
    return network(seed=1).state_dict()


def save(content, path):
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".bin"])
@pytest.mark.parametrize(
    "shape_of_file",
    [
        lambda weights: weights,
        lambda weights: {f"module.{key}": value for key, value in weights.items()},
        lambda weights: weights | {"classifier.weight": torch.zeros(1000, 4), "classifier.bias": torch.zeros(1000)},
        lambda weights: {key: value for key, value in weights.items() if "num_batches" not in key},
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"model": weights},
    ],
    ids=["plain", "from DataParallel", "with classifier", "without counters", "in a checkpoint", "nested"],
)
def test_state_dicts_of_several_formats_are_loaded(weights, suffix, shape_of_file, tmp_path):
    target, content = network(), shape_of_file(weights)
    if suffix == ".safetensors" and not isinstance(next(iter(content.values())), torch.Tensor):
        pytest.skip("safetensors are not nested")
    load_backbone_weights(target, save(content, tmp_path / f"weights{suffix}"))
    for name, parameter in target.named_parameters():
        assert torch.equal(parameter, weights[name])


def test_tensors_of_another_shape_load_nothing(weights, tmp_path):
    weights["0.weight"] = torch.zeros(4, 3, 5, 5)
    target = network()
    before = target[1].weight.clone()
    with pytest.raises(WeightsError, match=r"1 of 6 .*0\.weight"):
        load_backbone_weights(target, save(weights, tmp_path / "weights.pt"))
    assert torch.equal(target[1].weight, before)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x04garbage"])
def test_a_corrupted_file_is_a_weights_error(suffix, content, tmp_path):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="weights"):
        load_backbone_weights(network(), path)


@pytest.mark.parametrize(
    "content, message",
    [
        (network(), "weights"),  # a pickle with code
        ([1, 2], "list"),
        ({"1.weight": torch.ones(4), "1.bias": torch.ones(4)}, r"4 of 6 .*0\.weight, 0\.bias, 1\.running_mean"),
    ],
)
def test_a_file_with_other_content_is_a_weights_error(content, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        load_backbone_weights(network(), save(content, tmp_path / "weights.pt"))
    with pytest.raises(WeightsError, match=r"nowhere\.pt"):
        load_backbone_weights(network(), tmp_path / "nowhere.pt")
