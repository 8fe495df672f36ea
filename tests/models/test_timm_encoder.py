"""Tests of timm image models as audio encoders: those of `test_encoders`, and some specific to timm."""

import json
from functools import cache, partial
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from crossmodal.errors import ConfigError
from crossmodal.models import AudioClassifier, TimmEncoder, create_audio_encoder
from tests.models.padding import check_same_alone_and_padded

NUM_FEATURES = 20
MOBILENET = Path(__file__).parents[3] / "shared" / "data" / "weights" / "mobilenetv2_035_imagenet_headless.safetensors"
MOBILENET_KWARGS = {"pad_type": "same", "bn_eps": 1e-3}


def make(name, **kwargs):
    torch.manual_seed(0)
    encoder = TimmEncoder(NUM_FEATURES, name, image_width=32, **kwargs)
    # After one pass in training, batch normalization has a non-zero mean, which reveals padding.
    encoder(3 + torch.randn(4, NUM_FEATURES, 50), torch.full((4,), 50))
    return encoder.eval()


# Feature maps, channels-last feature maps, patches, patches with a fixed size, and tokens without a grid.
ENCODERS = {
    "resnet18": partial(make, "resnet18"),
    "test_mambaout": partial(make, "test_mambaout"),
    "test_vit": partial(make, "test_vit", model_kwargs={"img_size": [32, 48]}),
    "test_vit of one size": partial(make, "test_vit"),
    "vit_tiny_patch16_224": partial(make, "vit_tiny_patch16_224", model_kwargs={"img_size": 32, "depth": 2}),
    "levit_128s": partial(make, "levit_128s"),
    "test_convnext last": partial(make, "test_convnext", pooling="last", image_size=[32, 32]),
    "test_efficientnet attention": partial(make, "test_efficientnet", pooling="attention", image_size=[32, 64]),
}


@cache
def encoder_of(name):
    return ENCODERS[name]()


@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=6, deadline=None)
@given(length=st.integers(1, 100), padding=st.integers(0, 70), garbage=st.sampled_from([0.0, float("nan")]))
def test_a_clip_gives_the_same_result_alone_and_padded_in_a_batch(name, length, padding, garbage):
    check_same_alone_and_padded(encoder_of(name), NUM_FEATURES, length, padding, garbage, atol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_nan_affects_only_its_own_clip(name):
    features, length = torch.randn(2, NUM_FEATURES, 60), torch.tensor([60, 59])
    features[1, 4, 58] = float("nan")
    with torch.no_grad():
        out = encoder_of(name)(features, length)
    assert out[0].isfinite().all()
    assert out[1].isnan().any()


@pytest.mark.parametrize("name", ["resnet18", "test_vit"])
@pytest.mark.parametrize("batch_size, frames", [(1, 1), (1, 70), (3, 1)])
def test_short_clips_and_small_batches_can_be_trained_on(name, batch_size, frames):
    encoder = TimmEncoder(NUM_FEATURES, name)
    out = encoder(torch.randn(batch_size, NUM_FEATURES, frames), torch.full((batch_size,), frames))
    out.square().sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


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


def test_columns_in_the_padding_are_excluded():
    encoder, seen = encoder_of("test_vit"), []  # 3 columns per image
    hook = encoder.pooling.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs))
    encoder(torch.randn(4, NUM_FEATURES, 64), torch.tensor([64, 33, 32, 1]))
    hook.remove()
    assert seen[0][0].shape == (4, 64, 6)
    assert seen[0][1].tolist() == [6, 4, 3, 1]


def test_rgb_weights_are_summed_to_one_channel_like_timm(tmp_path):
    coloured = timm.create_model("resnet18", num_classes=10)  # with a classifier
    path = tmp_path / "weights.safetensors"
    save_file(coloured.state_dict(), path)
    encoder = TimmEncoder(NUM_FEATURES, "resnet18", weights=path)
    theirs = timm.create_model("resnet18", True, pretrained_cfg_overlay={"file": str(path)}, in_chans=1, num_classes=10)
    torch.testing.assert_close(encoder.network.conv1.weight, theirs.conv1.weight)
    assert torch.equal(encoder.network.layer4[1].conv2.weight, coloured.layer4[1].conv2.weight)


@pytest.mark.skipif(not MOBILENET.exists(), reason=f"needs the real weights {MOBILENET}, not in the repository")
def test_real_weights_fit():
    kwargs = {"weights": str(MOBILENET), "model_kwargs": MOBILENET_KWARGS}
    encoder = create_audio_encoder("timm:mobilenetv2_035", NUM_FEATURES, **kwargs).eval()
    grey = timm.create_model("mobilenetv2_035", num_classes=0, global_pool="", **MOBILENET_KWARGS)
    from crossmodal.models.weights import load_backbone_weights

    load_backbone_weights(grey, MOBILENET)
    image = torch.randn(1, 1, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.network(image), grey.eval()(image.expand(1, 3, -1, -1)), atol=1e-3, rtol=1e-3
        )
        assert encoder(torch.randn(2, NUM_FEATURES, 90), torch.tensor([90, 3])).isfinite().all()


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
