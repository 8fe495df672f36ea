import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.models import AudioClassifier, PretrainedFrontEnd, create_front_end
from crossmodal.models.serialization import load_model, save_model
from tests.tiny_speech import (
    BUNDLE,
    LAYERS,
    WIDTH,
    random_network,
    shrink,
    write_transformers,
    write_weights,
    write_whisper,
)

BUNDLES = ["WAV2VEC2_BASE", "HUBERT_LARGE", "WAVLM_BASE", "WAVLM_LARGE"]  # both normalizations and kinds of attention
TRAINABLE = ["whisper", "WAV2VEC2_BASE", "HUBERT_LARGE", "wav2vec2", "wav2vec2 stable", "hubert", "data2vec-audio"]
RELATIVE = ["WAVLM_BASE", "wavlm", "wav2vec2-bert"]  # layers share relative positions


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name in BUNDLES:
        shrink(monkeypatch, name)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Return a function from a kind of network to the arguments that load a tiny one."""
    folder, known = tmp_path_factory.mktemp("networks"), {}

    def find(kind):
        if kind not in known:
            if kind == "whisper":
                known[kind] = {"model": write_whisper(folder / kind)}
            elif kind.isupper():
                known[kind] = {"model": kind, "weights": write_weights(folder / f"{kind}.safetensors", kind)}
            else:
                pytest.importorskip("transformers")
                known[kind] = {"model": write_transformers(folder / kind, kind)}
        return known[kind]

    return find


@pytest.fixture
def weights(networks):
    return networks(BUNDLE)["weights"]


def front_end_of(weights, **kwargs):
    return PretrainedFrontEnd(**{"model": BUNDLE, "weights": weights, "silence_db": None, **kwargs})


def model_of(weights, front_end_kwargs=None, **kwargs):
    settings = {"encoder": "dense", "num_classes": 3, "encoder_kwargs": {"hidden_size": 8, "pooling": "mean"}, **kwargs}
    of_bundle = {"model": BUNDLE, "weights": weights, "subsampling": 2, "silence_db": None}
    return AudioClassifier("pretrained", front_end_kwargs=front_end_kwargs or of_bundle, **settings)


def clips(*lengths, seed=0):
    """Return a batch of noise with these lengths, and the lengths."""
    generator = torch.Generator().manual_seed(seed)
    waveform = torch.zeros(len(lengths), 1, max(lengths))
    for row, length in zip(waveform, lengths, strict=True):
        row[0, :length] = 0.1 * torch.randn(length, generator=generator)
    return waveform, torch.tensor(lengths)


@pytest.mark.parametrize("subsampling", [1, 5])
@pytest.mark.parametrize("name", BUNDLES)
def test_features_are_the_layers_of_torchaudio_averaged_over_time(networks, name, subsampling):
    front_end = PretrainedFrontEnd(**networks(name), subsampling=subsampling, silence_db=None)
    waveform, length = clips(8000)
    inputs = torch.nn.functional.layer_norm(waveform[0], waveform[0].shape) if name.endswith("LARGE") else waveform[0]
    with torch.no_grad():
        states, _ = random_network(name).extract_features(inputs)
    assert states[0].shape[1] == 24
    steps = torch.cat(states, dim=-1)[0].split(subsampling)
    expected = torch.stack([step.mean(dim=0) for step in steps], dim=-1)[None]
    torch.testing.assert_close(front_end(waveform, length)[0], expected, rtol=1e-3, atol=1e-3)  # half precision
    assert (front_end.num_layers, front_end.num_features) == (LAYERS, LAYERS * WIDTH)


@pytest.mark.parametrize("name", [*BUNDLES, "whisper", "wav2vec2", "wav2vec2-bert"])
@pytest.mark.parametrize("silence_db", [None, 10.0])
def test_features_do_not_depend_on_batch_or_padding(networks, name, silence_db):
    front_end = PretrainedFrontEnd(**networks(name), subsampling=2, silence_db=silence_db)
    waveform, length = clips(8000, 16000, 5555)
    waveform[1, 0, 2000:7000] *= 0.01
    together, frames = front_end(waveform, length)
    assert together.shape[-1] == frames.max()
    padded = torch.nn.functional.pad(waveform, (0, 4000), value=torch.nan)
    for row, (clip, size) in enumerate(zip(padded, length.tolist(), strict=True)):
        alone = front_end(waveform[row : row + 1, :, :size])[0][0]
        assert alone.shape[-1] == frames[row]
        assert torch.equal(together[row, :, : frames[row]], alone)
        assert not together[row, :, frames[row] :].any()
        assert torch.equal(front_end(clip[None], length[row : row + 1])[0][0], alone)


@pytest.mark.parametrize("name", ["whisper", "WAV2VEC2_BASE", "wav2vec2-bert"])
@given(samples=st.sampled_from([1, 399, 400, 401, 559, 560, 719, 720, 800, 1600, 16000]), subsampling=st.integers(1, 5))
def test_any_length_has_finite_features(networks, name, samples, subsampling):
    front_end = PretrainedFrontEnd(**networks(name), subsampling=subsampling, layers=[1], silence_db=None)
    samples = samples if "bert" not in name else max(samples, 560)  # its normalization needs two frames
    features, frames = front_end(0.1 * torch.randn(1, 1, samples))
    longest = max(samples, 400)
    count = {"whisper": (longest // 160 + 1) // 2, "WAV2VEC2_BASE": (longest - 80) // 320}
    expected = count.get(name, (2 + (longest - 400) // 160) // 2)
    assert frames.tolist() == [features.shape[-1]] == [-(-expected // subsampling)]
    assert features.isfinite().all()


def energies(waveform, first, count):
    """Mean squares of 400 samples in dB, the first from sample `first` on; zeros are around the clip."""
    padded = np.pad(waveform, (400, 800))
    frames = [padded[400 + first + 320 * number :][:400] for number in range(count)]
    return np.array([10 * np.log10(max((frame.astype(np.float64) ** 2).mean(), 1e-10)) for frame in frames])


@pytest.mark.parametrize(
    ("name", "first"), [("whisper", -200), ("WAV2VEC2_BASE", 0), ("wavlm", 0), ("wav2vec2-bert", 0)]
)
@pytest.mark.parametrize("samples", [16_000, 8123, 560])
def test_silent_frames_are_removed(networks, name, first, samples):
    kwargs = {**networks(name), "layers": [2]}
    generator = np.random.default_rng(samples)
    steps = np.repeat(10 ** generator.uniform(-3, 0, samples // 400 + 1), 400)[:samples]
    sound = (steps * generator.standard_normal(samples)).astype(np.float32)
    waveform = torch.from_numpy(sound).view(1, 1, -1)
    every, _ = PretrainedFrontEnd(**kwargs, silence_db=None)(waveform)
    loudness = energies(sound, first, every.shape[-1])
    kept = np.flatnonzero(loudness >= loudness.max() - 25.0)
    features, frames = PretrainedFrontEnd(**kwargs, silence_db=25.0)(waveform)
    assert frames.tolist() == [len(kept)]
    assert torch.equal(features, every[:, :, kept])
    assert samples < 1000 or len(kept) < len(loudness)


@pytest.mark.parametrize("name", ["whisper", *BUNDLES, "wav2vec2", "wav2vec2-bert", "wavlm stable"])
def test_silence_is_finite_and_nan_gives_nan(networks, name):
    front_end = PretrainedFrontEnd(**networks(name))
    waveform, length = clips(4000, 4000, 4000)
    waveform[0] = 0.0
    waveform[1, 0, 1000] = torch.nan
    features, frames = front_end(waveform, length)
    assert features[0].isfinite().all()
    assert features[1, :, : frames[1]].isnan().all()
    assert torch.equal(features[2, :, : frames[2]], front_end(waveform[2:])[0][0])
    assert torch.equal(front_end(waveform[[0, 2]])[0], front_end(waveform[[0, 2]])[0])


def test_a_long_recording_and_a_short_clip(networks):
    """A context of 4 s is used 36 times."""
    front_end = PretrainedFrontEnd(**networks("whisper"), silence_db=None)
    for seconds in (0.05, 120):
        features, frames = front_end(clips(int(16_000 * seconds))[0])
        assert frames.tolist() == [(int(100 * seconds) + 1) // 2]
        assert features.isfinite().all()


def test_selected_layers_skip_the_layers_above(weights):
    every, some = front_end_of(weights), front_end_of(weights, layers=[2, 1])
    waveform, length = clips(8000)
    assert some.layers == [1, 2]
    assert torch.equal(some(waveform, length)[0], every(waveform, length)[0][:, : 2 * WIDTH])
    assert len(some.load().layers) == 2


def test_features_are_rounded_to_half_precision(weights):
    front_end = front_end_of(weights)
    batch = clips(8000)
    features, _ = front_end(*batch)
    assert features.dtype == torch.float32
    assert torch.equal(features, features.half().float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(front_end(*batch)[0], features)
    front_end.load().layers[-1].final_layer_norm.bias.data.fill_(1e6)  # beyond the range of half precision
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


def test_one_layer_and_layers_that_are_not_mixed_need_no_weighted_sum(weights):
    kwargs = {"model": BUNDLE, "weights": weights, "layers": [2]}
    for front_end, front_end_kwargs, mix, width in (
        ("pretrained", kwargs, True, WIDTH),
        ("pretrained", {**kwargs, "layers": [1, 3]}, False, 2 * WIDTH),
        ("mfcc", {}, True, 40),
    ):
        model = AudioClassifier(front_end, "dense", 3, front_end_kwargs=front_end_kwargs, mix_layers=mix)
        assert not any(key.startswith("layer_mix") for key in model.state_dict())
        assert model.encoder_part.create({"in_features": width}, "out_features").out_features
        assert model(*clips(4000, 3000)).shape == (2, 3)


def test_weights_of_a_bundle_are_needed_only_for_inference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = model_of("later.pth")
    features, length = torch.randn(2, LAYERS * WIDTH, 9), torch.tensor([9, 4])
    with torch.no_grad():
        expected = model.eval().classify(model.encode(features, length))
    save_model(model, tmp_path / "model.safetensors")
    again, _ = load_model(AudioClassifier, tmp_path / "model.safetensors")
    assert again.config == model.config
    assert again.config["front_end_kwargs"].items() >= {"model": BUNDLE, "weights": str(tmp_path / "later.pth")}.items()
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
        return front_end_of(weights, **kwargs).content_key()

    other = write_weights(tmp_path / "other.safetensors", seed=1)
    keys = [key(), key(other), key(layers=[1]), key(subsampling=2), key(silence_db=20.0), key(trainable_layers=1)]
    assert len({*keys}) == len(keys)
    assert key(write_weights(tmp_path / "same.pth")) == key(layers=[1, 2, 3]) == keys[0]
    # The weights of trained layers do not change what is stored.
    assert key(trainable_layers=2, layers=[3]) == key(layers=[1])


def test_content_key_does_not_depend_on_the_place_of_the_files(tmp_path):
    folders = [write_whisper(tmp_path / "a"), write_whisper(tmp_path / "b", suffix=".bin")]
    keys = [PretrainedFrontEnd(model=folder).content_key() for folder in folders]
    alone = save_file(load_file(tmp_path / "a" / "model.safetensors"), tmp_path / "alone.safetensors")
    keys.append(PretrainedFrontEnd(weights=alone or str(tmp_path / "alone.safetensors")).content_key())
    assert len({*keys}) == 1
    others = [write_whisper(tmp_path / "c", seed=1), write_whisper(tmp_path / "d", positions=100)]
    assert len({keys[0], *(PretrainedFrontEnd(model=folder).content_key() for folder in others)}) == 3


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"sample_rate": 8000}, "sample_rate.*16000.*8000"),
        ({"subsampling": 0}, "subsampling"),
        ({"layers": []}, "layers"),
        *(({"layers": layers}, "layers") for layers in ([0, 1], [4], [1, 1])),
        ({"model": "WAVLM_BAS"}, "'WAVLM_BASE'"),
        ({"modle": "WAVLM_BASE"}, "'model'"),
        ({"trainable_layers": 3}, "trainable_layers"),
        ({"trainable_layers": -1}, "trainable_layers"),
        ({"trainable_layers": 1, "subsampling": 2}, "subsampling"),
    ],
)
def test_invalid_arguments_are_config_errors(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        create_front_end("pretrained", **{"model": BUNDLE, **kwargs})


def test_stored_features_of_another_front_end_are_a_config_error(weights):
    with pytest.raises(ConfigError, match="Features"):
        model_of(weights).normalize_clips(torch.zeros(2, 40, 9), torch.tensor([9, 9]))


def trained(kwargs, count=2, layers=(1, 3), silence_db=None):
    front_end = PretrainedFrontEnd(**kwargs, layers=[*layers], trainable_layers=count, silence_db=silence_db)
    front_end.load_trained_layers()
    return front_end.eval()


@pytest.mark.parametrize("silence_db", [None, 10.0])
@pytest.mark.parametrize("name", TRAINABLE)
def test_untouched_trained_layers_give_the_states_of_the_whole_network(networks, name, silence_db):
    """Also if silent frames are removed, which is after all layers."""
    kwargs = {**networks(name), "layers": [1, 3], "silence_db": silence_db}
    front_end, whole = trained(networks(name), silence_db=silence_db), PretrainedFrontEnd(**kwargs)
    waveform, length = clips(8000, 16000, 5555)
    waveform[:, :, 2000:5000] *= 0.01
    features, frames = front_end(waveform, length)
    states, kept = front_end.finish(features, frames)
    expected, expected_frames = whole(waveform, length)
    assert states.shape == expected.shape
    assert states.shape[1] == front_end.out_features
    assert torch.equal(kept, expected_frames)
    assert silence_db is None or (kept < frames).all()
    for row, count in enumerate(kept.tolist()):
        one, other = states[row, :, :count], expected[row, :, :count]
        torch.testing.assert_close(one, other, rtol=5e-3, atol=1e-2)
        alone, _ = front_end.finish(features[row : row + 1, :, : frames[row]], frames[row : row + 1])
        torch.testing.assert_close(one, alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_silence_is_removed_after_the_trained_layers(networks, name):
    front_end = trained(networks(name), silence_db=20.0)
    whole = PretrainedFrontEnd(**networks(name), layers=[1, 3], silence_db=20.0)
    waveform, length = clips(8000, 16000, 5555)
    waveform[..., 1000:4000] *= 1e-3
    features, frames = front_end(waveform, length)
    states, count = front_end.finish(features, frames)
    expected, expected_count = whole(waveform, length)
    assert torch.equal(count, expected_count) and bool((count < frames).all())
    for row, size in enumerate(count.tolist()):
        torch.testing.assert_close(states[row, :, :size], expected[row, :, :size], rtol=5e-3, atol=1e-2)
    model = model_of(None, {**networks(name), "trainable_layers": 1, "silence_db": 20.0})
    model.front_end.load_trained_layers()
    features, frames = model.extract_features(waveform, length)
    model.normalization.fit_from_sums(*model.normalization.accumulate(features, frames))
    plain = model.eval().encode(features, frames)
    torch.testing.assert_close(
        model.encode(features, frames, augment=lambda values, _: values), plain, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("name", TRAINABLE)
def test_gradients_reach_exactly_the_trained_layers(networks, name):
    model = model_of(None, {**networks(name), "trainable_layers": 1, "silence_db": None})
    model.front_end.load_trained_layers()
    model(*clips(8000, 6000)).logsumexp(dim=1).sum().backward()
    of_front_end = dict(model.front_end.named_parameters())
    assert of_front_end and all(one.startswith("trained.") for one in of_front_end)
    assert all(one.grad is not None and one.grad.any() for key, one in of_front_end.items() if "k_proj.bias" not in key)
    assert {key for key in model.state_dict() if key.startswith("front_end.")} == {
        f"front_end.{key}" for key in of_front_end
    }
    layer = model.front_end.source.create(3).layers[-1]
    norm = model.front_end.source.create(3).layer_norm
    expected = [*layer.parameters(), *([] if norm is None else norm.parameters())]
    assert sorted(one.shape for one in of_front_end.values()) == sorted(one.shape for one in expected)
    assert not any(one.requires_grad for one in model.front_end.load().parameters())


@pytest.mark.parametrize("name", RELATIVE)
def test_layers_with_relative_positions_cannot_be_trained(networks, name):
    with pytest.raises(ConfigError, match="trainable_layers"):
        PretrainedFrontEnd(**networks(name), trainable_layers=1)


def test_trained_layers_without_weights_give_nan(networks):
    """Never the result of other weights."""
    model = model_of(None, {**networks("whisper"), "trainable_layers": 1}).eval()
    assert model(*clips(4000)).isnan().all()


@pytest.mark.parametrize("name", ["whisper", BUNDLE, "wav2vec2 stable"])
def test_a_stored_model_has_its_trained_layers_and_its_configuration(networks, tmp_path, name):
    model = model_of(None, {**networks(name), "trainable_layers": 2})
    model.front_end.load_trained_layers()
    with torch.no_grad():
        for parameter in model.front_end.parameters():
            parameter.add_(0.01)
    save_model(model.eval(), tmp_path / "model.safetensors")
    again, _ = load_model(AudioClassifier, tmp_path / "model.safetensors")
    batch = clips(8000, 6000)
    assert torch.equal(again(*batch), model(*batch))
    config = json.loads(json.dumps(model.config))
    config["front_end_kwargs"] |= {"model": "gone/model" if not name.isupper() else name}
    config["front_end_kwargs"] |= {"weights": str(tmp_path / "frozen.safetensors")}
    model.front_end.save_frozen_layers(tmp_path / "frozen.safetensors")
    elsewhere = AudioClassifier(**config).eval()
    elsewhere.load_state_dict(model.state_dict())
    assert torch.equal(elsewhere(*batch), model(*batch))


def test_real_weights(pytestconfig):
    path = (
        Path(pytestconfig.rootpath).parent / "shared" / "data" / "weights" / "whisper_tiny_en_encoder_fp16.safetensors"
    )
    if not path.is_file():
        pytest.skip("the weights of Whisper tiny.en are not here")
    front_end = PretrainedFrontEnd(weights=str(path), layers=[2, 4])
    features, frames = front_end(*clips(16_000, 8000))
    assert frames.tolist() == [50, 25]
    assert (front_end.num_features, front_end.source.num_layers) == (768, 4)
    assert features.isfinite().all() and features.std() > 0.1
