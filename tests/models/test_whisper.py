from pathlib import Path

import numpy as np
import pytest
import torch

from crossmodal.models.pretrained_source import PretrainedSource
from crossmodal.models.whisper import WhisperEncoder

transformers = pytest.importorskip("transformers")
WIDTH, LAYERS, MELS, POSITIONS = 128, 3, 16, 100
SMALL = {"d_model": 64, "encoder_layers": 1, "encoder_ffn_dim": 64, "num_mel_bins": MELS, "max_source_positions": 100}


@pytest.fixture(scope="module", autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def reference():
    """Transformers' encoder with random weights, and ours with the same."""
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=WIDTH,
        encoder_layers=LAYERS,
        encoder_attention_heads=WIDTH // 64,
        encoder_ffn_dim=4 * WIDTH,
        num_mel_bins=MELS,
        max_source_positions=POSITIONS,
    )
    theirs = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    ours = WhisperEncoder(config.to_dict()).eval()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def waveform(seconds, seed=0, loudness=0.1):
    return loudness * torch.randn(1, int(16_000 * seconds), generator=torch.Generator().manual_seed(seed))


def cut(theirs, frames):
    """Cut the positions of transformers' encoder, which otherwise requires 30 s."""
    theirs.config.max_source_positions = frames
    weight = theirs.embed_positions.weight.data
    theirs.embed_positions = torch.nn.Embedding.from_pretrained(weight[:frames])
    return weight


@pytest.mark.parametrize("seconds", [0.5, 0.73, 2.0])
def test_input_equals_that_of_the_published_feature_extractor(seconds):
    sound = waveform(seconds)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80)
    expected = extractor(sound[0].numpy(), sampling_rate=16_000).input_features[0]
    ours = WhisperEncoder(SMALL | {"num_mel_bins": 80}).log_mel(sound, torch.tensor([sound.shape[1]]))
    frames = sound.shape[1] // 160
    assert ours.shape == (1, 80, frames)
    np.testing.assert_allclose(ours[0], expected[:, :frames], atol=2e-4)


def test_layers_above_the_highest_are_not_created(reference):
    theirs, ours = reference
    lower = WhisperEncoder({**theirs.config.to_dict(), "max_source_positions": POSITIONS}, num_layers=2)
    assert lower.layer_norm is None
    missing = lower.load_state_dict(theirs.state_dict(), strict=False).missing_keys
    assert not missing
    sound = waveform(0.7), torch.tensor([11_200])
    for one, other in zip(lower(*sound), ours(*sound)[:3], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("seconds", [0.5, 1.98])
def test_states_equal_those_of_transformers(reference, seconds):
    theirs, ours = reference
    sound = waveform(seconds)
    length = torch.tensor([sound.shape[1]])
    states = ours(sound, length)
    weight = cut(theirs, int(ours.num_frames(length)))
    mel = ours.log_mel(sound, length)
    expected = theirs(torch.nn.functional.pad(mel, (0, mel.shape[-1] % 2)), output_hidden_states=True)
    theirs.embed_positions = torch.nn.Embedding.from_pretrained(weight)
    assert len(states) == 1 + LAYERS
    *lower, last = states
    for one, other in zip(lower, expected.hidden_states[:LAYERS], strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(last, expected.last_hidden_state, atol=2e-5, rtol=1e-4)


def test_a_clip_depends_neither_on_its_padding_nor_on_other_clips(reference):
    _, ours = reference
    short, long = waveform(0.61, 1), waveform(1.3, 2, loudness=0.9)
    padded = torch.zeros(2, 16_000 * 2)
    padded[0, : short.shape[1]], padded[1, : long.shape[1]] = short[0], long[0]
    lengths = torch.tensor([short.shape[1], long.shape[1]])
    both = ours(padded, lengths)
    for index, one in enumerate((short, long)):
        alone = ours(one, lengths[index : index + 1])
        frames = int(ours.num_frames(lengths[index]))
        for together, single in zip(both, alone, strict=True):
            torch.testing.assert_close(together[index, :frames], single[0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("loudness", [0.0, 1e-6, 1.0])
def test_silence_and_noise_are_finite(reference, loudness):
    states = reference[1](waveform(0.3, loudness=loudness), torch.tensor([4800]))
    assert all(torch.isfinite(state).all() for state in states)


def test_a_long_recording_is_cut_into_overlapping_windows(reference):
    """The context is 2 s here, so windows begin every 84 frames: each frame is that of the window around it."""
    _, ours = reference
    sound = waveform(4.5, 3)
    (whole,) = ours(sound, torch.tensor([sound.shape[1]]))[-1]
    assert whole.shape == (225, WIDTH)
    hidden = torch.nn.functional.gelu(ours.conv1(ours.log_mel(sound, torch.tensor([sound.shape[1]]))))
    hidden = torch.nn.functional.gelu(ours.conv2(hidden)).transpose(1, 2)
    for start, first, last in ((0, 0, 92), (84, 92, 176), (168, 176, 225)):
        state = hidden[:, start : start + POSITIONS]
        state = state + ours.embed_positions.weight[: state.shape[1]]
        for layer in ours.layers:
            state = layer(state, torch.ones(1, 1, 1, state.shape[1], dtype=torch.bool))
        expected = ours.layer_norm(state)[0, first - start : last - start]
        torch.testing.assert_close(whole[first:last], expected, atol=2e-5, rtol=1e-4)


def test_states_of_the_real_network_equal_those_of_transformers(pytestconfig):
    """The positions of transformers' network are cut to the length of the clip."""
    folder = Path(pytestconfig.rootpath).parent / "shared" / "data" / "weights"
    path = folder / "whisper_tiny_en_encoder_fp16.safetensors"
    if not path.is_file():
        pytest.skip("the weights of Whisper tiny.en are not here")
    source = PretrainedSource.find("openai/whisper-tiny.en", None, str(path), None)
    ours = source.load(4)
    config = transformers.WhisperConfig(**source.config, encoder_attention_heads=6)
    theirs = transformers.models.whisper.modeling_whisper.WhisperEncoder(config).eval()
    theirs.load_state_dict(ours.state_dict())
    sound = waveform(1.0)
    states = ours(sound, torch.tensor([16_000]))
    mel = transformers.WhisperFeatureExtractor()(sound[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    cut(theirs, 50)
    with torch.no_grad():
        expected = theirs(mel.input_features[:, :, :100], output_hidden_states=True)
    assert len(states) == 5
    for one, other in zip(states[:4], expected.hidden_states[:4], strict=True):
        torch.testing.assert_close(one, other, atol=2e-2, rtol=1e-3)
    torch.testing.assert_close(states[4], expected.last_hidden_state, atol=2e-2, rtol=1e-3)
