import torch
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.models import AudioClassifier, FaceClassifier
from crossmodal.models.windows import cut_into_windows


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 9))
def test_windows_equal_slices_of_the_clip(lengths, count):
    """Compare with slices of a list, clip by clip."""
    steps = torch.arange(len(lengths) * 40.0).view(len(lengths), 1, 40)
    windows, size = cut_into_windows(steps, torch.tensor(lengths), count)
    for row, length in enumerate(lengths):
        clip = steps[row, 0].tolist()
        for number in range(count):
            start = number * length // count
            end = max((number + 1) * length // count, start + 1)
            at = row * count + number
            assert windows[at, 0, : size[at]].tolist() == clip[start:end]


def test_a_window_depends_only_on_its_part_of_the_clip():
    torch.manual_seed(0)
    model = AudioClassifier(
        encoder="tdnn",
        encoder_kwargs={"hidden_size": 8, "num_layers": 1},
        front_end_kwargs={"silence_db": None, "top_db": None},
    ).eval()
    waveform = 0.1 * torch.randn(1, 1, 32000)
    changed = waveform.clone()
    changed[..., 24000:] *= 0.3
    with torch.no_grad():
        before, after = (model.encode_windows(*model.extract_features(one), 4)[1] for one in (waveform, changed))
    assert torch.allclose(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_one_window_equals_the_embedding_of_the_whole_clip():
    torch.manual_seed(0)
    for encoder in ("cnn", "crnn", "lstm", "tdnn", "transformer", "timm:test_resnet"):
        model = AudioClassifier(encoder=encoder).eval()
        inputs = torch.randn(2, 40, 60), torch.tensor([60, 33])
        with torch.no_grad():
            whole, windows = model.encode_windows(*inputs, 1)
            expected = model.encode(*inputs)
        torch.testing.assert_close(whole, expected)
        torch.testing.assert_close(windows[:, 0], expected, atol=1e-4, rtol=1e-4)


def test_face_outputs_match_single_video_frames():
    torch.manual_seed(0)
    model = FaceClassifier(in_features=6, num_classes=4).eval()
    model.normalization.fit_from_sums(torch.tensor(4), torch.rand(6), 4 + torch.rand(6))
    faces = torch.randn(2, 3, 6)
    outputs = model.outputs(faces)
    torch.testing.assert_close(outputs.embedding, model.embed(faces))
    torch.testing.assert_close(outputs.logits, model(faces))
    for frame in range(3):
        torch.testing.assert_close(outputs.windows[:, frame], model.embed(faces[:, frame : frame + 1]))
    normalized = (faces - model.normalization.mean) / model.normalization.std
    torch.testing.assert_close(outputs.features, normalized.mean(dim=1))
    assert model.outputs(faces[:, :1]).windows is None


def test_audio_outputs_exclude_padding():
    torch.manual_seed(0)
    model = AudioClassifier(encoder="tdnn", encoder_kwargs={"hidden_size": 8}).eval()
    features = torch.randn(1, 40, 50)
    padded = torch.nn.functional.pad(features, (0, 30), value=9.0)
    ours, theirs = (model.outputs(one, torch.tensor([50]), 4) for one in (features, padded))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
