import itertools
import json
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.errors import ConfigError
from crossmodal.models import AudioClassifier, list_audio_encoders, list_front_ends

# pretrained needs weights: test_pretrained.py.
PAIRS = list(itertools.product([name for name in list_front_ends() if name != "pretrained"], list_audio_encoders()))


def make(front_end="mfcc", encoder="lstm", **kwargs):
    """Create a model with fitted normalization and non-initial batch statistics, in evaluation mode."""
    torch.manual_seed(0)
    model = AudioClassifier(front_end, encoder, **kwargs)
    waveform = 0.3 * torch.randn(4, 1, 6000)
    features, _ = model.extract_features(waveform)
    model.normalization.fit_from_sums(*model.normalization.accumulate(features))
    with torch.no_grad():
        model(waveform)
    return model.eval()


@cache
def model_of(front_end, encoder):
    return make(front_end, encoder)


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
@settings(max_examples=10, deadline=None)
@given(
    num_samples=st.integers(1, 6000),
    padding=st.integers(0, 3000),
    loudness=st.sampled_from([1e-3, 0.3]),
    garbage=st.sampled_from([0.0, 0.9, float("nan")]),
)
def test_a_clip_gives_the_same_result_alone_and_padded_with_a_loud_clip(pair, num_samples, padding, loudness, garbage):
    model = model_of(*pair)
    clip = loudness * torch.randn(1, 1, num_samples, generator=torch.Generator().manual_seed(num_samples))
    padded = torch.nn.functional.pad(clip, (0, padding), value=garbage)
    batch = torch.cat([padded, torch.rand(1, 1, num_samples + padding) * 2 - 1])
    with torch.no_grad():
        alone = model(clip)
        together = model(batch, torch.tensor([num_samples, num_samples + padding]))[:1]
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_config_and_state_dict_rebuild_the_model(pair):
    model = model_of(*pair)
    twin = AudioClassifier(**json.loads(json.dumps(model.config))).eval()
    twin.load_state_dict(model.state_dict())
    waveform = torch.randn(2, 1, 5000)
    assert torch.equal(twin(waveform), model(waveform))
    assert twin.config == model.config


def test_every_argument_is_in_the_config():
    arguments = {"front_end": "lmfb", "encoder": "cnn", "num_classes": 6, "embedding_size": 32, "sample_rate": 8000}
    arguments |= {"front_end_kwargs": {"n_mels": 32}, "encoder_kwargs": {"channels": [4, 8], "pooling": "mean"}}
    arguments |= {"dropout": 0.0, "clip_normalization": "mean", "corpus_normalization": False, "mix_layers": False}
    model = AudioClassifier(**arguments)
    config = model.config
    config["encoder_kwargs"]["dropout"] = 1.0
    assert model.config["encoder_kwargs"]["dropout"] != 1.0  # the config is a copy
    for kwargs in ("front_end_kwargs", "encoder_kwargs"):
        given = arguments.pop(kwargs)
        assert config[kwargs].items() >= given.items()
        assert len(config.pop(kwargs)) > len(given)  # includes defaults
    assert config == arguments
    assert model.embed(torch.randn(3, 1, 4000)).shape == (3, 32)
    assert model(torch.randn(3, 1, 4000)).shape == (3, 6)


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_gradient_reaches_every_parameter(pair):
    model = make(*pair).train()
    model(0.3 * torch.randn(4, 1, 6000), torch.tensor([6000, 4000, 3000, 5000])).logsumexp(dim=1).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
    assert not without


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
def test_silence_gives_finite_logits_and_nan_gives_nan(pair):
    model = model_of(*pair)
    waveform = 0.3 * torch.randn(3, 1, 5000)
    waveform[0] = 0.0
    waveform[1, 0, 2500] = float("nan")
    with torch.no_grad():
        logits = model(waveform)
        healthy = model(waveform[2:])
    assert logits[0].isfinite().all()
    assert logits[1].isnan().all()
    torch.testing.assert_close(logits[2:], healthy, atol=1e-3, rtol=1e-3)


def test_the_model_runs_under_autocast():
    model, waveform = model_of("mfcc", "lstm"), torch.randn(2, 1, 5000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(waveform)
    torch.testing.assert_close(logits.float(), model(waveform), atol=0.1, rtol=0.1)


def test_lengths_are_those_of_the_front_end():
    model = AudioClassifier(encoder="dense", front_end_kwargs={"silence_db": None}).eval()
    features, length = model.extract_features(torch.randn(3, 1, 3200), torch.tensor([3200, 1700, 10]))
    assert features.shape == (3, 40, 21)
    assert length.tolist() == [21, 11, 11]  # the last is padded to 0.1 s


@pytest.mark.parametrize("shape", [(5000,), (2, 5000), (2, 2, 5000), (2, 1, 0)])
def test_a_wrong_shape_is_a_config_error(shape):
    with pytest.raises(ConfigError, match=r"\(B, 1, T\).*got \(" + str(shape[0])):
        model_of("mfcc", "dense")(torch.zeros(shape))
    with pytest.raises(ConfigError, match=r"waveform_length.*\(2,\).*\(3,\)"):
        model_of("mfcc", "dense")(torch.zeros(2, 1, 3200), torch.tensor([1, 2, 3]))


def test_audio_outputs_exclude_padding():
    torch.manual_seed(0)
    model = AudioClassifier(encoder="tdnn", encoder_kwargs={"hidden_size": 8}).eval()
    features = torch.randn(1, 40, 50)
    padded = torch.nn.functional.pad(features, (0, 30), value=9.0)
    batches = ({"features": one, "feature_length": torch.tensor([50])} for one in (features, padded))
    ours, theirs = map(model.predict_batch, batches)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
