"""The contracts of own parts, where a model meets them."""

import pytest
import torch
from torch import nn

from crossmodal.errors import ConfigError
from crossmodal.models import AudioClassifier, AudioEncoder, FaceClassifier, create_pooling
from crossmodal.models.serialization import load_model, save_model
from crossmodal.own_code import trusting
from crossmodal.transforms import MFCC, length_mask

FEATURES = 6


class Mean(nn.Module):
    """Encoder or pooling: the mean over valid frames."""

    def __init__(self, in_features: int = 0, num_features: int = 0):
        super().__init__()
        self.in_features, self.num_features = in_features, num_features
        self.out_features = in_features or num_features

    def forward(self, features, length):
        mask = length_mask(length, features.shape[-1])[:, None]
        return (features * mask).sum(-1) / length[:, None]


class Steps(AudioEncoder):
    def __init__(self, in_features, width=8, pooling=Mean):
        super().__init__()
        self.layer = nn.Conv1d(in_features, width, 1)
        self.pooling = create_pooling(pooling, width)

    def steps(self, features, length):
        return self.layer(features), length


class TwoLayers(MFCC):
    num_layers = 2


class WithoutWidth(nn.Module):
    def forward(self, features, length):
        return features


class Frames(Mean):
    def forward(self, features, length):
        return features


class Faces(nn.Module):
    """Face encoder of pixels."""

    def __init__(self, width: int = 5):
        super().__init__()
        self.width = self.out_features = width
        self.layer = nn.Linear(3, width)

    def forward(self, faces):
        return self.layer(faces.float().mean((-1, -2)) / 255).mean(1)


class FaceFeatures(nn.Module):
    def __init__(self, in_features: int, width: int = 5):
        super().__init__()
        self.out_features = width
        self.layer = nn.Linear(in_features, width)

    def forward(self, faces):
        return self.layer(faces).amax(1)


def waveforms():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 1, 8000, generator=generator), torch.tensor([8000, 5000, 3000])


@pytest.mark.parametrize("encoder", [Mean, Mean(40), f"{__name__}.Mean", Steps, "lstm"], ids=str)
def test_an_encoder_of_any_form_gives_one_result_per_clip(encoder):
    model = AudioClassifier("mfcc", encoder).eval()
    waveform, length = waveforms()
    with torch.no_grad():
        batch = model(waveform, length)
        for clip in range(3):
            single = model(waveform[clip : clip + 1, :, : length[clip]])
            torch.testing.assert_close(single[0], batch[clip], atol=1e-4, rtol=1e-4)
    assert AudioClassifier(**model.config).config == model.config


def test_the_mean_as_encoder_is_the_mean_of_the_features():
    model = AudioClassifier("mfcc", Mean, corpus_normalization=False).eval()
    waveform, length = waveforms()
    features, frames = model.extract_features(waveform, length)
    expected = torch.stack([features[clip, :, : frames[clip]].mean(1) for clip in range(3)])
    torch.testing.assert_close(model.encoder(features, frames), expected)


def test_a_front_end_with_layers_gets_a_learned_sum():
    model = AudioClassifier(TwoLayers, Mean)
    assert (model.layer_mix.weights.numel(), model.encoder.in_features) == (2, 20)
    assert AudioClassifier(MFCC, Mean).config["front_end"] == "mfcc"


def test_a_dense_encoder_with_learned_pooling_does_not_summarize():
    assert AudioClassifier(encoder="dense", encoder_kwargs={"pooling": Mean}).summarizes
    for pooling in ("attention", Learned):
        assert not AudioClassifier(encoder="dense", encoder_kwargs={"pooling": pooling}).summarizes


class Learned(Mean):
    def __init__(self, num_features: int):
        super().__init__(num_features=num_features)
        self.weight = nn.Parameter(torch.ones(num_features))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: AudioClassifier(encoder=WithoutWidth), "out_features"),
        (lambda: AudioClassifier(front_end=WithoutWidth), "num_features"),
        (lambda: create_pooling(WithoutWidth, 3), "out_features"),
        (lambda: FaceClassifier(FEATURES, encoder=WithoutWidth), "out_features"),
        (lambda: AudioClassifier(encoder=Mean(in_features=3)), "in_features.*40"),
        (lambda: AudioClassifier(encoder=Steps, encoder_kwargs={"widht": 3}), "width"),
        (lambda: AudioClassifier(encoder=Frames)(*waveforms()), "one vector"),
        (lambda: FaceClassifier(FEATURES, encoder=FaceFeatures)(torch.zeros(2, 3, 7)), "shape"),
        (lambda: FaceClassifier(encoder=torch.nn.Identity)(torch.zeros(2, 3, 7)), "out_features"),
    ],
)
def test_errors_name_the_part(make, word):
    with pytest.raises(ConfigError, match=word):
        make()


def test_a_face_encoder_of_pixels():
    model = FaceClassifier(encoder=Faces, num_classes=4).eval()
    faces = torch.randint(0, 256, (2, 3, 3, 8, 8), dtype=torch.uint8)
    outputs = model.predict_batch({"faces": faces})
    torch.testing.assert_close(outputs.embedding, model.encoder.module(faces))
    assert outputs.logits.shape == (2, 4)
    assert model.normalization is None


def test_a_face_encoder_of_features_gets_them_normalized(tmp_path):
    model = FaceClassifier(FEATURES, num_classes=4, encoder=f"{__name__}.FaceFeatures", encoder_kwargs={"width": 7})
    faces = 3 + 2 * torch.randn(20, 4, FEATURES)
    model.normalization.fit_from_sums(*model.normalization.accumulate(model.extract_features(faces), None))
    model.eval()
    outputs = model.predict_batch({"face_embeddings": faces})
    normal = (faces - faces.mean((0, 1))) / faces.std((0, 1), correction=0)
    torch.testing.assert_close(outputs.embedding, model.encoder.module(normal), atol=1e-3, rtol=1e-3)
    save_model(model, tmp_path / "teacher.safetensors", train_actors=[])
    with trusting():
        again, _ = load_model(FaceClassifier, tmp_path / "teacher.safetensors")
    torch.testing.assert_close(again(faces), model(faces))


def test_a_pooling_of_video_frames():
    model = FaceClassifier(FEATURES, pooling=Mean).eval()
    same = FaceClassifier(FEATURES, pooling="mean").eval()
    same.load_state_dict(model.state_dict())
    faces = torch.randn(2, 3, FEATURES)
    torch.testing.assert_close(model(faces), same(faces))
    assert FaceClassifier(**model.config).config == model.config
