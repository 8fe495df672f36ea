"""What every audio encoder owes, whatever it is made of."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal.models import create_audio_encoder, list_audio_encoders

NUM_FEATURES = 20


def make(name, **kwargs):
    torch.manual_seed(0)
    encoder = create_audio_encoder(name, NUM_FEATURES, **kwargs)
    # A pass in training moves batch normalization off zero mean, where padding would show.
    encoder(3 + torch.randn(8, NUM_FEATURES, 50), torch.full((8,), 50))
    return encoder.eval()


ENCODERS = {name: make(name) for name in list_audio_encoders()}
ENCODERS |= {f"lstm by {n}": make("lstm", subsampling=n, num_layers=2, hidden_size=16) for n in (1, 2, 3)}
ENCODERS |= {f"{name} {pool}": make(name, pooling=pool) for name in ("cnn", "lstm") for pool in ("last", "mean")}


@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 60), padding=st.integers(0, 40), garbage=st.sampled_from([0.0, 50.0, float("nan")]))
def test_a_clip_gives_the_same_alone_and_padded_in_a_batch(name, length, padding, garbage):
    encoder = ENCODERS[name]
    clip = torch.randn(1, NUM_FEATURES, length)
    padded = torch.nn.functional.pad(clip, (0, padding), value=garbage)
    batch = torch.cat([padded, torch.randn(2, NUM_FEATURES, length + padding)])
    with torch.no_grad():
        alone = encoder(clip, torch.tensor([length]))
        together = encoder(batch, torch.tensor([length, length + padding, 1]))[:1]
    assert alone.shape == (1, encoder.out_features)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_the_order_of_clips_is_kept(name):
    features, length = torch.randn(4, NUM_FEATURES, 30), torch.tensor([5, 30, 1, 17])
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        torch.testing.assert_close(
            ENCODERS[name](features[order], length[order]),
            ENCODERS[name](features, length)[order],
            atol=1e-5,
            rtol=1e-4,
        )


@pytest.mark.parametrize("name", list_audio_encoders())
@pytest.mark.parametrize("batch_size, frames", [(1, 1), (1, 40), (3, 1)])
def test_short_clips_and_small_batches_train(name, batch_size, frames):
    torch.manual_seed(0)
    encoder = create_audio_encoder(name, NUM_FEATURES)
    out = encoder(torch.randn(batch_size, NUM_FEATURES, frames), torch.full((batch_size,), frames))
    out.square().sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", list_audio_encoders())
def test_any_number_of_features_goes(name):
    for num_features in (1, 13, 64):
        encoder = create_audio_encoder(name, num_features).eval()
        assert encoder(torch.randn(2, num_features, 9), torch.tensor([9, 4])).shape == (2, encoder.out_features)


@pytest.mark.parametrize("name", list_audio_encoders())
def test_small(name):
    assert sum(p.numel() for p in create_audio_encoder(name, 64).parameters()) < 500_000


def test_the_lstms_backward_direction_starts_at_the_clips_end():
    """Independent reference: torch's LSTM on the bare clip, step by step as the encoder prepares it."""
    encoder = make("lstm", pooling="mean")
    clip = torch.randn(1, NUM_FEATURES, 21)
    with torch.no_grad():
        steps = encoder.dropout(encoder.norm(encoder.conv(clip).transpose(1, 2)))
        expected = encoder.lstm(steps)[0].mean(dim=1)
        padded = torch.nn.functional.pad(clip, (0, 30))
        torch.testing.assert_close(encoder(padded, torch.tensor([21])), expected, atol=1e-5, rtol=1e-4)
