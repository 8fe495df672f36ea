import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from crossmodal import AudioDataModule, EmotionRecognizer
from crossmodal.cli.test import test_command as run_command
from crossmodal.errors import ConfigError, ModelFolderError, WeightsError
from crossmodal.inference import save_model_folder
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd
from crossmodal.models.serialization import load_model
from crossmodal.pipeline.settings import parse_settings
from crossmodal.pipeline.stored import speech_features
from crossmodal.pipeline.stored.speech_features import store_speech_features
from crossmodal.storage import read_json
from tests.datamodules import ready
from tests.pipeline import fit, reused
from tests.tiny_speech import BUNDLE, LAYERS, WIDTH, shrink, write_weights

CLIPS = 64


@pytest.fixture(scope="module", autouse=True)
def patch():
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        yield patch


@pytest.fixture(scope="module")
def ssl_args(tiny_args, tmp_path_factory):
    """Return a command line with a tiny network as front end, by default `folder`/weights.safetensors."""

    def make(folder, *more, weights=None):
        path = Path(weights or folder / "weights.safetensors")
        if not weights and not path.exists():
            write_weights(path)
        front_end = ["--transfer.model.front_end=ssl", f"--transfer.model.front_end_kwargs.weights={path}"]
        return tiny_args(folder, *front_end, "--transfer.model.front_end_kwargs.subsampling=2", *more)

    return make


@pytest.fixture(scope="module")
def finished_ssl(ssl_args, finished, tmp_path_factory):
    """A full run; its teacher comes from the cache of the run with MFCC."""
    folder = tmp_path_factory.mktemp("ssl")
    shutil.copytree(finished.cache, folder / "cache")
    return folder, fit(ssl_args(folder))


@pytest.fixture
def done(finished_ssl, tmp_path):
    """A copy of the cache and weights of that run."""
    shutil.copytree(finished_ssl[0] / "cache", tmp_path / "cache")
    shutil.copy(finished_ssl[0] / "weights.safetensors", tmp_path)
    return tmp_path


@pytest.fixture
def passes(monkeypatch):
    """A list with one entry per clip that the network has processed."""
    count = []
    original = SelfSupervisedFrontEnd._extract

    def counted(*args):
        count.append(1)
        return original(*args)

    monkeypatch.setattr(SelfSupervisedFrontEnd, "_extract", counted)
    return count


def stored(folder):
    return sorted((folder / "cache" / "speech_features").glob("*/*.npy"))


def test_every_clip_is_processed_once_for_all_students(ssl_args, finished, passes, tmp_path):
    shutil.copytree(finished.cache, tmp_path / "cache")
    summary = fit(ssl_args(tmp_path))
    assert len(passes) == len(stored(tmp_path)) == CLIPS
    assert list(summary["stages"]) == ["teacher", "control", "transfer", "finetune"]
    assert reused(summary) == ["teacher"]
    fit(ssl_args(tmp_path, "--name=again"))
    fit(ssl_args(tmp_path, "--name=fold", "--data.fold=1"))
    fit(ssl_args(tmp_path, "--name=other", "--transfer.model.lr=1e-3", "--data.label_set=speech6"))
    assert len(passes) == CLIPS


def test_stored_features_are_those_of_the_models_front_end(finished_ssl, tiny_ravdess):
    folder, _ = finished_ssl
    model, _ = load_model(AudioClassifier, folder / "runs" / "fit" / "finetune" / "model.safetensors")
    datamodule = ready(AudioDataModule, tiny_ravdess, cache=str(folder / "cache"))
    key_folder = folder / "cache" / "speech_features" / model.front_end.content_key()
    for clip in datamodule.clips[::9]:
        path = datamodule.waveforms[clip.clip]
        features, length = model.run_front_end(torch.from_numpy(np.load(path)).view(1, 1, -1))
        array = np.load(key_folder / path.name)
        assert (array.dtype, array.shape) == (np.float16, (LAYERS * WIDTH, length.item()))
        np.testing.assert_array_equal(array.astype(np.float32), features[0].numpy())


def test_stored_features_give_the_same_predictions_as_waveforms(finished_ssl, tiny_ravdess):
    """The stage's predictions were made from stored features."""
    folder, _ = finished_ssl
    stage = folder / "runs" / "fit" / "finetune"
    model, _ = load_model(AudioClassifier, stage / "model.safetensors")
    datamodule = ready(AudioDataModule, tiny_ravdess, cache=str(folder / "cache"), batch_size=16)
    (batch,) = datamodule.test_dataloader()
    with torch.no_grad():
        expected_rows = model(batch["waveform"], batch["waveform_length"]).softmax(dim=-1)
    rows = [line.split(",") for line in (stage / "predictions.csv").read_text().splitlines()]
    expected = {row[0]: [float(value) for value in row[-8:]] for row in rows[1:]}
    for clip, probabilities in zip(batch["clip"], expected_rows.tolist(), strict=True):
        np.testing.assert_allclose(probabilities, expected[clip], atol=1e-4)


def test_an_interrupted_pass_resumes_with_the_next_clip(ssl_args, finished, tmp_path, monkeypatch):
    shutil.copytree(finished.cache, tmp_path / "cache")
    original, count = SelfSupervisedFrontEnd._extract, [0]

    def stopped_after_seven(*args):
        if count[0] == 7:
            raise KeyboardInterrupt
        count[0] += 1
        return original(*args)

    monkeypatch.setattr(SelfSupervisedFrontEnd, "_extract", stopped_after_seven)
    with pytest.raises(KeyboardInterrupt):
        fit(ssl_args(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in stored(tmp_path)}
    assert len(before) == 7
    assert {path.suffix for path in (tmp_path / "cache" / "speech_features").glob("*/*")} == {".npy"}
    damaged = next(iter(before))
    damaged.write_bytes(damaged.read_bytes()[:100])
    count[0] = 8  # past the interruption
    fit(ssl_args(tmp_path, "--stages=control"))
    assert count[0] - 8 == CLIPS - 7 + 1
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path != damaged)


def test_clips_with_the_same_content_are_processed_once(tiny_ravdess, tmp_path, passes):
    root = shutil.copytree(tiny_ravdess, tmp_path / "corpus")
    first, second = sorted((root / "Actor_01").glob("*.wav"))[:2]
    shutil.copy(first, second)
    datamodule = ready(AudioDataModule, root, cache=str(tmp_path / "cache"))
    model = AudioClassifier("ssl", "dense", front_end_kwargs={"weights": write_weights(tmp_path / "weights.pth")})
    store_speech_features(model, datamodule, datamodule.clips)
    assert len(passes) == CLIPS - 1


def test_other_front_ends_store_nothing(tiny_ravdess, tmp_path):
    datamodule = AudioDataModule(str(tiny_ravdess), protocol="loso24", cache=str(tmp_path))
    assert store_speech_features(AudioClassifier("mfcc", "dense"), datamodule, []) is None
    assert not list(tmp_path.iterdir())


def test_storing_features_does_not_change_random_numbers(ssl_args, done, finished_ssl):
    """A stage gives the same results with existing features as with features that are computed first."""
    shutil.rmtree(done / "cache" / "stages")
    fit(ssl_args(done, "--stages=control"))
    now, then = (folder / "runs" / "fit" / "control" / "predictions.csv" for folder in (done, finished_ssl[0]))
    assert now.read_text() == then.read_text()


class TestKeys:
    def keys(self, folder, name="fit"):
        return {path.parent.name: read_json(path)["key"] for path in (folder / "runs" / name).glob("*/result.json")}

    def test_changed_weights_at_the_same_path_retrain_the_students(self, ssl_args, done, passes):
        fit(ssl_args(done))
        before = self.keys(done)
        write_weights(done / "weights.safetensors", seed=1)
        summary = fit(ssl_args(done))
        after = self.keys(done)
        assert reused(summary) == ["teacher"]
        assert after["teacher"] == before["teacher"]
        assert all(after[stage] != before[stage] for stage in ("control", "transfer", "finetune"))
        assert len(passes) == CLIPS

    def test_moved_or_converted_weights_reuse_results(self, ssl_args, done, passes):
        moved = write_weights(done / "elsewhere" / "weights.pth")
        (done / "weights.safetensors").unlink()
        summary = fit(ssl_args(done, weights=moved))
        assert len(reused(summary)) == 4
        assert not passes
        EmotionRecognizer.from_pretrained(summary["model"])


class TestModelFolder:
    @pytest.fixture
    def shipped(self, finished_ssl, tmp_path):
        """A copy of the run's model folder, without the original weights."""
        return shutil.copytree(finished_ssl[0] / "runs" / "fit" / "model", tmp_path / "shipped")

    def test_the_folder_is_self_contained(self, finished_ssl, shipped, tiny_ravdess, monkeypatch):
        names = {"model.safetensors", "front_end.safetensors", "config.json", "README.md"}
        assert {path.name for path in shipped.iterdir()} == names
        config = json.loads((shipped / "config.json").read_text())
        kwargs = {"bundle": BUNDLE, "weights": "front_end.safetensors", "layers": None, "subsampling": 2}
        assert config["model"]["front_end_kwargs"] == kwargs
        assert str(finished_ssl[0]) not in "".join(path.read_text() for path in shipped.glob("*[nd]"))
        assert BUNDLE in (shipped / "README.md").read_text()
        folder = finished_ssl[0]
        (folder / "weights.safetensors").rename(folder / "gone.safetensors")
        try:
            recognizer = EmotionRecognizer.from_pretrained(shipped)
            prediction = recognizer(next(tiny_ravdess.rglob("*.wav")))
        finally:
            (folder / "gone.safetensors").rename(folder / "weights.safetensors")
        assert sum(prediction.probabilities.values()) == pytest.approx(1)

    def test_a_damaged_or_missing_network_names_its_file(self, shipped):
        path = shipped / "front_end.safetensors"
        for damage in (lambda: path.write_bytes(path.read_bytes()[:1000]), path.unlink):
            damage()
            with pytest.raises(ModelFolderError, match=r"shipped.*front_end\.safetensors"):
                EmotionRecognizer.from_pretrained(shipped)

    def test_saving_a_model_without_network_moves_the_old_network(self, finished, shipped):
        save_model_folder(finished.folder / "finetune" / "model.safetensors", shipped, finished.summary)
        assert not (shipped / "front_end.safetensors").exists()
        for folder in (shipped, shipped.with_name("shipped.old1")):
            EmotionRecognizer.from_pretrained(folder)

    def test_saving_the_same_model_changes_nothing(self, finished_ssl, shipped):
        folder, summary = finished_ssl
        before = {path.name: path.stat().st_mtime_ns for path in shipped.iterdir()}
        weights = shipped / "front_end.safetensors"
        save_model_folder(folder / "runs" / "fit" / "finetune" / "model.safetensors", shipped, summary, weights)
        assert {path.name: path.stat().st_mtime_ns for path in shipped.iterdir()} == before

    def test_the_test_command_reuses_stored_features(self, finished_ssl, shipped, tiny_ravdess, passes, capsys):
        folder, summary = finished_ssl
        args = [f"--data.root={tiny_ravdess}", f"--data.cache={folder / 'cache'}", "--format=json"]
        assert run_command([f"--model={shipped}", *args]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["uar"] == pytest.approx(summary["stages"]["finetune"]["test_uar"])
        assert not passes

    def test_the_test_command_processes_only_test_clips(self, shipped, tiny_ravdess, passes, tmp_path, capsys):
        args = [f"--model={shipped}", f"--data.root={tiny_ravdess}", f"--data.cache={tmp_path / 'cache'}"]
        assert run_command(args) == 0
        assert len(passes) == len(stored(tmp_path)) == 16


@pytest.mark.parametrize("augmentation", [None, {"speed": {}}, {"mixup": {}}])
def test_only_the_default_augmentation_is_removed(augmentation):
    given = [] if augmentation is None else [f"--transfer.model.augmentation={json.dumps(augmentation)}"]
    settings = parse_settings(["--transfer.model.front_end=ssl", *given])
    assert settings["transfer"]["model"]["augmentation"] == augmentation


class TestRefusals:
    @pytest.fixture(autouse=True)
    def fail_on_run(self, monkeypatch):
        def run(*args):
            raise AssertionError("a stage was run")

        monkeypatch.setattr("crossmodal.pipeline.stage.StageRun.run", run)

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("--transfer.model.augmentation={noise: {}, mixup: {}}", "noise"),
            ("--finetune.model.augmentation={gain: {}}", "augmentation gain"),
            ("--transfer.model.front_end_kwargs.bundel=WAVLM_BASE", r"'bundel'.*'bundle'"),
        ],
    )
    def test_an_invalid_argument_is_refused_before_any_stage_runs(self, ssl_args, done, argument, message):
        with pytest.raises(ConfigError, match=message):
            fit(ssl_args(done, argument))

    def test_missing_weights_are_refused_before_any_stage_runs(self, ssl_args, done):
        with pytest.raises(WeightsError, match=r"nowhere\.pth"):
            fit(ssl_args(done, weights="nowhere.pth"))

    def test_a_teacher_alone_stores_no_speech_features(self, ssl_args, done, monkeypatch):
        monkeypatch.setattr(speech_features, "store_speech_features", None)
        with pytest.raises(AssertionError, match="a stage was run"):
            fit(ssl_args(done, "--stages=teacher", weights="nowhere.pth"))
