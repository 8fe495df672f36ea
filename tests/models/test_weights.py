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
    ],
    ids=["plain", "from DataParallel", "with classifier", "without counters"],
)
def test_state_dicts_of_several_formats_are_loaded(weights, suffix, shape_of_file, tmp_path):
    target = network()
    load_backbone_weights(target, save(shape_of_file(weights), tmp_path / f"weights{suffix}"))
    for name, parameter in target.named_parameters():
        assert torch.equal(parameter, weights[name])


@pytest.mark.parametrize("nest", [lambda w: {"state_dict": w, "epoch": 3}, lambda w: {"model": w}])
def test_a_nested_state_dict_is_loaded(weights, nest, tmp_path):
    target = network()
    load_backbone_weights(target, save(nest(weights), tmp_path / "weights.pt"))
    assert torch.equal(target[0].weight, weights["0.weight"])


def test_missing_tensors_are_counted_and_listed(weights, tmp_path):
    del weights["0.weight"], weights["1.running_mean"]
    with pytest.raises(WeightsError, match=r"2 of 6 .*0\.weight, 1\.running_mean"):
        load_backbone_weights(network(), save(weights, tmp_path / "weights.pt"))


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


def test_code_in_a_pickle_is_not_executed(tmp_path):
    torch.save(network(), tmp_path / "whole_module.pt")
    with pytest.raises(WeightsError, match="whole_module"):
        load_backbone_weights(network(), tmp_path / "whole_module.pt")


def test_a_file_without_a_state_dict_is_a_weights_error(tmp_path):
    with pytest.raises(WeightsError, match="list"):
        load_backbone_weights(network(), save([1, 2], tmp_path / "weights.pt"))


def test_a_missing_file_is_a_weights_error(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere\.pt"):
        load_backbone_weights(network(), tmp_path / "nowhere.pt")
