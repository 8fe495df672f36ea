"""Requirements on timm image models as audio encoders; `test_encoders` has those on all encoders."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from crossmodal.errors import ConfigError
from crossmodal.models import AudioClassifier, TimmEncoder, create_audio_encoder
from tests.models.test_encoders import NUM_FEATURES
from tests.models.test_encoders import make as make_encoder


def make(name, **kwargs):
    return make_encoder(f"timm:{name}", image_width=32, **kwargs)


def test_gradient_reaches_every_parameter():
    encoder = make("test_efficientnet").train()
    out = encoder(torch.randn(4, NUM_FEATURES, 60), torch.tensor([60, 31, 33, 50]))
    (out * torch.randn_like(out)).sum().backward()
    assert not [name for name, p in encoder.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]


def test_images_of_padding_do_not_change_batch_statistics():
    statistics = []
    for frames in (40, 200):
        torch.manual_seed(1)
        features = torch.randn(2, NUM_FEATURES, 40)
        encoder = make("test_resnet").train()
        encoder(torch.nn.functional.pad(features, (0, frames - 40)), torch.tensor([40, 33]))
        statistics.append(encoder.network.bn1.running_mean)
    torch.testing.assert_close(*statistics)


def test_encoding_equals_timm_on_each_image():
    """Compare with an independent reference: each image passed through the bare network."""
    encoder = make("resnet18", pooling="mean")
    clip = torch.randn(NUM_FEATURES, 70)  # two images, and a third with 6 audio frames; one column per image
    with torch.no_grad():
        whole = [encoder.network(clip[None, None, :, start : start + 32]).mean(dim=(0, 2)) for start in (0, 32)]
        last = encoder.network(torch.cat([clip[None, None, :, 64:], torch.zeros(1, 1, NUM_FEATURES, 26)], dim=3))
        columns = torch.cat([*whole, last.mean(dim=(0, 2))], dim=1)
        assert columns.shape == (512, 3)
        batch = torch.randn(2, NUM_FEATURES, 200)
        batch[1, :, :70] = clip
        out = encoder(batch, torch.tensor([200, 70]))[1]
    torch.testing.assert_close(out, columns.mean(dim=1), atol=1e-5, rtol=1e-4)


def test_rgb_weights_are_summed_to_one_channel_like_timm(tmp_path):
    coloured = timm.create_model("resnet18", num_classes=10)  # with a classifier
    path = tmp_path / "weights.safetensors"
    save_file(coloured.state_dict(), path)
    encoder = TimmEncoder(NUM_FEATURES, "resnet18", weights=path)
    theirs = timm.create_model("resnet18", True, pretrained_cfg_overlay={"file": str(path)}, in_chans=1, num_classes=10)
    torch.testing.assert_close(encoder.network.conv1.weight, theirs.conv1.weight)
    assert torch.equal(encoder.network.layer4[1].conv2.weight, coloured.layer4[1].conv2.weight)


def test_a_model_is_rebuilt_without_its_weights_file(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(timm.create_model("test_resnet").state_dict(), path)
    kwargs = {"pretrained": True, "weights": str(path), "image_size": (32, 64), "pooling": "mean"}
    model = AudioClassifier(encoder="timm:test_resnet", encoder_kwargs=kwargs).eval()
    path.unlink()
    assert model.config["encoder_kwargs"]["weights"] is None
    twin = AudioClassifier(**json.loads(json.dumps(model.config))).eval()
    twin.load_state_dict(model.state_dict())
    waveform = torch.randn(2, 1, 5000)
    assert torch.equal(twin(waveform), model(waveform))
    assert twin.config == model.config


@pytest.mark.parametrize(
    "name, kwargs, message",
    [
        ("resnet81", {}, "'resnet81'.*'resnet18'"),
        ("resnet18", {"image_widht": 3}, "'image_widht'.*'image_width'"),
        ("test_vit", {"model_kwargs": {"img_sise": 3}}, "'test_vit'.*'img_sise'"),
        ("efficientvit_b0", {}, "'efficientvit_b0'.*global pooling"),
    ],
)
def test_invalid_arguments_are_config_errors(name, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        create_audio_encoder(f"timm:{name}", NUM_FEATURES, **kwargs)
