import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from crossmodal.errors import WeightsError
from crossmodal.models import AudioClassifier, FaceClassifier
from crossmodal.models.handover import load_model, load_weights, save_model


def voice_model(**kwargs):
    return AudioClassifier(**{"encoder": "dense", "num_classes": 3, "encoder_kwargs": {"hidden_size": 8}} | kwargs)


def test_a_voice_model_comes_back_with_weights_statistics_and_what_was_said_of_it(tmp_path):
    model = voice_model().train()
    model.normalization.fit_from_sums(*(torch.full((model.front_end.num_features,), n) for n in (2.0, 6.0, 50.0)))
    save_model(model, tmp_path / "model.safetensors", train_actors=["03", "04"], labels=["sad", "happy"])
    again, about = load_model(AudioClassifier, tmp_path / "model.safetensors")
    assert about == {"train_actors": ["03", "04"], "labels": ["sad", "happy"]}
    assert again.config == model.config
    assert not again.training
    assert torch.equal(again.normalization.mean, torch.full_like(again.normalization.mean, 3.0))  # 6 / 2
    assert torch.equal(again.normalization.std, torch.full_like(again.normalization.std, 4.0))  # sqrt(50 / 2 - 3^2)
    waveform = torch.randn(2, 1, 4000)
    with torch.no_grad():
        assert torch.equal(again(waveform), model.eval()(waveform))


def test_a_face_model_brings_its_backbone(tmp_path):
    torch.manual_seed(0)
    model = FaceClassifier(num_classes=3, backbone="test_resnet", backbone_kwargs={"pretrained": False, "size": 32})
    save_model(model, tmp_path / "teacher.safetensors")
    again, about = load_model(FaceClassifier, tmp_path / "teacher.safetensors")
    faces = torch.randint(0, 256, (2, 2, 3, 40, 40), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(again(faces), model.eval()(faces))
    assert about == {}


def test_the_file_is_safetensors_whose_settings_are_json(tmp_path):
    save_model(voice_model(), tmp_path / "model.safetensors", train_actors=[])
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["config"])["encoder"] == "dense"
        assert set(file.keys()) == voice_model().state_dict().keys()


def test_a_failed_write_leaves_the_earlier_file_as_it_was(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(voice_model(), path, train_actors=[])
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_model(voice_model(), path, train_actors=object())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"gone.safetensors is not a AudioClassifier that crossmodal wrote"):
        load_model(AudioClassifier, tmp_path / "gone.safetensors")


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", b'\x08\0\0\0\0\0\0\0{"a":1}x'])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="is not a AudioClassifier"):
        load_model(AudioClassifier, path)


def test_a_file_cut_in_half_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(voice_model(), path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"model.safetensors"):
        load_model(AudioClassifier, path)


def test_safetensors_of_another_program_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="is not a AudioClassifier that crossmodal wrote"):
        load_model(AudioClassifier, path)


def test_a_face_model_is_no_voice_model(tmp_path):
    path = tmp_path / "teacher.safetensors"
    save_model(FaceClassifier(in_features=4), path)
    with pytest.raises(WeightsError, match="is not a AudioClassifier"):
        load_model(AudioClassifier, path)


def test_weights_of_other_settings_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(voice_model(), path)
    with pytest.raises(WeightsError, match="do not fit this model; were its settings changed"):
        load_weights(voice_model(num_classes=4), path)


def test_weights_that_cannot_be_read_are_named(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        load_weights(voice_model(), path)
