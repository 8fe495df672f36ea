import pytest

from crossmodal.cli.main import main
from crossmodal.datamodules import CorpusDataModule, PairedDataModule
from crossmodal.errors import ConfigError, WeightsError
from crossmodal.pipeline import Run
from crossmodal.pipeline.rehearsal import rehearse
from crossmodal.pipeline.settings import parse_settings
from crossmodal.tasks import TeacherTask


@pytest.fixture
def run(tiny_args, store, capsys, monkeypatch):
    """Return a function that runs `fit` on decoded clips, and returns its exit status and output."""

    def fit(*more, decodes=True):
        with monkeypatch.context() as patch:
            if not decodes:
                patch.setattr(CorpusDataModule, "prepare_data", lambda module: pytest.fail("decoded"))
            status = main(["fit", *tiny_args(store, "--stages=control", *more)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out + captured.err

    return fit


@pytest.mark.parametrize(
    "words, named",
    [
        ("--transfer.model.lr=-1", "transfer.model.lr"),
        ("--data.batch_size=-1", "data.batch_size"),
        ("--data.max_duration=inf", "data.max_duration"),
        ("--data.root=", "data.root"),
        ("--seed_everything=-1", "seed_everything"),
        ("--trainer.max_epochs=-1", "trainer.max_epochs"),
        ("--trainer.max_epochs=null", "trainer.max_epochs"),
        ("--trainer.limit_val_batches=0", "trainer.limit_val_batches"),
        ("--trainer.precision=bf16-true", "trainer.precision"),
        ("--trainer.devices=1000000", "trainer.devices"),
        ("--transfer.model.kd_loss_weight=-1", "transfer.model.kd_loss_weight"),
        ("--trainer.profiler=gone", "profiler"),
        (f"--name={'x' * 300}", "name"),
        ("--stages=teacher --teacher.model.weights=gone.pt --data.face_features=null --data.root=VIDEOS", "gone.pt"),
        ("--transfer.model.front_end=pretrained --transfer.model.front_end_kwargs.weights=gone.pt", "gone.pt"),
        ("--transfer.model.encoder_kwargs.hidden_sise=3", "hidden_sise"),
    ],
)
def test_invalid_settings_are_found_before_decoding(run, tiny_videos, words, named):
    status, output = run(*words.replace("VIDEOS", str(tiny_videos)).split(), decodes=False)
    assert status in (1, 2)
    assert named in output


@pytest.mark.parametrize(
    "words, named",
    [
        ("--trainer.check_val_every_n_epoch=50", "trainer.check_val_every_n_epoch"),
        ("--trainer.logger=lightning.pytorch.loggers.CometLogger", "trainer.logger"),
    ],
)
def test_other_invalid_settings_name_the_key(run, words, named):
    status, output = run(words, "--name=other", "--transfer.trainer.max_epochs=1", "--finetune.trainer.max_epochs=1")
    assert status == 1
    assert named in output


@pytest.mark.parametrize("callback", ["EarlyStopping", "ModelCheckpoint"])
def test_an_unknown_monitor_names_the_metrics(run, callback):
    status, output = run(f"--trainer.callbacks+={callback}", "--trainer.callbacks.monitor=val_acc", "--name=monitor")
    assert status == 1
    assert "supervised/val_uar" in output


@pytest.mark.parametrize("callback", ["LearningRateFinder", "BatchSizeFinder"])
def test_tuners_of_lightning_run(run, callback):
    assert run(f"--trainer.callbacks+={callback}")[0] == 0


@pytest.mark.parametrize("logger", ["csv", "CSVLogger", "lightning.pytorch.loggers.CSVLogger"])
def test_a_logger_by_class_writes_to_the_runs_folder(run, store, logger):
    assert run(f"--trainer.logger={logger}")[0] == 0
    assert list((store / "runs" / "fit").rglob("hparams.yaml"))


def test_a_fast_dev_run_keeps_no_results(run, store):
    before = {path for path in (store / "cache" / "stages").iterdir()}
    status, output = run("--trainer.fast_dev_run=true", "--stages=teacher,control,transfer,finetune")
    assert status == 0
    assert "Nothing was measured" in output
    assert not (store / "runs").exists()
    assert not list((store / "cache" / "fast_dev_run").iterdir())
    assert {path for path in (store / "cache" / "stages").iterdir()} == before


def test_a_fast_dev_run_cannot_be_a_cell_of_a_study(tiny_args, tmp_path):
    settings = parse_settings(tiny_args(tmp_path, "--trainer.fast_dev_run=true"))
    with pytest.raises(ConfigError, match="fast_dev_run"):
        Run(settings, keep_name=True)


def test_stored_face_embeddings_replace_missing_weights(tiny_args, store, tiny_videos, monkeypatch):
    def unavailable(*args, **kwargs):
        raise WeightsError("offline")

    monkeypatch.setattr(TeacherTask, "__init__", unavailable)
    settings = parse_settings(tiny_args(store, "--data.face_features=null", root=tiny_videos))
    corpus = PairedDataModule(**settings["data"])
    with pytest.raises(WeightsError):
        rehearse(settings, ["teacher"], corpus)
    (store / "cache" / "face_embeddings").mkdir()
    (store / "cache" / "face_embeddings" / "key.safetensors").touch()
    rehearse(settings, ["teacher"], corpus)
