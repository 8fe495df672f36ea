import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from crossmodal import __version__
from crossmodal.cli.main import COMMANDS, main

ACTOR_01 = "03-01-05-01-01-01-01.wav"


@pytest.fixture(scope="module")
def trained(tiny_ravdess, tiny_face_features, tmp_path_factory):
    """Return the shared arguments and the folder of a model that was trained with them."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = [
        f"--data.cache={folder / 'cache'}",
        f"--data.face_features={tiny_face_features}",
        f"--runs={folder / 'runs'}",
        "--data.protocol=loso24",
        "--transfer.model.encoder=dense",
        "--teacher.trainer.max_epochs=1",
        "--transfer.trainer.max_epochs=1",
        "--finetune.trainer.max_epochs=1",
        "--trainer.enable_progress_bar=false",
    ]
    assert main(["fit", f"--data.root={tiny_ravdess}", *arguments]) == 0
    return arguments, folder / "runs" / "fit" / "model"


@pytest.fixture
def corpus(tiny_ravdess, tmp_path):
    """Return a copy that tests may damage."""
    return shutil.copytree(tiny_ravdess, tmp_path / "corpus")


def fails(capsys, args, status=1):
    """Run a command that fails and return its error message, which has no traceback."""
    assert main([str(arg) for arg in args]) == status
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert f"crossmodal {' '.join(args[:2]) if args[0] == 'data' else args[0]}: " in error
    return error


class TestHelp:
    @pytest.mark.parametrize(
        "args", [[], ["--help"], ["-h"], ["help"], ["data"], ["data", "--help"], ["study"], ["study", "-h"]], ids=str
    )
    def test_the_overview_lists_every_command(self, args, capsys):
        assert main(args) == 0
        out = capsys.readouterr().out
        for name, command in COMMANDS.items():
            assert re.search(rf"^  {name} +{re.escape(command.summary)}$", out, re.MULTILINE)

    def test_the_version(self, capsys):
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"crossmodal {__version__}\n"

    @pytest.mark.parametrize("name", COMMANDS)
    def test_help_of_each_command_without_heavy_imports(self, name):
        code = (
            "import sys\n"
            "from crossmodal.cli.main import main\n"
            "try:\n    status = main(sys.argv[1:])\n"
            "except SystemExit as stop:\n    status = stop.code\n"
            "heavy = {'torch', 'lightning', 'timm', 'numpy', 'rich', 'jsonargparse'} & set(sys.modules)\n"
            "print(status, heavy, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *name.split(), "--help"], capture_output=True, text=True, check=True
        )
        assert done.stderr == "0 set()\n"
        assert done.stdout.startswith(f"usage: crossmodal {name}")
        assert len(done.stdout.splitlines()) > 5
        assert max(map(len, done.stdout.splitlines())) <= 120

    def test_all_keys_in_the_help_of_fit_exist(self):
        from crossmodal.pipeline.settings import STAGES, build_parser

        known = {action.dest for action in build_parser()._actions} | {"key", "trainer.logger.offline"}
        text = COMMANDS["fit"].usage
        expanded = [text.replace("{teacher,transfer,finetune}", stage) for stage in STAGES if stage != "control"]
        named = {key for one in expanded for key in re.findall(r"--([a-z_][a-z_.]*)", one)}
        assert len(named) > 20
        # These keys are mentioned without their prefix.
        assert named <= known
        for word in ("kd_loss_weight", "temperature", "align_loss_weight"):
            assert word in text
            assert f"transfer.model.{word}" in known

    def test_all_keys_in_the_help_of_test_exist(self):
        from jsonargparse import ArgumentParser

        from crossmodal.datamodules import RAVDESSAudioDataModule

        parser = ArgumentParser()
        parser.add_class_arguments(RAVDESSAudioDataModule, "data")
        known = {action.dest for action in parser._actions} | {"model", "backend", "format", "data.key"}
        assert set(re.findall(r"--([a-z_][a-z_.]*)", COMMANDS["test"].usage)) <= known

    def test_the_help_of_fit_lists_all_names(self):
        from crossmodal.losses import list_align_losses, list_kd_losses
        from crossmodal.models import list_audio_encoders, list_front_ends

        for key, names in (
            ("encoder", list_audio_encoders()),
            ("front_end", list_front_ends()),
            ("kd_loss", list_kd_losses()),
            ("align_loss", list_align_losses()),
        ):
            (text,) = re.findall(rf"--transfer\.model\.{key} NAME +([^-]*)", COMMANDS["fit"].usage)
            assert all(re.search(rf"\b{name}\b", text) for name in names), key


class TestInvalidCommandLines:
    @pytest.mark.parametrize(
        "args, typed, meant",
        [
            (["fti"], "fti", "fit"),
            (["predcit", "x.wav"], "predcit", "predict"),
            (["data", "prepair", "x"], "data prepair", "data prepare"),
            (["study", "preflihgt"], "study preflihgt", "study preflight"),
        ],
    )
    def test_a_typo_names_the_nearest_command(self, args, typed, meant, capsys):
        assert main(args) == 2
        error = capsys.readouterr().err
        assert repr(typed) in error and repr(meant) in error
        assert "usage: crossmodal COMMAND" in error

    def test_an_unknown_command_lists_all(self, capsys):
        assert main(["xyzzy"]) == 2
        error = capsys.readouterr().err
        assert "'xyzzy'" in error
        assert "Did you mean" not in error
        assert "data synthesize" in error

    @pytest.mark.parametrize(
        "args, message",
        [
            (["predict", "x.wav"], "--model"),
            (["predict", "--model", "m", "--format", "xml", "x.wav"], "table.*json.*csv"),
            (["data", "synthesize"], "DIR"),
        ],
    )
    def test_missing_or_invalid_arguments(self, args, message, capsys):
        with pytest.raises(SystemExit) as raised:
            main(args)
        assert raised.value.code == 2
        assert re.search(message, capsys.readouterr().err)


class TestBadInput:
    """One line of error and status 1. Bad clips are listed and skipped."""

    def test_a_missing_root(self, trained, tmp_path, capsys):
        error = fails(capsys, ["fit", f"--data.root={tmp_path / 'gone'}", *trained[0]])
        assert str(tmp_path / "gone") in error

    def test_a_folder_with_no_clips(self, trained, tmp_path, capsys):
        (tmp_path / "notes.txt").write_text("not audio")
        error = fails(capsys, ["fit", f"--data.root={tmp_path}", *trained[0]])
        assert "RAVDESS" in error
        assert "zenodo.org/records/1188976" in error

    def test_a_folder_with_zip_files_only(self, trained, tmp_path, capsys):
        (tmp_path / "Audio_Speech_Actors_01-24.zip").write_bytes(b"PK")
        error = fails(capsys, ["fit", f"--data.root={tmp_path}", *trained[0]])
        assert "Audio_Speech_Actors_01-24.zip" in error and "extract" in error

    def test_a_folder_with_other_file_names(self, trained, tiny_ravdess, tmp_path, capsys):
        shutil.copy(tiny_ravdess / "Actor_01" / ACTOR_01, tmp_path / "happy.wav")
        error = fails(capsys, ["fit", f"--data.root={tmp_path}", *trained[0]])
        assert "happy.wav" in error

    def test_bad_clips_are_listed_and_skipped(self, trained, corpus, tmp_path, capsys):
        cut = corpus / "Actor_01" / ACTOR_01
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
        shutil.copy(corpus / "Actor_02" / ACTOR_01.replace("-01.wav", "-02.wav"), corpus / "my voice.wav")
        partnerless = corpus / "Actor_04" / "03-01-05-01-01-02-04.wav"
        shutil.copy(corpus / "Actor_04" / "03-01-05-01-01-01-04.wav", partnerless)
        arguments = [word for word in trained[0] if not word.startswith("--runs")]
        args = ["fit", f"--data.root={corpus}", *arguments, f"--runs={tmp_path / 'runs'}", "--stages=teacher"]
        assert main(args) == 0
        out = capsys.readouterr().out
        for what, reason in (
            (cut, "truncated"),
            (corpus / "my voice.wav", "RAVDESS"),
            ("01-05-01-01-02-04", "paired"),
        ):
            assert re.search(rf"{re.escape(str(what))}: .*{reason}", out)
        summary = json.loads((tmp_path / "runs" / "fit" / "summary.json").read_text())
        assert summary["corpus"]["clips"] == {"train": 32, "val": 16, "test": 15}

    def test_damaged_videos_are_listed_and_skipped(self, tiny_videos, tmp_path, capsys):
        root = shutil.copytree(tiny_videos, tmp_path / "corpus")
        empty = root / "Actor_03" / "01-01-01-01-01-01-03.mp4"
        text = root / "Actor_03" / "01-01-02-01-01-01-03.mp4"
        assert empty.exists()
        assert text.exists()
        empty.write_bytes(b"")
        text.write_text("not a video\n" * 40)
        alone = root / "Actor_03" / "01-01-03-01-01-01-03.mp4"
        alone.unlink()
        args = ["fit", f"--data.root={root}", f"--data.cache={tmp_path / 'cache'}", f"--runs={tmp_path / 'runs'}"]
        args += ["--data.protocol=loso24", "--data.face_size=32", "--data.num_video_frames=1", "--stages=teacher"]
        args += ["--teacher.model.backbone=test_resnet", "--teacher.model.pretrained=false"]
        assert main([*args, "--teacher.trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]) == 0
        out = capsys.readouterr().out
        assert re.search(rf"{empty}: .*empty", out)
        assert re.search(rf"{text}: .*video", out)
        assert re.search(r"01-03-01-01-01-03: .*paired", out)
        summary = json.loads((tmp_path / "runs" / "fit" / "summary.json").read_text())
        assert summary["corpus"]["clips"] == {"train": 5, "val": 8, "test": 8}
        assert summary["corpus"]["excluded"] == 3

    def test_a_typo_in_a_key(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--transfer.model.kd_loss_wieght=1"])
        assert "kd_loss_wieght" in error
        assert "Did you mean transfer.model.kd_loss_weight?" in error

    def test_a_typo_in_an_encoder(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--transfer.model.encoder=ltsm"])
        assert "transfer.model.encoder" in error
        assert all(name in error for name in ("ltsm", "cnn", "dense", "lstm"))

    def test_a_missing_config(self, capsys):
        assert "gone.yaml" in fails(capsys, ["fit", "--config", "gone.yaml"])

    def test_a_fold_that_the_corpus_cannot_fill(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--data.fold=7"])
        assert "loso24 fold 7" in error and "--data.fold" in error

    def test_a_protocol_that_the_corpus_cannot_fill(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--data.protocol=seq6"])
        assert "loso24" in error

    def test_speaker_leakage_needs_an_argument(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--data.protocol=random"])
        assert "--data.allow_speaker_leakage true" in error

    def test_pretrained_weights_that_cannot_be_downloaded(self, tiny_videos, tmp_path, monkeypatch, capsys):
        import huggingface_hub.utils
        from huggingface_hub import constants

        def no_network(*args, **kwargs):
            raise OSError("no route to host")

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(huggingface_hub.utils, "get_session", no_network)
        args = [
            "fit",
            f"--data.root={tiny_videos}",
            f"--data.cache={tmp_path / 'cache'}",
            f"--runs={tmp_path / 'runs'}",
        ]
        args += ["--data.protocol=loso24", "--data.face_size=32", "--data.num_video_frames=1"]
        error = fails(capsys, [*args, "--teacher.model.backbone=test_resnet"])
        assert "test_resnet" in error
        assert "weights=FILE" in error
        assert "pretrained=False" in error

    def test_missing_face_features(self, trained, tiny_ravdess, capsys):
        args = ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--data.face_features=gone.csv"]
        assert "gone.csv" in fails(capsys, args)

    def test_a_model_trained_on_a_test_actor(self, trained, tiny_ravdess, capsys):
        args = ["test", f"--model={trained[1]}", f"--data.root={tiny_ravdess}", trained[0][0], "--data.fold=2"]
        assert "actors 03" in fails(capsys, args)

    def test_a_folder_without_a_model(self, tmp_path, capsys):
        error = fails(capsys, ["predict", "--model", tmp_path, "x.wav"])
        assert "is not a model folder" in error

    def test_an_unreadable_recording_is_skipped(self, trained, corpus, capsys):
        good, cut = corpus / "Actor_01" / ACTOR_01, corpus / "Actor_02" / ACTOR_01.replace("-01.wav", "-02.wav")
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
        args = ["predict", "--model", str(trained[1]), "--format", "json", str(good), str(cut), "gone.wav"]
        assert main(args) == 1
        captured = capsys.readouterr()
        results = {one["file"]: one for one in json.loads(captured.out)}
        assert sum(results[str(good)]["probabilities"].values()) == pytest.approx(1)
        assert "truncated" in results[str(cut)]["error"]
        assert "no such file" in results["gone.wav"]["error"]
        assert captured.err.count("crossmodal predict: ") == 2


def test_fit_test_and_predict(trained, tiny_ravdess, capsys):
    arguments, model = trained
    assert main(["fit", f"--data.root={tiny_ravdess}", *arguments]) == 0
    out = capsys.readouterr().out
    assert all(f"{stage}: reused" in out for stage in ("teacher", "control", "transfer", "finetune"))
    assert f"predict --model {model}" in out
    assert main(["test", f"--model={model}", f"--data.root={tiny_ravdess}", arguments[0], "--format=json"]) == 0
    uar = json.loads(capsys.readouterr().out)["uar"]
    assert uar == pytest.approx(
        json.loads((model.parent / "summary.json").read_text())["stages"]["finetune"]["test_uar"]
    )
    wav = tiny_ravdess / "Actor_01" / ACTOR_01
    assert main(["predict", "--model", str(model), "--format", "json", str(wav)]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert len(result["probabilities"]) == 8
    assert sum(result["probabilities"].values()) == pytest.approx(1)


def test_print_config_prints_valid_yaml(trained, tiny_ravdess, capsys):
    import yaml

    with pytest.raises(SystemExit) as raised:
        main(["fit", f"--data.root={tiny_ravdess}", *trained[0], "--print_config"])
    assert raised.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["transfer"]["model"]["encoder"] == "dense"
    assert printed["data"]["root"] == str(tiny_ravdess)


def test_an_interrupted_command_can_be_resumed(monkeypatch, capsys):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("crossmodal.pipeline.run.fit_command", stop)
    assert main(["fit"]) == 130
    assert "resume" in capsys.readouterr().err


@pytest.mark.slow
def test_a_terminated_run_is_resumed(trained, tiny_ravdess, tmp_path):
    arguments = [word for word in trained[0] if not word.startswith(("--runs", "--finetune", "--teacher"))]
    args = [sys.executable, "-m", "crossmodal", "fit", f"--data.root={tiny_ravdess}", *arguments, f"--runs={tmp_path}"]
    args += ["--stages=teacher", "--seed_everything=9", "--data.batch_size=8", "--teacher.trainer.max_epochs=100"]
    last = tmp_path / "fit" / "teacher" / "checkpoints" / "last.ckpt"
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # more threads are slower on tiny matrices
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=one_thread)
    try:
        deadline = time.monotonic() + 90
        while not last.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
    finally:
        process.kill()
    assert last.exists()
    assert not (tmp_path / "fit" / "summary.json").exists()
    again = subprocess.run(args, capture_output=True, text=True, check=False, env=one_thread)
    assert again.returncode == 0, again.stderr
    with (tmp_path / "fit" / "teacher" / "metrics.csv").open() as file:
        assert len(file.readlines()) == 101
