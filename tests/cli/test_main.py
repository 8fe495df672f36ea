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
    """The words that every test here shares, and the folder of a model that was trained with them."""
    folder = tmp_path_factory.mktemp("trained")
    words = [
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
    assert main(["fit", f"--data.root={tiny_ravdess}", *words]) == 0
    return words, folder / "runs" / "fit" / "model"


@pytest.fixture
def corpus(tiny_ravdess, tmp_path):
    """A copy that may be damaged."""
    return shutil.copytree(tiny_ravdess, tmp_path / "corpus")


def fails(capsys, args, status=1):
    """Run a command that fails, and return what it says: a line of its own and no traceback."""
    assert main([str(arg) for arg in args]) == status
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert f"crossmodal {' '.join(args[:2]) if args[0] == 'data' else args[0]}: " in error
    return error


class TestHelp:
    @pytest.mark.parametrize(
        "args", [[], ["--help"], ["-h"], ["help"], ["data"], ["data", "--help"], ["study"], ["study", "-h"]], ids=str
    )
    def test_the_overview_names_every_command(self, args, capsys):
        assert main(args) == 0
        said = capsys.readouterr().out
        for name, command in COMMANDS.items():
            assert re.search(rf"^  {name} +{re.escape(command.summary)}$", said, re.MULTILINE)

    def test_the_version(self, capsys):
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"crossmodal {__version__}\n"

    @pytest.mark.parametrize("name", COMMANDS)
    def test_each_command_explains_itself_without_torch(self, name):
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

    def test_every_key_that_fits_help_names_exists(self):
        from crossmodal.pipeline.settings import STAGES, build_parser

        known = {action.dest for action in build_parser()._actions} | {"key", "trainer.logger.offline"}
        text = COMMANDS["fit"].usage
        expanded = [text.replace("{teacher,transfer,finetune}", stage) for stage in STAGES if stage != "control"]
        named = {key for one in expanded for key in re.findall(r"--([a-z_][a-z_.]*)", one)}
        assert len(named) > 20
        # The rest of `kd_loss, with kd_loss_weight and temperature` stands without its prefix.
        assert named <= known
        for word in ("kd_loss_weight", "temperature", "align_loss_weight"):
            assert word in text
            assert f"transfer.model.{word}" in known

    def test_every_key_that_tests_help_names_exists(self):
        from jsonargparse import ArgumentParser

        from crossmodal.datamodules import RAVDESSAudioDataModule

        parser = ArgumentParser()
        parser.add_class_arguments(RAVDESSAudioDataModule, "data")
        known = {action.dest for action in parser._actions} | {"model", "backend", "format", "data.key"}
        assert set(re.findall(r"--([a-z_][a-z_.]*)", COMMANDS["test"].usage)) <= known

    def test_the_names_in_fits_help_are_all_that_there_are(self):
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


class TestLinesThatMakeNoSense:
    @pytest.mark.parametrize(
        "args, typed, meant",
        [
            (["fti"], "fti", "fit"),
            (["predcit", "x.wav"], "predcit", "predict"),
            (["data", "prepair", "x"], "data prepair", "data prepare"),
            (["study", "preflihgt"], "study preflihgt", "study preflight"),
        ],
    )
    def test_a_mistyped_command_gets_the_nearest_one(self, args, typed, meant, capsys):
        assert main(args) == 2
        error = capsys.readouterr().err
        assert f"there is no command {typed!r}. Did you mean {meant!r}?" in error
        assert "usage: crossmodal COMMAND" in error

    def test_a_command_like_no_other_gets_the_list(self, capsys):
        assert main(["xyzzy"]) == 2
        error = capsys.readouterr().err
        assert "there is no command 'xyzzy'." in error
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
    def test_missing_or_impossible_arguments(self, args, message, capsys):
        with pytest.raises(SystemExit) as raised:
            main(args)
        assert raised.value.code == 2
        assert re.search(message, capsys.readouterr().err)


class TestBadInput:
    """One clear line and status 1; the good clips beside are used, the bad ones listed."""

    def test_a_missing_root(self, trained, tmp_path, capsys):
        error = fails(capsys, ["fit", f"--data.root={tmp_path / 'gone'}", *trained[0]])
        assert str(tmp_path / "gone") in error

    def test_a_folder_with_no_clips(self, trained, tmp_path, capsys):
        (tmp_path / "notes.txt").write_text("nothing to hear")
        error = fails(capsys, ["fit", f"--data.root={tmp_path}", *trained[0]])
        assert "There is no RAVDESS speech clip under" in error
        assert "zenodo.org/records/1188976" in error

    def test_a_folder_with_zips_only(self, trained, tmp_path, capsys):
        (tmp_path / "Audio_Speech_Actors_01-24.zip").write_bytes(b"PK")
        error = fails(capsys, ["fit", f"--data.root={tmp_path}", *trained[0]])
        assert "Audio_Speech_Actors_01-24.zip first: extract them there" in error

    def test_a_folder_of_names_that_are_not_ravdess(self, trained, tiny_ravdess, tmp_path, capsys):
        shutil.copy(tiny_ravdess / "Actor_01" / ACTOR_01, tmp_path / "happy.wav")
        error = fails(capsys, ["fit", f"--data.root={tmp_path}", *trained[0]])
        assert "happy.wav" in error
        assert "not a RAVDESS name" in error

    def test_bad_clips_are_listed_and_the_good_ones_used(self, trained, corpus, tmp_path, capsys):
        cut = corpus / "Actor_01" / ACTOR_01
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
        shutil.copy(corpus / "Actor_02" / ACTOR_01.replace("-01.wav", "-02.wav"), corpus / "my voice.wav")
        partnerless = corpus / "Actor_04" / "03-01-05-01-01-02-04.wav"
        shutil.copy(corpus / "Actor_04" / "03-01-05-01-01-01-04.wav", partnerless)
        words = [word for word in trained[0] if not word.startswith("--runs")]
        args = ["fit", f"--data.root={corpus}", *words, f"--runs={tmp_path / 'runs'}", "--stages=teacher"]
        assert main(args) == 0
        said = capsys.readouterr().out
        assert "3 file(s) or clip(s) set aside" in said
        for what, reason in (
            (cut, "the file is cut"),
            (corpus / "my voice.wav", "not a RAVDESS name"),
            ("01-05-01-01-02-04", "no partner"),
        ):
            assert re.search(rf"{re.escape(str(what))}: .*{reason}", said)
        summary = json.loads((tmp_path / "runs" / "fit" / "summary.json").read_text())
        assert summary["corpus"]["clips"] == {"train": 32, "val": 16, "test": 15}

    def test_damaged_videos_are_listed_and_the_good_ones_used(self, tiny_videos, tmp_path, capsys):
        root = shutil.copytree(tiny_videos, tmp_path / "corpus")
        empty = root / "Actor_03" / "01-01-01-01-01-01-03.mp4"
        text = root / "Actor_03" / "01-01-02-01-01-01-03.mp4"
        assert empty.exists()
        assert text.exists()
        empty.write_bytes(b"")
        text.write_text("this is not a video, whatever its name says\n" * 20)
        alone = root / "Actor_03" / "01-01-03-01-01-01-03.mp4"
        alone.unlink()
        args = ["fit", f"--data.root={root}", f"--data.cache={tmp_path / 'cache'}", f"--runs={tmp_path / 'runs'}"]
        args += ["--data.protocol=loso24", "--data.face_size=32", "--data.num_video_frames=1", "--stages=teacher"]
        args += ["--teacher.model.backbone=test_resnet", "--teacher.model.pretrained=false"]
        assert main([*args, "--teacher.trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]) == 0
        said = capsys.readouterr().out
        assert re.search(rf"{empty}: .*empty", said)
        assert re.search(rf"{text}: .*video", said)
        assert "01-03-01-01-01-03: no partner: there is no video for this sound" in said
        summary = json.loads((tmp_path / "runs" / "fit" / "summary.json").read_text())
        assert summary["corpus"]["clips"] == {"train": 5, "val": 8, "test": 8}
        assert summary["corpus"]["set_aside"] == 3

    def test_a_mistyped_key(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--transfer.model.kd_loss_wieght=1"])
        assert "kd_loss_wieght" in error
        assert "Did you mean transfer.model.kd_loss_weight?" in error

    def test_a_mistyped_encoder(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--transfer.model.encoder=ltsm"])
        assert "transfer.model.encoder" in error
        assert all(name in error for name in ("ltsm", "cnn", "dense", "lstm"))

    def test_a_missing_configuration(self, capsys):
        assert "gone.yaml" in fails(capsys, ["fit", "--config", "gone.yaml"])

    def test_a_fold_that_the_corpus_cannot_fill(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--data.fold=7"])
        assert "cannot fill loso24 fold 7" in error
        assert "choose one with --data.fold" in error

    def test_a_protocol_that_the_corpus_cannot_fill(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--data.protocol=seq6"])
        assert "loso24 needs the fewest actors (three)" in error

    def test_speaker_leakage_that_nobody_asked_for(self, trained, tiny_ravdess, capsys):
        error = fails(capsys, ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--data.protocol=random"])
        assert "--data.allow_speaker_leakage true" in error

    def test_pretrained_weights_that_cannot_be_fetched(self, tiny_videos, tmp_path, monkeypatch, capsys):
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
        assert "weights of 'test_resnet' cannot be had" in error
        assert "weights=FILE" in error
        assert "pretrained=False" in error

    def test_face_features_that_are_not_there(self, trained, tiny_ravdess, capsys):
        args = ["fit", f"--data.root={tiny_ravdess}", *trained[0], "--data.face_features=gone.csv"]
        assert "There are no face features at gone.csv" in fails(capsys, args)

    def test_a_model_that_has_seen_a_test_actor(self, trained, tiny_ravdess, capsys):
        args = ["test", f"--model={trained[1]}", f"--data.root={tiny_ravdess}", trained[0][0], "--data.fold=2"]
        assert "actors 03" in fails(capsys, args)

    def test_a_folder_that_is_no_model(self, tmp_path, capsys):
        error = fails(capsys, ["predict", "--model", tmp_path, "x.wav"])
        assert "is not a model folder" in error

    def test_a_recording_that_cannot_be_read_beside_one_that_can(self, trained, corpus, capsys):
        good, cut = corpus / "Actor_01" / ACTOR_01, corpus / "Actor_02" / ACTOR_01.replace("-01.wav", "-02.wav")
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
        args = ["predict", "--model", str(trained[1]), "--format", "json", str(good), str(cut), "gone.wav"]
        assert main(args) == 1
        said = capsys.readouterr()
        heard = {one["file"]: one for one in json.loads(said.out)}
        assert sum(heard[str(good)]["probabilities"].values()) == pytest.approx(1)
        assert "cut" in heard[str(cut)]["error"]
        assert "no such file" in heard["gone.wav"]["error"]
        assert said.err.count("crossmodal predict: ") == 2


def test_the_commands_of_a_whole_run(trained, tiny_ravdess, capsys):
    words, model = trained
    assert main(["fit", f"--data.root={tiny_ravdess}", *words]) == 0
    said = capsys.readouterr().out
    assert all(f"{stage}: reused" in said for stage in ("teacher", "control", "transfer", "finetune"))
    assert f"predict --model {model}" in said
    assert main(["test", f"--model={model}", f"--data.root={tiny_ravdess}", words[0], "--format=json"]) == 0
    uar = json.loads(capsys.readouterr().out)["uar"]
    assert uar == pytest.approx(
        json.loads((model.parent / "summary.json").read_text())["stages"]["finetune"]["test_uar"]
    )
    wav = tiny_ravdess / "Actor_01" / ACTOR_01
    assert main(["predict", "--model", str(model), "--format", "json", str(wav)]) == 0
    (heard,) = json.loads(capsys.readouterr().out)
    assert len(heard["probabilities"]) == 8
    assert sum(heard["probabilities"].values()) == pytest.approx(1)


def test_print_config_prints_keys_that_can_be_read_again(trained, tiny_ravdess, capsys):
    import yaml

    with pytest.raises(SystemExit) as raised:
        main(["fit", f"--data.root={tiny_ravdess}", *trained[0], "--print_config"])
    assert raised.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["transfer"]["model"]["encoder"] == "dense"
    assert printed["data"]["root"] == str(tiny_ravdess)


def test_a_stopped_command_says_how_to_go_on(monkeypatch, capsys):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("crossmodal.pipeline.run.fit_command", stop)
    assert main(["fit"]) == 130
    assert "the same command goes on where it was" in capsys.readouterr().err


@pytest.mark.slow
def test_a_terminated_run_says_so_and_goes_on(trained, tiny_ravdess, tmp_path):
    words = [word for word in trained[0] if not word.startswith(("--runs", "--finetune", "--teacher"))]
    args = [sys.executable, "-m", "crossmodal", "fit", f"--data.root={tiny_ravdess}", *words, f"--runs={tmp_path}"]
    args += ["--stages=teacher", "--seed_everything=9", "--data.batch_size=8", "--teacher.trainer.max_epochs=100"]
    last = tmp_path / "fit" / "teacher" / "checkpoints" / "last.ckpt"
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # tiny matrices on a busy machine wait for more
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
