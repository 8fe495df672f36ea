import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from crossmodal import EmotionRecognizer, RAVDESSAudioDataModule
from crossmodal.errors import ConfigError, ModelFolderError, WeightsError
from crossmodal.inference import save_model_folder
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd
from crossmodal.models.handover import load_model
from crossmodal.pipeline import evaluate as command
from crossmodal.pipeline import fit
from crossmodal.pipeline.settings import parse_settings
from crossmodal.pipeline.stored import speech_features
from crossmodal.pipeline.stored.speech_features import store_speech_features
from crossmodal.storage import read_json
from tests.tiny_speech import BUNDLE, LAYERS, WIDTH, shrink, write_weights

CLIPS = 64


@pytest.fixture(scope="module", autouse=True)
def patch():
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        yield patch


@pytest.fixture(scope="module")
def ssl_args(tiny_args, tmp_path_factory):
    """A command line whose student listens through a tiny network, at `folder`/weights.safetensors unless told."""

    def make(folder, *more, weights=None):
        path = Path(weights or folder / "weights.safetensors")
        if not weights and not path.exists():
            write_weights(path)
        listens = ["--transfer.model.front_end=ssl", f"--transfer.model.front_end_kwargs.weights={path}"]
        return tiny_args(folder, *listens, "--transfer.model.front_end_kwargs.subsampling=2", *more)

    return make


@pytest.fixture(scope="module")
def finished_ssl(ssl_args, finished, tmp_path_factory):
    """A whole run; the teacher's part is taken from the run with MFCC."""
    folder = tmp_path_factory.mktemp("ssl")
    shutil.copytree(finished.cache, folder / "cache")
    return folder, fit(ssl_args(folder))


@pytest.fixture
def done(finished_ssl, tmp_path):
    """What that run stored, in a folder of one's own."""
    shutil.copytree(finished_ssl[0] / "cache", tmp_path / "cache")
    shutil.copy(finished_ssl[0] / "weights.safetensors", tmp_path)
    return tmp_path


@pytest.fixture
def heard(monkeypatch):
    """How many clips the network has heard."""
    count = []
    hear = SelfSupervisedFrontEnd._extract

    def counted(*args):
        count.append(1)
        return hear(*args)

    monkeypatch.setattr(SelfSupervisedFrontEnd, "_extract", counted)
    return count


def stored(folder):
    return sorted((folder / "cache" / "speech_features").glob("*/*.npy"))


def reused(summary):
    return [stage for stage, numbers in summary["stages"].items() if numbers["reused"]]


def test_every_clip_is_heard_once_and_all_students_read_that(ssl_args, finished, heard, tmp_path):
    shutil.copytree(finished.cache, tmp_path / "cache")
    summary = fit(ssl_args(tmp_path))
    assert len(heard) == len(stored(tmp_path)) == CLIPS
    assert list(summary["stages"]) == ["teacher", "control", "transfer", "finetune"]
    assert reused(summary) == ["teacher"]
    fit(ssl_args(tmp_path, "--name=again"))
    fit(ssl_args(tmp_path, "--name=fold", "--data.fold=1"))
    fit(ssl_args(tmp_path, "--name=other", "--transfer.model.lr=1e-3", "--data.label_set=speech6"))
    assert len(heard) == CLIPS
    assert not list((finished.cache).glob("speech_features"))


def test_what_is_stored_is_what_the_models_front_end_says(finished_ssl, tiny_ravdess):
    folder, _ = finished_ssl
    model, _ = load_model(AudioClassifier, folder / "runs" / "fit" / "finetune" / "model.safetensors")
    datamodule = RAVDESSAudioDataModule(str(tiny_ravdess), protocol="loso24", cache=str(folder / "cache"))
    datamodule.setup()
    (key_folder,) = (folder / "cache" / "speech_features").iterdir()
    assert key_folder.name == model.front_end.content_key()
    for clip in datamodule.clips[::9]:
        path = datamodule.waveforms[clip.clip]
        features, length = model.run_front_end(torch.from_numpy(np.load(path)).view(1, 1, -1))
        array = np.load(key_folder / path.name)
        assert (array.dtype, array.shape) == (np.float16, (LAYERS * WIDTH, length.item()))
        np.testing.assert_array_equal(array.astype(np.float32), features[0].numpy())


def test_the_same_comes_of_it_as_with_a_network_that_listens_in_each_step(finished_ssl, tiny_ravdess):
    """The stage's model on waveforms gives the predictions that it gave on stored features."""
    folder, _ = finished_ssl
    stage = folder / "runs" / "fit" / "finetune"
    model, _ = load_model(AudioClassifier, stage / "model.safetensors")
    datamodule = RAVDESSAudioDataModule(
        str(tiny_ravdess), protocol="loso24", cache=str(folder / "cache"), batch_size=16
    )
    datamodule.setup()
    (batch,) = datamodule.test_dataloader()
    with torch.no_grad():
        said = model(batch["waveform"], batch["waveform_length"]).softmax(dim=-1)
    rows = [line.split(",") for line in (stage / "predictions.csv").read_text().splitlines()]
    expected = {row[0]: [float(value) for value in row[-8:]] for row in rows[1:]}
    for clip, probabilities in zip(batch["clip"], said.tolist(), strict=True):
        np.testing.assert_allclose(probabilities, expected[clip], atol=1e-4)


def test_a_pass_that_was_stopped_goes_on_with_the_next_clip(ssl_args, finished, tmp_path, monkeypatch):
    shutil.copytree(finished.cache, tmp_path / "cache")
    hear, count = SelfSupervisedFrontEnd._extract, [0]

    def stopped_after_seven(*args):
        if count[0] == 7:
            raise KeyboardInterrupt
        count[0] += 1
        return hear(*args)

    monkeypatch.setattr(SelfSupervisedFrontEnd, "_extract", stopped_after_seven)
    with pytest.raises(KeyboardInterrupt):
        fit(ssl_args(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in stored(tmp_path)}
    assert len(before) == 7
    assert {path.suffix for path in (tmp_path / "cache" / "speech_features").glob("*/*")} == {".npy"}
    damaged = next(iter(before))
    damaged.write_bytes(damaged.read_bytes()[:100])
    count[0] = 8  # past the point where it stops
    fit(ssl_args(tmp_path, "--stages=control"))
    assert count[0] - 8 == CLIPS - 7 + 1
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path != damaged)


def test_clips_of_the_same_content_are_heard_once(tiny_ravdess, tmp_path, heard):
    root = shutil.copytree(tiny_ravdess, tmp_path / "corpus")
    first, second = sorted((root / "Actor_01").glob("*.wav"))[:2]
    shutil.copy(first, second)
    datamodule = RAVDESSAudioDataModule(str(root), protocol="loso24", cache=str(tmp_path / "cache"))
    datamodule.prepare_data()
    datamodule.setup()
    model = AudioClassifier("ssl", "dense", front_end_kwargs={"weights": write_weights(tmp_path / "weights.pth")})
    store_speech_features(model, datamodule, datamodule.clips)
    assert len(heard) == CLIPS - 1


def test_other_front_ends_store_nothing(tiny_ravdess, tmp_path):
    datamodule = RAVDESSAudioDataModule(str(tiny_ravdess), protocol="loso24", cache=str(tmp_path))
    assert store_speech_features(AudioClassifier("mfcc", "dense"), datamodule, []) is None
    assert not list(tmp_path.iterdir())


def test_listening_moves_no_random_number(ssl_args, done, finished_ssl):
    """With the features there already, a stage comes out as it did when they had to be made first."""
    shutil.rmtree(done / "cache" / "stages")
    fit(ssl_args(done, "--stages=control"))
    now, then = (folder / "runs" / "fit" / "control" / "predictions.csv" for folder in (done, finished_ssl[0]))
    assert now.read_text() == then.read_text()


class TestKeys:
    def keys(self, folder, name="fit"):
        return {path.parent.name: read_json(path)["key"] for path in (folder / "runs" / name).glob("*/result.json")}

    def test_weights_of_other_content_at_the_same_path_train_the_students_anew(self, ssl_args, done, heard):
        fit(ssl_args(done))
        before = self.keys(done)
        write_weights(done / "weights.safetensors", seed=1)
        summary = fit(ssl_args(done))
        after = self.keys(done)
        assert reused(summary) == ["teacher"]
        assert after["teacher"] == before["teacher"]
        assert all(after[stage] != before[stage] for stage in ("control", "transfer", "finetune"))
        assert len(heard) == CLIPS

    def test_the_same_weights_elsewhere_or_in_another_format_are_known(self, ssl_args, done, heard):
        moved = write_weights(done / "elsewhere" / "weights.pth")
        (done / "weights.safetensors").unlink()
        summary = fit(ssl_args(done, weights=moved))
        assert len(reused(summary)) == 4
        assert not heard
        EmotionRecognizer.from_pretrained(summary["model"])


class TestWhatShips:
    @pytest.fixture
    def shipped(self, finished_ssl, tmp_path):
        """The model folder of the run, where its weights are not."""
        return shutil.copytree(finished_ssl[0] / "runs" / "fit" / "model", tmp_path / "shipped")

    def test_the_folder_stands_alone(self, finished_ssl, shipped, tiny_ravdess, monkeypatch):
        names = {"model.safetensors", "front_end.safetensors", "config.json", "README.md"}
        assert {path.name for path in shipped.iterdir()} == names
        config = json.loads((shipped / "config.json").read_text())
        assert config["model"]["front_end_kwargs"] == {
            "bundle": BUNDLE,
            "weights": "front_end.safetensors",
            "layers": None,
            "subsampling": 2,
        }
        assert str(finished_ssl[0]) not in "".join(path.read_text() for path in shipped.glob("*[nd]"))
        assert f"It listens through {BUNDLE}" in (shipped / "README.md").read_text()
        folder = finished_ssl[0]
        (folder / "weights.safetensors").rename(folder / "gone.safetensors")
        try:
            recognizer = EmotionRecognizer.from_pretrained(shipped)
            prediction = recognizer(next(tiny_ravdess.rglob("*.wav")))
        finally:
            (folder / "gone.safetensors").rename(folder / "weights.safetensors")
        assert sum(prediction.probabilities.values()) == pytest.approx(1)

    def test_a_network_that_is_not_there_or_damaged_names_the_folder(self, shipped):
        path = shipped / "front_end.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(ModelFolderError, match=r"shipped.*front_end\.safetensors"):
            EmotionRecognizer.from_pretrained(shipped)
        path.unlink()
        with pytest.raises(ModelFolderError, match=r"shipped cannot be rebuilt: front_end\.safetensors is not there"):
            EmotionRecognizer.from_pretrained(shipped)

    def test_a_model_that_needs_no_network_takes_the_place_of_one_that_does(self, finished, shipped):
        save_model_folder(finished.folder / "finetune" / "model.safetensors", shipped, finished.summary)
        assert not (shipped / "front_end.safetensors").exists()
        EmotionRecognizer.from_pretrained(shipped)

    def test_the_test_command_gives_the_runs_own_numbers_and_hears_nothing_again(
        self, finished_ssl, shipped, tiny_ravdess, heard, capsys
    ):
        folder, summary = finished_ssl
        words = [f"--data.root={tiny_ravdess}", f"--data.cache={folder / 'cache'}", "--format=json"]
        assert command.test_command([f"--model={shipped}", *words]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["uar"] == pytest.approx(summary["stages"]["finetune"]["test_uar"])
        assert not heard

    def test_in_a_cache_of_its_own_it_hears_the_test_clips_only(self, shipped, tiny_ravdess, heard, tmp_path, capsys):
        words = [f"--model={shipped}", f"--data.root={tiny_ravdess}", f"--data.cache={tmp_path / 'cache'}"]
        assert command.test_command(words) == 0
        assert len(heard) == len(stored(tmp_path)) == 16


def test_the_default_augmentation_is_left_out_and_what_is_asked_for_stays():
    def augmentation(*args):
        return parse_settings(["--transfer.model.front_end=ssl", *args])["transfer"]["model"]["augmentation"]

    assert augmentation() is None
    assert augmentation("--transfer.model.augmentation", '{"speed": {}}') == {"speed": {}}
    assert augmentation("--transfer.model.augmentation", '{"mixup": {}}') == {"mixup": {}}


class TestRefusals:
    @pytest.fixture(autouse=True)
    def nothing_is_run(self, monkeypatch):
        def run(*args):
            raise AssertionError("a stage was run")

        monkeypatch.setattr("crossmodal.pipeline.stage.StageRun.run", run)

    def test_augmentation_of_waveforms_is_refused_before_anything_is_run(self, ssl_args, done):
        (done / "augment.yaml").write_text("transfer: {model: {augmentation: {noise: {}, mixup: {}}}}")
        with pytest.raises(ConfigError, match="noise"):
            fit(ssl_args(done, f"--config={done / 'augment.yaml'}"))

    def test_of_the_last_stage_too(self, ssl_args, done):
        (done / "augment.yaml").write_text("finetune: {model: {augmentation: {gain: {}}}}")
        with pytest.raises(ConfigError, match="gain"):
            fit(ssl_args(done, f"--config={done / 'augment.yaml'}"))

    def test_weights_that_are_not_there_are_an_error_before_anything_is_run(self, ssl_args, done):
        with pytest.raises(WeightsError, match=r"nowhere\.pth"):
            fit(ssl_args(done, weights="nowhere.pth"))

    def test_an_argument_that_there_is_not_too(self, ssl_args, done):
        with pytest.raises(ConfigError, match=r"'bundel'.*'bundle'"):
            fit(ssl_args(done, "--transfer.model.front_end_kwargs.bundel=WAVLM_BASE"))

    def test_a_teacher_alone_listens_to_nothing(self, ssl_args, done, monkeypatch):
        monkeypatch.setattr(speech_features, "store_speech_features", None)
        with pytest.raises(AssertionError, match="a stage was run"):
            fit(ssl_args(done, "--stages=teacher", weights="nowhere.pth"))
