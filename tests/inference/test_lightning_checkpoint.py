import json

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader

import crossmodal
from crossmodal import EmotionRecognizer
from crossmodal.errors import ConfigError, CrossmodalError, WeightsError
from crossmodal.inference.export import export_model
from tests.tasks.tiny import STUDENT, TEACHER, face_embeddings, fit, loader, trainer

LABELS = ["angry", "calm", "happy", "sad"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def plain_clips(count=8, seconds=0.3):
    """Return dicts of equally long clips, with only the keys that a student uses."""
    generator = torch.Generator().manual_seed(0)
    return [
        {"waveform": 0.1 * torch.randn(1, int(16_000 * seconds), generator=generator), "label": number % len(LABELS)}
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a student of a plain Trainer with a plain DataLoader, and its checkpoint."""
    task = crossmodal.FinetuneTask(**STUDENT, augmentation={"gain": None, "spec_augment": None})
    batches = DataLoader(plain_clips(), batch_size=4)
    plain = fit(task, batches, batches, max_epochs=2)
    path = tmp_path_factory.mktemp("plain") / "last.ckpt"
    plain.save_checkpoint(path)
    return task, path


def test_a_batch_without_names_and_lengths_is_enough(trained):
    task, _ = trained
    unlabelled = [{"waveform": clip["waveform"]} for clip in plain_clips()]
    (batch,) = trainer().predict(task, DataLoader(unlabelled, batch_size=8))
    assert batch["clip"] is None
    waveform = torch.stack([clip["waveform"] for clip in unlabelled])
    with torch.no_grad():
        expected = task.eval()(waveform, torch.full((8,), waveform.shape[-1])).softmax(dim=-1)
    torch.testing.assert_close(batch["probabilities"], expected)


def test_from_a_plain_trainer_to_a_recognizer(trained, tmp_path):
    task, path = trained
    folder = crossmodal.save_pretrained(task.model, tmp_path / "model", labels=LABELS, actors_seen=["02", "01"])
    waveform = plain_clips()[0]["waveform"]
    with torch.no_grad():
        expected = task.eval()(waveform[None]).softmax(dim=-1)[0].numpy()
    exported = export_model(folder)
    assert exported[0].same_label == exported[0].clips
    by_file = EmotionRecognizer.from_pretrained(folder, backend="torch")
    for recognizer in (by_file, EmotionRecognizer.from_pretrained(folder, backend="onnx")):
        found = list(recognizer(waveform.numpy()).probabilities.values())
        np.testing.assert_allclose(found, expected, atol=1e-4)
    by_checkpoint = EmotionRecognizer.from_checkpoint(path, labels=LABELS)
    assert by_checkpoint(waveform.numpy()) == by_file(waveform.numpy())
    assert by_checkpoint.labels == by_file.labels == tuple(LABELS)


class NamedClips(LightningDataModule):
    labels = tuple(LABELS)

    def train_dataloader(self):
        return DataLoader(plain_clips(4), batch_size=4)


def test_labels_of_a_datamodule_are_in_the_checkpoint(tmp_path):
    for labels in (LABELS, [*LABELS, "surprised"]):  # five names for four classes
        data, plain = NamedClips(), trainer()
        data.labels = labels
        plain.fit(crossmodal.ControlTask(**STUDENT), datamodule=data)
        plain.save_checkpoint(tmp_path / f"{len(labels)}.ckpt")
    assert EmotionRecognizer.from_checkpoint(tmp_path / "4.ckpt").labels == tuple(LABELS)
    with pytest.raises(ConfigError, match="labels"):
        EmotionRecognizer.from_checkpoint(tmp_path / "5.ckpt")


def test_other_checkpoints_are_refused_with_a_reason(trained, tmp_path):
    _, path = trained
    with pytest.raises(ConfigError, match="labels"):
        EmotionRecognizer.from_checkpoint(path)
    for labels in (LABELS[:3], "abcd", ["a", "a", "b", "c"]):
        with pytest.raises(ConfigError, match="labels"):
            EmotionRecognizer.from_checkpoint(path, labels=labels)
    fit(BoringModel(), DataLoader(torch.ones(1, 32))).save_checkpoint(tmp_path / "foreign.ckpt")
    teacher = crossmodal.TeacherTask(**TEACHER)
    fit(teacher, loader(face_embeddings([0, 1, 2, 3]))).save_checkpoint(tmp_path / "teacher.ckpt")
    torch.save({"crossmodal": {"model": {"front_end": "mfcc", "encoder": "dense"}}}, tmp_path / "empty.ckpt")
    torch.save({"crossmodal": NamedClips}, tmp_path / "code.ckpt")
    content = path.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.ckpt").write_text("text")
    words = {"foreign": "crossmodal task", "teacher": "face model", "empty": "state_dict"}
    for name in ("foreign", "teacher", "empty", "code", "cut", "text", "missing"):
        with pytest.raises(WeightsError, match=words.get(name, "cannot be read")) as caught:
            EmotionRecognizer.from_checkpoint(tmp_path / f"{name}.ckpt", labels=LABELS)
        assert name in str(caught.value)


def test_a_checkpoint_of_a_teacher_with_other_weights_is_refused(trained, tmp_path):
    content = torch.load(trained[1], weights_only=True)
    content["state_dict"].pop("model.head.1.weight")
    torch.save(content, tmp_path / "incomplete.ckpt")
    with pytest.raises(WeightsError, match=r"head\.1\.weight"):
        EmotionRecognizer.from_checkpoint(tmp_path / "incomplete.ckpt", labels=LABELS)


def test_a_folder_states_only_what_is_known(trained, tmp_path):
    model = trained[0].model
    for actors, text in ((["02", "01"], "01, 02"), ([], "none"), (None, "unknown")):
        folder = crossmodal.save_pretrained(model, tmp_path / "model", labels=LABELS, actors_seen=actors)
        config = json.loads((folder / "config.json").read_text())
        assert config["actors_seen"] == (None if actors is None else sorted(actors))
        card = (folder / "README.md").read_text()
        assert f"model selection: {text}." in card
        assert "Not recorded" in card
        assert "UAR" not in card
        assert "metrics" not in card
        assert "None" not in card


def test_invalid_arguments_of_a_folder_are_config_errors(trained, tmp_path):
    task, _ = trained
    valid = {"labels": LABELS, "actors_seen": []}
    for model in (task, task.model.encoder):
        with pytest.raises(ConfigError, match="voice model"):
            crossmodal.save_pretrained(model, tmp_path / "model", **valid)
    for change in ({"labels": LABELS[1:]}, {"labels": "four"}, {"actors_seen": "01"}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            crossmodal.save_pretrained(task.model, tmp_path / "model", **valid | change)
    assert not (tmp_path / "model").exists()
    with pytest.raises(CrossmodalError):
        crossmodal.push_to_hub(task.model, "owner/name", labels=LABELS[1:], actors_seen=[])
