import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from crossmodal import AudioDataModule, EmotionRecognizer
from crossmodal.cli.test import test_command as run_command
from crossmodal.errors import ConfigError, ModelFolderError, WeightsError
from crossmodal.inference import save_model_folder
from crossmodal.models import AudioClassifier, PretrainedFrontEnd
from crossmodal.models.serialization import load_model
from crossmodal.pipeline.stored import speech_features
from crossmodal.pipeline.stored.speech_features import store_speech_features
from crossmodal.storage import read_json
from tests.datamodules import ready
from tests.pipeline import fit, read_rows, reused
from tests.tiny_speech import BUNDLE, LAYERS, WIDTH, shrink, write_weights

CLIPS = 64


@pytest.fixture(scope="module", autouse=True)
def patch():
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        yield patch


@pytest.fixture(scope="module")
def pretrained_args(tiny_args, tmp_path_factory):
    """Return a command line with a tiny network as front end, by default `folder`/weights.safetensors."""

    def make(folder, *more, weights=None):
        path = Path(weights or folder / "weights.safetensors")
        if not weights and not path.exists():
            write_weights(path)
        kwargs = {"model": BUNDLE, "weights": str(path), "subsampling": 2, "silence_db": None}
        front_end = ["--transfer.model.front_end=pretrained", f"--transfer.model.front_end_kwargs={json.dumps(kwargs)}"]
        return tiny_args(folder, *front_end, "--transfer.model.augmentation=null", *more)

    return make


@pytest.fixture(scope="module")
def finished_pretrained(pretrained_args, finished, tmp_path_factory):
    """A full run; its teacher comes from the cache of the run with MFCC."""
    folder = tmp_path_factory.mktemp("pretrained")
    shutil.copytree(finished.cache, folder / "cache")
    return folder, fit(pretrained_args(folder))


@pytest.fixture
def done(finished_pretrained, tmp_path):
    """A copy of the cache and weights of that run."""
    shutil.copytree(finished_pretrained[0] / "cache", tmp_path / "cache")
    shutil.copy(finished_pretrained[0] / "weights.safetensors", tmp_path)
    return tmp_path


@pytest.fixture
def passes(monkeypatch):
    """A list with one entry per clip that the network has processed."""
    count = []
    original = PretrainedFrontEnd._extract

    def counted(*args):
        count.append(1)
        return original(*args)

    monkeypatch.setattr(PretrainedFrontEnd, "_extract", counted)
    return count


def stored(folder):
    return sorted((folder / "cache" / "speech_features").glob("*/*.npy"))


def test_every_clip_is_processed_once_for_all_students(pretrained_args, finished, passes, tmp_path):
    shutil.copytree(finished.cache, tmp_path / "cache")
    summary = fit(pretrained_args(tmp_path))
    assert len(passes) == len(stored(tmp_path)) == CLIPS
    assert list(summary["stages"]) == ["teacher", "supervised", "control", "transfer", "finetune"]
    assert reused(summary) == ["teacher"]
    fit(pretrained_args(tmp_path, "--name=again"))
    fit(pretrained_args(tmp_path, "--name=fold", "--data.fold=1"))
    fit(pretrained_args(tmp_path, "--name=other", "--transfer.model.lr=1e-3", "--data.label_set=speech6"))
    assert len(passes) == CLIPS


def test_stored_features_are_those_of_the_models_front_end(finished_pretrained, tiny_ravdess):
    folder, _ = finished_pretrained
    model, _ = load_model(AudioClassifier, folder / "runs" / "fit" / "finetune" / "model.safetensors")
    datamodule = ready(AudioDataModule, tiny_ravdess, cache=str(folder / "cache"))
    key_folder = folder / "cache" / "speech_features" / model.front_end.content_key()
    for clip in datamodule.clips[::9]:
        path = datamodule.waveforms[clip.clip]
        features, length = model.run_front_end(torch.from_numpy(np.load(path)).view(1, 1, -1))
        array = np.load(key_folder / path.name)
        assert (array.dtype, array.shape) == (np.float16, (LAYERS * WIDTH, length.item()))
        np.testing.assert_array_equal(array.astype(np.float32), features[0].numpy())


def check_predictions(folder, name, root):
    """Compare the stored predictions of a stage with those of its model from waveforms; return model and datamodule."""
    stage = folder / "runs" / "fit" / name
    model, _ = load_model(AudioClassifier, stage / "model.safetensors")
    datamodule = ready(AudioDataModule, root, cache=str(folder / "cache"), batch_size=16)
    (batch,) = datamodule.test_dataloader()
    with torch.no_grad():
        rows = model(batch["waveform"], batch["waveform_length"]).softmax(dim=-1)
    written = {row["clip"]: [*map(float, [*row.values()][-8:])] for row in read_rows(stage / "predictions.csv")}
    for clip, probabilities in zip(batch["clip"], rows.tolist(), strict=True):
        np.testing.assert_allclose(probabilities, written[clip], atol=1e-4)
    return model, datamodule


def test_stored_features_give_the_same_predictions_as_waveforms(finished_pretrained, tiny_ravdess):
    """The stage's predictions were made from stored features."""
    folder, _ = finished_pretrained
    check_predictions(folder, "finetune", tiny_ravdess)


def test_an_interrupted_pass_resumes_with_the_next_clip(pretrained_args, finished, tmp_path, monkeypatch):
    shutil.copytree(finished.cache, tmp_path / "cache")
    original, count = PretrainedFrontEnd._extract, [0]

    def stopped_after_seven(*args):
        if count[0] == 7:
            raise KeyboardInterrupt
        count[0] += 1
        return original(*args)

    monkeypatch.setattr(PretrainedFrontEnd, "_extract", stopped_after_seven)
    with pytest.raises(KeyboardInterrupt):
        fit(pretrained_args(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in stored(tmp_path)}
    assert len(before) == 7
    assert {path.suffix for path in (tmp_path / "cache" / "speech_features").glob("*/*")} == {".npy"}
    damaged = next(iter(before))
    damaged.write_bytes(damaged.read_bytes()[:100])
    count[0] = 8  # past the interruption
    fit(pretrained_args(tmp_path, "--stages=control"))
    assert count[0] - 8 == CLIPS - 7 + 1
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path != damaged)


def test_clips_with_the_same_content_are_processed_once(tiny_ravdess, tmp_path, passes):
    root = shutil.copytree(tiny_ravdess, tmp_path / "corpus")
    first, second = sorted((root / "Actor_01").glob("*.wav"))[:2]
    shutil.copy(first, second)
    datamodule = ready(AudioDataModule, root, cache=str(tmp_path / "cache"))
    model = AudioClassifier(
        "pretrained", "dense", front_end_kwargs={"model": BUNDLE, "weights": write_weights(tmp_path / "weights.pth")}
    )
    store_speech_features(model, datamodule, datamodule.clips)
    assert len(passes) == CLIPS - 1


def test_other_front_ends_store_nothing(tiny_ravdess, tmp_path):
    datamodule = AudioDataModule(str(tiny_ravdess), protocol="loso24", cache=str(tmp_path))
    assert store_speech_features(AudioClassifier("mfcc", "dense"), datamodule, []) is None
    assert not list(tmp_path.iterdir())


def test_storing_features_does_not_change_random_numbers(pretrained_args, done, finished_pretrained):
    """A stage gives the same results with existing features as with features that are computed first."""
    shutil.rmtree(done / "cache" / "stages")
    fit(pretrained_args(done, "--stages=control"))
    now, then = (folder / "runs" / "fit" / "control" / "predictions.csv" for folder in (done, finished_pretrained[0]))
    assert now.read_text() == then.read_text()


class TestKeys:
    def keys(self, folder, name="fit"):
        return {path.parent.name: read_json(path)["key"] for path in (folder / "runs" / name).glob("*/result.json")}

    def test_changed_weights_at_the_same_path_retrain_the_students(self, pretrained_args, done, passes):
        fit(pretrained_args(done))
        before = self.keys(done)
        write_weights(done / "weights.safetensors", seed=1)
        summary = fit(pretrained_args(done))
        after = self.keys(done)
        assert reused(summary) == ["teacher"]
        assert after["teacher"] == before["teacher"]
        assert all(after[stage] != before[stage] for stage in ("supervised", "control", "transfer", "finetune"))
        assert len(passes) == CLIPS

    def test_changed_weights_of_trained_layers_retrain_the_students(self, pretrained_args, done, passes):
        trained = (
            "--transfer.model.front_end_kwargs.subsampling=1",
            "--transfer.model.front_end_kwargs.trainable_layers=1",
        )
        args = pretrained_args(done, *trained, "--stages=control")
        fit(args)
        before = self.keys(done)
        state = load_file(done / "weights.safetensors")
        name = f"encoder.transformer.layers.{LAYERS - 1}.attention.k_proj.weight"
        save_file(state | {name: state[name] + 1}, done / "weights.safetensors")
        assert reused(fit(args)) == []
        assert self.keys(done)["control"] != before["control"]
        assert len(passes) == CLIPS  # the frozen layers are the same
        save_file(state, done / "weights.safetensors")
        assert reused(fit(args)) == ["supervised", "control"]

    def test_moved_or_converted_weights_reuse_results(self, pretrained_args, done, passes):
        moved = write_weights(done / "elsewhere" / "weights.pth")
        (done / "weights.safetensors").unlink()
        summary = fit(pretrained_args(done, weights=moved))
        assert len(reused(summary)) == 5
        assert not passes
        EmotionRecognizer.from_pretrained(summary["model"])


class TestModelFolder:
    @pytest.fixture
    def shipped(self, finished_pretrained, tmp_path):
        """A copy of the run's model folder, without the original weights."""
        return shutil.copytree(finished_pretrained[0] / "runs" / "fit" / "model", tmp_path / "shipped")

    def test_the_folder_is_self_contained(self, finished_pretrained, shipped, tiny_ravdess, monkeypatch):
        names = {"model.safetensors", "front_end.safetensors", "config.json", "README.md"}
        assert {path.name for path in shipped.iterdir()} == names
        config = json.loads((shipped / "config.json").read_text())
        kwargs = config["model"]["front_end_kwargs"]
        assert (kwargs["model"], kwargs["weights"], kwargs["subsampling"]) == (BUNDLE, "front_end.safetensors", 2)
        assert str(finished_pretrained[0]) not in "".join(path.read_text() for path in shipped.glob("*[nd]"))
        assert BUNDLE in (shipped / "README.md").read_text()
        folder = finished_pretrained[0]
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

    def test_saving_the_same_model_changes_nothing(self, finished_pretrained, shipped):
        folder, summary = finished_pretrained
        before = {path.name: path.stat().st_mtime_ns for path in shipped.iterdir()}
        weights = shipped / "front_end.safetensors"
        save_model_folder(folder / "runs" / "fit" / "finetune" / "model.safetensors", shipped, summary, weights)
        assert {path.name: path.stat().st_mtime_ns for path in shipped.iterdir()} == before

    def test_the_test_command_reuses_stored_features(self, finished_pretrained, shipped, tiny_ravdess, passes, capsys):
        folder, summary = finished_pretrained
        args = [f"--data.root={tiny_ravdess}", f"--data.cache={folder / 'cache'}", "--format=json"]
        assert run_command([f"--model={shipped}", *args]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["uar"] == pytest.approx(summary["stages"]["finetune"]["test_uar"])
        assert not passes

    def test_the_test_command_processes_only_test_clips(self, shipped, tiny_ravdess, passes, tmp_path, capsys):
        args = [f"--model={shipped}", f"--data.root={tiny_ravdess}", f"--data.cache={tmp_path / 'cache'}"]
        assert run_command(args) == 0
        assert len(passes) == len(stored(tmp_path)) == 16


COPIES = ("--transfer.model.augmentation={noise: {p: 1}, gain: {}}", "--transfer.model.stored_copies=2")


def test_augmented_copies_of_training_clips_are_stored_once(pretrained_args, done, passes):
    before = {*stored(done)}
    fit(pretrained_args(done, *COPIES, "--stages=control"))
    added = [path for path in stored(done) if path not in before]
    training = len({path.name for path in added})
    assert training < CLIPS and len(added) == len(passes) == 2 * training  # not of validation and test clips
    versions = {folder: np.load(folder / added[0].name) for folder in {path.parent for path in (*added, *before)}}
    assert len({array.tobytes() for array in versions.values()}) == 3
    fit(pretrained_args(done, *COPIES, "--stages=control", "--transfer.model.lr=1e-3"))
    assert len(passes) == 2 * training
    fit(pretrained_args(done, COPIES[0], "--transfer.model.stored_copies=3", "--stages=control"))
    assert len(passes) == 3 * training


def test_copies_do_not_depend_on_the_order_or_on_the_run(pretrained_args, done, tmp_path):
    fit(pretrained_args(done, *COPIES, "--stages=control"))
    before = {path: path.read_bytes() for path in stored(done)}
    for path in [*before][::7]:
        path.unlink()
    fit(pretrained_args(done, *COPIES, "--stages=control", "--seed_everything=5", "--name=again"))
    assert {path: path.read_bytes() for path in stored(done)} == before


def test_summaries_of_stored_features_give_the_same_predictions_as_waveforms(pretrained_args, done, tiny_ravdess):
    """Without a learned sum of layers, training reads one vector for each version of a clip."""
    encoder = "--transfer.model.encoder=dense", "--transfer.model.encoder_kwargs={pooling: stats, hidden_size: 8}"
    before = {*(done / "cache" / "speech_features").glob("*.safetensors")}
    fit(pretrained_args(done, *COPIES, *encoder, "--transfer.model.mix_layers=false", "--stages=control"))
    (file,) = {*(done / "cache" / "speech_features").glob("*.safetensors")} - before
    summaries = load_file(file)["summary"]
    assert summaries.shape == (CLIPS, 3, 2 * LAYERS * WIDTH)
    model, datamodule = check_predictions(done, "control", tiny_ravdess)
    datamodule.speech_features, datamodule.summaries = file.parent / model.front_end.content_key(), file
    assert {"summary"} == next(iter(datamodule.test_dataloader())).keys() - {"clip", "label"}


def test_trained_layers_start_from_the_pretrained_ones_and_are_shipped(pretrained_args, done, tiny_ravdess, passes):
    trained = "--transfer.model.front_end_kwargs.subsampling=1", "--transfer.model.front_end_kwargs.trainable_layers=1"
    summary = fit(pretrained_args(done, *trained, "--transfer.model.pretrained_lr=1e-9"))
    assert len(passes) == CLIPS  # other features than those of the whole network
    model, _ = load_model(AudioClassifier, done / "runs" / "fit" / "finetune" / "model.safetensors")
    top = model.front_end.trained["layers"][0].state_dict()
    pretrained = model.front_end.source.load(LAYERS).layers[-1].state_dict()
    for name, value in top.items():
        torch.testing.assert_close(value, pretrained[name], rtol=1e-4, atol=1e-6)
    changed = fit(pretrained_args(done, *trained, "--transfer.model.pretrained_lr=1e-2", "--name=faster"))
    model, _ = load_model(AudioClassifier, done / "runs" / "faster" / "finetune" / "model.safetensors")
    top = model.front_end.trained["layers"][0].state_dict()
    assert not torch.allclose(top["attention.k_proj.weight"], pretrained["attention.k_proj.weight"], atol=1e-3)
    (done / "weights.safetensors").unlink()
    for run in (summary, changed):
        assert EmotionRecognizer.from_pretrained(run["model"])(next(tiny_ravdess.rglob("*.wav"))).label


class TestRefusals:
    @pytest.fixture(autouse=True)
    def fail_on_run(self, monkeypatch):
        def run(*args):
            raise AssertionError("a stage was run")

        monkeypatch.setattr("crossmodal.pipeline.stage.StageRun.run", run)

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("--transfer.model.front_end_kwargs.modle=WAVLM_BASE", r"'modle'.*'model'"),
            ("--transfer.model.front_end_kwargs.trainable_layers=9", "trainable_layers"),
            ("--transfer.model.stored_copies=-1", "stored_copies"),
            ("--transfer.model.pretrained_lr=-1", "pretrained_lr"),
        ],
    )
    def test_an_invalid_argument_is_refused_before_any_stage_runs(self, pretrained_args, done, argument, message):
        with pytest.raises(ConfigError, match=message):
            fit(pretrained_args(done, argument))

    def test_missing_weights_are_refused_before_any_stage_runs(self, pretrained_args, done):
        with pytest.raises(WeightsError, match=r"nowhere\.pth"):
            fit(pretrained_args(done, weights="nowhere.pth"))

    def test_a_teacher_alone_stores_no_speech_features(self, pretrained_args, done, monkeypatch):
        monkeypatch.setattr(speech_features, "store_speech_features", None)
        with pytest.raises(AssertionError, match="a stage was run"):
            fit(pretrained_args(done, "--stages=teacher", weights="nowhere.pth"))
