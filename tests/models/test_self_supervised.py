import copy
import re

import pytest
import torch

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd, create_front_end
from crossmodal.models.serialization import load_model, save_model
from tests.tiny_speech import BUNDLE, LAYERS, WIDTH, random_network, shrink, write_weights

KINDS = ["WAV2VEC2_BASE", "HUBERT_LARGE", "WAVLM_BASE", "WAVLM_LARGE"]  # both normalizations, both kinds of attention


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name in KINDS:
        shrink(monkeypatch, name)


@pytest.fixture
def weights(tmp_path):
    return write_weights(tmp_path / "weights.safetensors")


def model_of(weights, **kwargs):
    settings = {"encoder": "dense", "num_classes": 3, "encoder_kwargs": {"hidden_size": 8, "pooling": "mean"}, **kwargs}
    return AudioClassifier("ssl", front_end_kwargs={"weights": weights, "subsampling": 2}, **settings)


def clips(*lengths):
    """Return a batch of noise with these lengths, and the lengths."""
    waveform = torch.zeros(len(lengths), 1, max(lengths))
    for row, length in zip(waveform, lengths, strict=True):
        row[0, :length] = 0.1 * torch.randn(length)
    return waveform, torch.tensor(lengths)


@pytest.mark.parametrize("subsampling", [1, 5])
@pytest.mark.parametrize("name", KINDS)
def test_features_are_the_layers_of_torchaudio_averaged_over_time(tmp_path, name, subsampling):
    weights = write_weights(tmp_path / "a.pth", name)
    front_end = SelfSupervisedFrontEnd(bundle=name, weights=weights, subsampling=subsampling)
    waveform, length = clips(8000)
    inputs = torch.nn.functional.layer_norm(waveform[0], waveform[0].shape) if name.endswith("LARGE") else waveform[0]
    with torch.no_grad():
        states, _ = random_network(name).extract_features(inputs)
    assert states[0].shape[1] == 24
    steps = torch.cat(states, dim=-1)[0].split(subsampling)
    expected = torch.stack([step.mean(dim=0) for step in steps], dim=-1)[None]
    torch.testing.assert_close(front_end(waveform, length)[0], expected, rtol=1e-3, atol=1e-3)  # half precision
    assert (front_end.num_layers, front_end.num_features) == (LAYERS, LAYERS * WIDTH)


@pytest.mark.parametrize("name", KINDS)
def test_features_do_not_depend_on_batch_or_padding(tmp_path, name):
    front_end = SelfSupervisedFrontEnd(bundle=name, weights=write_weights(tmp_path / "a.pth", name), subsampling=2)
    waveform, length = clips(8000, 16000, 5555)
    together, frames = front_end(waveform, length)
    assert torch.equal(frames, front_end.num_audio_frames(length))
    assert together.shape[-1] == frames.max()
    padded = torch.nn.functional.pad(waveform, (0, 4000), value=torch.nan)
    for row, (clip, size) in enumerate(zip(padded, length.tolist(), strict=True)):
        alone = front_end(waveform[row : row + 1, :, :size])[0][0]
        assert alone.shape[-1] == frames[row]
        assert torch.equal(together[row, :, : frames[row]], alone)
        assert not together[row, :, frames[row] :].any()
        assert torch.equal(front_end(clip[None], length[row : row + 1])[0][0], alone)


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 719, 720, 1600, 16000])
@pytest.mark.parametrize("subsampling", [1, 5])
def test_num_audio_frames_matches_the_output(weights, samples, subsampling):
    front_end = SelfSupervisedFrontEnd(weights=weights, subsampling=subsampling)
    features, _ = front_end(torch.randn(1, 1, samples))
    assert front_end.num_audio_frames(torch.tensor([samples])).tolist() == [features.shape[-1]]
    assert features.isfinite().all()


def test_selected_layers_skip_the_layers_above(weights, monkeypatch):
    every = SelfSupervisedFrontEnd(weights=weights)
    some = SelfSupervisedFrontEnd(weights=weights, layers=[2, 1])
    waveform, length = clips(8000)
    assert some.layers == [1, 2]
    assert torch.equal(some(waveform, length)[0], every(waveform, length)[0][:, : 2 * WIDTH])
    monkeypatch.setattr(some.load().encoder.transformer.layers[2], "forward", None)
    some(waveform, length)


def test_features_are_rounded_to_half_precision(weights):
    front_end = SelfSupervisedFrontEnd(weights=weights)
    batch = clips(8000)
    features, _ = front_end(*batch)
    assert features.dtype == torch.float32
    assert torch.equal(features, features.half().float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(front_end(*batch)[0], features)
    layer_norm = front_end.load().encoder.transformer.layers[-1].final_layer_norm
    layer_norm.bias.data.fill_(1e6)  # beyond the range of half precision
    assert front_end(*clips(8000))[0].max() == torch.finfo(torch.half).max


def test_the_network_is_frozen_and_not_a_submodule(weights):
    model = model_of(weights)
    before = {*model.state_dict()}
    waveform, length = clips(8000, 6000)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    model.train()
    network = model.front_end.load()
    held = copy.deepcopy(network.state_dict())
    model(waveform, length).square().sum().backward()
    optimizer.step()
    assert not network.training
    assert all(torch.equal(value, held[name]) for name, value in network.state_dict().items())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in network.parameters())
    assert {*model.state_dict()} == before
    assert not any(key.startswith("front_end") for key in before)
    assert not list(model.front_end.parameters()) and not list(model.front_end.children())


def test_layers_are_summed_after_normalization_and_augmentation(weights):
    model = model_of(weights).eval()
    features, length = model.extract_features(*clips(8000, 6000))
    assert features.shape[1] == len(model.normalization.mean) == LAYERS * WIDTH
    assert model.encoder.pooling.out_features == WIDTH
    model.normalization.fit_from_sums(*model.normalization.accumulate(features, length))
    model.layer_mix.scores.data = torch.tensor([-50.0, 50.0, -50.0])
    seen = []

    def hide_the_others(features, length):
        seen.append(features)
        return features * torch.repeat_interleave(torch.tensor([0.0, 1.0, 0.0]), WIDTH)[:, None]

    with torch.no_grad():
        hidden = model.encode(features, length, augment=hide_the_others)
        torch.testing.assert_close(hidden, model.encode(features, length))
    assert torch.equal(seen[0], model.normalization(features))


def test_one_layer_needs_no_weighted_sum(weights):
    kwargs = {"weights": weights, "layers": [2]}
    for front_end, front_end_kwargs in (("ssl", kwargs), ("mfcc", {})):
        model = AudioClassifier(front_end, "dense", num_classes=3, front_end_kwargs=front_end_kwargs)
        assert not any(key.startswith("layer_mix") for key in model.state_dict())
        assert model(*clips(4000, 3000)).shape == (2, 3)


def test_weights_are_needed_only_for_inference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = model_of("later.pth")
    features, length = torch.randn(2, LAYERS * WIDTH, 9), torch.tensor([9, 4])
    with torch.no_grad():
        expected = model.eval().classify(model.encode(features, length))
    save_model(model, tmp_path / "model.safetensors")
    again, _ = load_model(AudioClassifier, tmp_path / "model.safetensors")
    assert again.config == model.config
    absolute = str(tmp_path / "later.pth")
    kwargs = {"bundle": BUNDLE, "weights": absolute, "layers": None, "subsampling": 2}
    assert again.config["front_end_kwargs"] == kwargs
    with torch.no_grad():
        assert torch.equal(again.classify(again.encode(features, length)), expected)
    with pytest.raises(WeightsError, match=r"later\.pth"):
        again(*clips(4000))
    write_weights(tmp_path / "later.pth")
    assert again(*clips(4000)).shape == (1, 3)


def test_a_network_loaded_in_inference_mode_can_be_used_in_training(weights):
    model = model_of(weights)
    with torch.inference_mode():
        model(*clips(4000))
    model(*clips(4000)).sum().backward()
    assert model.layer_mix.scores.grad is not None


def test_content_key_depends_on_weights_content_and_settings(weights, tmp_path):
    def key(weights=weights, **kwargs):
        return SelfSupervisedFrontEnd(weights=weights, **kwargs).content_key()

    other = write_weights(tmp_path / "other.safetensors", seed=1)
    keys = [key(), key(other), key(layers=[1]), key(subsampling=2), key(bundle="WAVLM_BASE")]
    assert len(set(keys)) == len(keys)
    assert key(write_weights(tmp_path / "same.pth")) == key(layers=[1, 2, 3]) == keys[0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"sample_rate": 8000}, "sample_rate.*16000.*8000"),
        ({"subsampling": 0}, "subsampling"),
        ({"layers": []}, r"layers.* 3 .*\[\]"),
        *(({"layers": layers}, "layers.*" + re.escape(str(layers))) for layers in ([0, 1], [4], [1, 1])),
        ({"bundle": "WAVLM_BAS"}, "'WAVLM_BAS'.*'WAVLM_BASE'"),
        ({"bundel": "WAVLM_BASE"}, "'bundel'.*'bundle'"),
    ],
)
def test_invalid_arguments_are_config_errors(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        create_front_end("ssl", **kwargs)


def test_stored_features_of_another_front_end_are_a_config_error(weights):
    with pytest.raises(ConfigError, match=r"\(B, 48, .*\(2, 40, 9\)"):
        model_of(weights).normalize_clips(torch.zeros(2, 40, 9), torch.tensor([9, 9]))
