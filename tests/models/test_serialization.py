import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from crossmodal.errors import WeightsError
from crossmodal.models import AudioClassifier, FaceClassifier
from crossmodal.models.serialization import load_model, load_weights, save_model


def voice_model(**kwargs):
    return AudioClassifier(**{"encoder": "dense", "num_classes": 3, "encoder_kwargs": {"hidden_size": 8}} | kwargs)


def test_audio_model_roundtrip_keeps_weights_statistics_and_metadata(tmp_path):
    model = voice_model().train()
    model.normalization.fit_from_sums(*(torch.full((model.front_end.num_features,), n) for n in (2.0, 6.0, 50.0)))
    save_model(model, tmp_path / "model.safetensors", train_actors=["03", "04"], labels=["sad", "happy"])
    again, about = load_model(AudioClassifier, tmp_path / "model.safetensors")
    assert about == {"train_actors": ["03", "04"], "labels": ["sad", "happy"]}
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["config"])["encoder"] == "dense"
        assert set(file.keys()) == model.state_dict().keys()
    assert again.config == model.config
    assert not again.training
    assert torch.equal(again.normalization.mean, torch.full_like(again.normalization.mean, 3.0))  # 6 / 2
    assert torch.equal(again.normalization.std, torch.full_like(again.normalization.std, 4.0))  # sqrt(50 / 2 - 3^2)
    waveform = torch.randn(2, 1, 4000)
    with torch.no_grad():
        assert torch.equal(again(waveform), model.eval()(waveform))


def test_face_model_roundtrip_includes_the_backbone(tmp_path):
    torch.manual_seed(0)
    model = FaceClassifier(num_classes=3, backbone="test_resnet", backbone_kwargs={"pretrained": False, "size": 32})
    save_model(model, tmp_path / "teacher.safetensors")
    again, about = load_model(FaceClassifier, tmp_path / "teacher.safetensors")
    faces = torch.randint(0, 256, (2, 2, 3, 40, 40), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(faces), model.eval()(faces))
    assert about == {}


def test_a_failed_write_keeps_the_previous_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(voice_model(), path, train_actors=[])
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_model(voice_model(), path, train_actors=object())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: None,
        *(lambda path, text=text: path.write_bytes(text) for text in (b"", b"text", b'\x08\0\0\0\0\0\0\0{"a":1}x')),
        lambda path: save_model(voice_model(), path) or os.truncate(path, 5000),
        lambda path: save_file({"weight": torch.zeros(2)}, path),
        lambda path: save_model(FaceClassifier(in_features=4), path),
    ],
    ids=["missing", "empty", "text", "no header", "truncated", "another program's", "a face model"],
)
def test_a_file_without_a_voice_model_is_a_weights_error(tmp_path, write):
    path = tmp_path / "model.safetensors"
    write(path)
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load_model(AudioClassifier, path)


@pytest.mark.parametrize(
    "write", [lambda path: save_model(voice_model(num_classes=4), path), lambda path: path.write_bytes(b"nothing")]
)
def test_weights_that_do_not_fit_are_a_weights_error(tmp_path, write):
    path = tmp_path / "model.safetensors"
    write(path)
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load_weights(voice_model(), path)
