"""Requirements on every audio encoder."""

import itertools
from functools import cache, partial
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crossmodal.errors import ConfigError
from crossmodal.models import PoolingName, create_audio_encoder, list_audio_encoders
from crossmodal.models.batch_norm import MaskedBatchNorm1d

NUM_FEATURES = 20


def make(name, **kwargs):
    torch.manual_seed(0)
    encoder = create_audio_encoder(name, NUM_FEATURES, **kwargs)
    # After one pass in training, batch normalization has a non-zero mean, which reveals padding.
    encoder(3 + torch.randn(8, NUM_FEATURES, 50), torch.full((8,), 50))
    return encoder.eval()


ENCODERS = {name: partial(make, name) for name in list_audio_encoders()}
ENCODERS |= {f"lstm by {n}": partial(make, "lstm", subsampling=n, num_layers=2, hidden_size=16) for n in (1, 2, 3)}
ENCODERS |= {f"crnn by {n}": partial(make, "crnn", subsampling=n, num_layers=2, hidden_size=16) for n in (1, 3)}
ENCODERS |= {f"{name} by {n}": partial(make, name, subsampling=n) for name in ("tdnn", "transformer") for n in (1, 3)}
ENCODERS["tdnn of 5 taps"] = partial(make, "tdnn", kernel_size=5)
ENCODERS["transformer of 1 head"] = partial(make, "transformer", num_heads=1)
POOLED = itertools.product([name for name in list_audio_encoders() if name != "dense"], get_args(PoolingName))
ENCODERS |= {f"{name} {pool}": partial(make, name, pooling=pool) for name, pool in POOLED}


@cache
def encoder_of(name):
    return ENCODERS[name]()


@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=12, deadline=None)
@given(
    length=st.one_of(st.integers(1, 60), st.integers(61, 400)),
    padding=st.integers(0, 40),
    garbage=st.sampled_from([0.0, 50.0, float("nan")]),
)
def test_a_clip_gives_the_same_result_alone_and_padded_in_a_batch(name, length, padding, garbage):
    encoder, clip = encoder_of(name), torch.randn(1, NUM_FEATURES, length)
    padded = torch.nn.functional.pad(clip, (0, padding), value=garbage)
    batch = torch.cat([padded, torch.randn(2, NUM_FEATURES, length + padding)])
    with torch.no_grad():
        alone = encoder(clip, torch.tensor([length]))
        together = encoder(batch, torch.tensor([length, length + padding, 1]))[:1]
    assert alone.shape == (1, encoder.out_features)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", list_audio_encoders())
@pytest.mark.parametrize("batch_size, frames", [(1, 1), (1, 40), (3, 1)])
def test_short_clips_and_small_batches_can_be_trained_on(name, batch_size, frames):
    torch.manual_seed(0)
    encoder = create_audio_encoder(name, NUM_FEATURES)
    out = encoder(torch.randn(batch_size, NUM_FEATURES, frames), torch.full((batch_size,), frames))
    out.square().sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", list_audio_encoders())
def test_half_precision_can_be_trained(name):
    encoder, features = create_audio_encoder(name, NUM_FEATURES, dropout=0.0), torch.randn(3, NUM_FEATURES, 50)
    length = torch.tensor([50, 33, 7])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = encoder(features, length)
        out.float().square().sum().backward()
    torch.testing.assert_close(out.float(), encoder(features, length), atol=0.2, rtol=0.2)


@pytest.mark.parametrize("name", list_audio_encoders())
def test_encoders_are_small(name):
    sizes = {n: sum(p.numel() for p in create_audio_encoder(name, n).parameters()) for n in (40, 64, 80, 104)}
    assert sizes[64] < 500_000
    assert max(sizes.values()) < 2_000_000


@pytest.mark.parametrize("name", list_audio_encoders())
def test_dropout_is_random_in_training_and_can_be_disabled(name):
    features, length = torch.randn(2, NUM_FEATURES, 50), torch.tensor([50, 20])
    for dropout, same in ((0.5, False), (0.0, True)):
        encoder = create_audio_encoder(name, NUM_FEATURES, dropout=dropout)
        assert torch.equal(encoder(features, length), encoder(features, length)) is same


@pytest.mark.parametrize("name", list_audio_encoders())
@pytest.mark.parametrize("frame", [0, 3, 58])
def test_nan_affects_only_its_own_clip(name, frame):
    features, length = torch.randn(3, NUM_FEATURES, 60), torch.tensor([60, 59, 60])
    healthy = encoder_of(name)(features, length)
    features[1, 4, frame] = float("nan")
    with torch.no_grad():
        out = encoder_of(name)(features, length)
    assert out[1].isnan().any()
    torch.testing.assert_close(out[[0, 2]], healthy[[0, 2]], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["crnn", "lstm", "tdnn", "transformer"])
def test_subsampling_sets_the_number_of_steps(name):
    encoder, seen = make(name, subsampling=4), []
    encoder.pooling.register_forward_pre_hook(lambda _module, inputs: seen.append((inputs[0].shape[2], inputs[1])))
    encoder(torch.randn(3, NUM_FEATURES, 41), torch.tensor([41, 40, 1]))
    ((steps, length),) = seen
    assert (steps, length.tolist()) == (11, [11, 10, 1])


@pytest.mark.parametrize("name", ["crnn", "lstm"])
def test_bilstm_equals_torch_on_the_unpadded_clip(name):
    """Compare with an independent reference: torch's two-layer LSTM with the same weights and input."""
    encoder = make(name, pooling="mean", hidden_size=16, num_layers=2)
    theirs = nn.LSTM(16, 16, num_layers=2, batch_first=True, bidirectional=True)
    for number, layer in enumerate(encoder.lstm.layers):
        for direction, suffix in ((layer.forwards, ""), (layer.backwards, "_reverse")):
            for key, value in direction.named_parameters():
                getattr(theirs, key.replace("l0", f"l{number}") + suffix).data.copy_(value)
    seen = []
    encoder.lstm.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        clip = torch.randn(1, NUM_FEATURES, 29)
        encoder(clip, torch.tensor([29]))
        padded = torch.nn.functional.pad(clip, (0, 30))
        out = encoder(padded, torch.tensor([29]))
        torch.testing.assert_close(out, theirs(seen[0])[0].mean(dim=1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["dense", "lstm", "tdnn", "transformer"])
def test_padding_is_ignored_in_training(name):
    encoder = create_audio_encoder(name, NUM_FEATURES, dropout=0.0)
    features, length = torch.randn(3, NUM_FEATURES, 60), torch.tensor([60, 41, 7])
    padded = torch.nn.functional.pad(features, (0, 50), value=9.0)
    torch.testing.assert_close(encoder(padded, length), encoder(features, length), atol=1e-5, rtol=1e-4)


def test_masked_batch_norm_equals_torch_on_the_valid_frames():
    ours, theirs = MaskedBatchNorm1d(4), nn.BatchNorm1d(4)
    features, mask = 3 + torch.randn(2, 4, 5), torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    frames = torch.cat([features[0], features[1, :, :2]], dim=1).T
    expected = theirs(frames).T
    out = ours(features, mask)
    torch.testing.assert_close(torch.cat([out[0], out[1, :, :2]], dim=1), expected)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(features, mask)[0], theirs.eval()(features)[0])


def test_tdnn_equals_its_formula_on_the_unpadded_clip():
    """Compare with an independent reference: a loop over the taps of each convolution, on one unpadded clip."""
    encoder = make("tdnn", pooling="mean", hidden_size=8, num_layers=3, subsampling=2)
    length, clip = 37, torch.randn(NUM_FEATURES, 37)

    def convolve(conv, steps):
        out = []
        for centre in range(0, steps.shape[1], conv.stride[0]):
            total = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias.clone()
            for tap in range(conv.kernel_size[0]):
                at = centre - conv.padding[0] + tap * conv.dilation[0]
                if 0 <= at < steps.shape[1]:
                    total += conv.weight[:, :, tap] @ steps[:, at]
            out.append(total)
        return torch.stack(out, dim=1)

    def normalize(norm, steps):
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        return scale[:, None] * (steps - norm.running_mean[:, None]) + norm.bias[:, None]

    with torch.no_grad():
        steps = normalize(encoder.norm, convolve(encoder.conv, clip)).relu()
        for dilation, block in zip((1, 2, 4), encoder.blocks, strict=True):
            assert block.conv.dilation == (dilation,)
            steps = steps + normalize(block.norm, convolve(block.conv, steps)).relu()
        batch = torch.randn(2, NUM_FEATURES, 60)
        batch[1, :, :length] = clip
        out = encoder(batch, torch.tensor([60, length]))[1]
    torch.testing.assert_close(out, steps.mean(dim=1), atol=1e-5, rtol=1e-4)


def test_transformer_layer_equals_torch_on_the_unpadded_clip():
    """Compare with an independent reference: torch's layer with the same weights, on one unpadded clip."""
    layer = make("transformer", hidden_size=24, num_heads=3).layers[0]
    theirs = nn.TransformerEncoderLayer(24, 3, 48, activation="gelu", batch_first=True, norm_first=True).eval()
    ours = layer.state_dict()
    names = {"query_key_value.": "self_attn.in_proj_", "output": "self_attn.out_proj"}
    names |= {"feed_forward.0": "linear1", "feed_forward.2": "linear2"}
    for before, after in names.items():
        ours = {name.replace(before, after): value for name, value in ours.items()}
    theirs.load_state_dict(ours)
    steps, mask = torch.randn(2, 17, 24), torch.ones(2, 17, dtype=torch.bool)
    mask[0, 9:] = False
    with torch.no_grad():
        torch.testing.assert_close(layer(steps, mask)[0, :9], theirs(steps[:1, :9])[0], atol=1e-5, rtol=1e-4)


def test_transformer_uses_order_and_accepts_long_clips():
    encoder = make("transformer", pooling="mean", subsampling=1)
    clip = torch.randn(1, NUM_FEATURES, 1).expand(1, NUM_FEATURES, 40).clone()
    clip[..., 5] += 3.0
    moved = clip.roll(20, dims=2)
    with torch.no_grad():
        assert not torch.allclose(encoder(clip, torch.tensor([40])), encoder(moved, torch.tensor([40])), atol=1e-3)
        assert encoder(torch.randn(1, NUM_FEATURES, 3000), torch.tensor([3000])).isfinite().all()


@pytest.mark.parametrize(
    "name, kwargs, message",
    [("tdnn", {"kernel_size": 4}, "odd"), ("transformer", {"hidden_size": 100, "num_heads": 3}, "hidden_size 100")],
)
def test_invalid_settings_are_config_errors(name, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        create_audio_encoder(name, NUM_FEATURES, **kwargs)
