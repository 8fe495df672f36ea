import socket
import subprocess
import sys
import time
from unittest.mock import Mock

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.models import FaceBackbone, backbone
from crossmodal.models.backbone import imagenet_weights

NETWORKS = ["test_resnet", "test_efficientnet", "mobilenetv3_small_050", "test_convnext", "test_vit"]


@pytest.fixture
def faces():
    return torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def no_hub(monkeypatch):
    """Make every network connection fail at once."""

    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=OSError("no network in tests")))
    for name in ("https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("kwargs", [{}, {"mean": [0.4, 0.5, 0.6], "std": [0.25] * 3}, {"size": 32}])
def test_embeddings_equal_timm_on_scaled_resized_and_normalized_faces(faces, kwargs):
    backbone = FaceBackbone("test_resnet", pretrained=False, **kwargs)
    colours = backbone.network.pretrained_cfg | kwargs
    mean, std = (torch.tensor(colours[key]).view(3, 1, 1) for key in ("mean", "std"))
    pixels = faces.flatten(0, 1) / 255
    if "size" in kwargs:
        pixels = F.interpolate(pixels, (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = backbone.network((pixels - mean) / std)
    torch.testing.assert_close(backbone(faces).flatten(0, 1), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_num_features_is_the_output_width_and_faces_are_resized_only_if_required(name, faces):
    backbone = FaceBackbone(name, pretrained=False)
    assert backbone(faces).shape == (2, 3, backbone.num_features)
    assert backbone.size == (160 if name == "test_vit" else None)
    if name == "test_vit":
        assert FaceBackbone(name, pretrained=False, model_kwargs={"img_size": 96}).size == 96


def test_a_frozen_backbone_does_not_change(faces):
    backbone = FaceBackbone("test_resnet", pretrained=False)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    embeddings = backbone.train()(faces)
    assert not any(tensor.requires_grad for tensor in (embeddings, *backbone.parameters()))
    assert not any(module.training for module in backbone.network.modules())
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_a_trainable_backbone_changes(faces):
    backbone = FaceBackbone("test_resnet", pretrained=False, frozen=False).train()
    before = backbone.network.bn1.running_mean.clone()
    backbone(faces).square().sum().backward()
    assert not torch.equal(backbone.network.bn1.running_mean, before)
    assert all(p.grad is not None for p in backbone.parameters())
    backbone.eval()
    assert not backbone.network.training


@pytest.mark.parametrize("frozen", [True, False])
def test_only_a_frozen_network_gets_faces_in_parts_and_these_do_not_change_embeddings(frozen, faces, monkeypatch):
    network = FaceBackbone("test_resnet", pretrained=False, frozen=frozen).eval()
    expected, sizes = network(faces), []
    monkeypatch.setattr(backbone, "_FACES_AT_ONCE", 4)
    network.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    torch.testing.assert_close(network(faces), expected, atol=1e-5, rtol=1e-5)
    assert sizes == ([4, 2] if frozen else [6])


@pytest.mark.parametrize(
    ("name", "pretrained", "weights", "expected"),
    [
        ("mobilenetv3_small_100", True, None, ("mobilenetv3_small_100.lamb_in1k", 224)),
        ("hf_hub:timm/vit_tiny_patch16_384.augreg_in21k_ft_in1k", True, None,
         ("vit_tiny_patch16_384.augreg_in21k_ft_in1k", 384)),
        ("mobilenetv2_100", False, "a/MobileNetV2_ImageNet.pt", ("MobileNetV2_ImageNet.pt", 224)),
        ("mobilenetv2_100", True, "imagenet/faces.pt", None),
        ("mobilenetv2_100", False, None, None),
        ("vit_small_patch14_dinov2.lvd142m", True, None, None),
        ("hf_hub:person/resnet18.arcface_ms1mv3", True, None, None),
        ("hf_hub:person/own_network", True, None, None),
    ],
)  # fmt: skip
def test_weights_of_imagenet_are_recognised_by_their_name(name, pretrained, weights, expected, no_hub):
    assert imagenet_weights(name, pretrained, weights) == expected


def test_local_weights_are_loaded_without_the_hub(faces, tmp_path, no_hub):
    torch.manual_seed(3)
    source = timm.create_model("test_resnet", num_classes=10)  # with a classifier
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    backbone = FaceBackbone("test_resnet", pretrained=True, weights=tmp_path / "weights.safetensors")
    assert torch.equal(backbone.network.conv1[0].weight, source.conv1[0].weight)


def test_weights_of_another_network_do_not_fit(tmp_path):
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match=r"weights\.pt"):
        FaceBackbone("test_resnet", weights=tmp_path / "weights.pt")


def test_config_and_state_dict_rebuild_the_backbone_without_its_weights_file(faces, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    backbone = FaceBackbone("test_resnet", weights=path, mean=[0.1, 0.2, 0.3], size=48)
    path.unlink()
    twin = FaceBackbone(**backbone.config)
    twin.load_state_dict(backbone.state_dict())
    assert torch.equal(twin(faces), backbone(faces))


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "hf_hub:timm/mobilenetv3_small_050.lamb_in1k"])
def test_offline_error_is_quick_and_names_the_alternatives(name, no_hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(WeightsError, match=rf"{name}.*hub.*weights=FILE.*pretrained=False"):
        FaceBackbone(name, pretrained=True)
    assert time.monotonic() - start < 30  # huggingface_hub alone retries for 45 s
    assert not constants.HF_HUB_OFFLINE


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"'mobilenetv3_smal_050'.*'mobilenetv3_small_050'"):
        FaceBackbone("mobilenetv3_smal_050", pretrained=False)


@pytest.mark.parametrize("shape, dtype", [((2, 3, 64, 64), torch.uint8), ((2, 3, 3, 64, 64), torch.float32)])
def test_input_that_is_not_faces_is_a_config_error(shape, dtype):
    with pytest.raises(ConfigError, match=r"\(B, N, 3, H, W\)"):
        FaceBackbone("test_resnet", pretrained=False)(torch.zeros(shape, dtype=dtype))


def test_importing_the_models_does_not_import_timm_or_torchvision():
    code = "import sys, crossmodal.models; sys.exit(len({'timm', 'torchvision'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
