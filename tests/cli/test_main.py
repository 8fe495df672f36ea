import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from jsonargparse import ArgumentParser

from crossmodal import __version__
from crossmodal.cli.main import COMMANDS, main
from crossmodal.datamodules import AudioDataModule
from crossmodal.pipeline.settings import build_parser

ACTOR_01 = "03-01-05-01-01-01-01.wav"


@pytest.fixture(scope="module")
def trained(tiny_ravdess, tiny_face_features, tmp_path_factory):
    """Return the shared arguments and the folder of a model that was trained with them."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = [f"--data.cache={folder / 'cache'}", f"--data.face_features={tiny_face_features}"]
    arguments += [f"--runs={folder / 'runs'}", "--data.protocol=loso24", "--transfer.model.encoder=dense"]
    arguments += [f"--{stage}.trainer.max_epochs=1" for stage in ("teacher", "transfer", "finetune")]
    arguments.append("--trainer.enable_progress_bar=false")
    assert main(["fit", f"--data.root={tiny_ravdess}", *arguments]) == 0
    return arguments, folder / "runs" / "fit" / "model"


def fails(capsys, *args):
    """Run a command that fails and return its error message, which has no traceback."""
    assert main([str(arg) for arg in args]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert f"crossmodal {args[0]}: " in error
    return error


def keys_of(name):
    """Return the keys of a command whose help is written by hand, with their types, from its real parser."""
    if name == "test":
        parser = ArgumentParser()
        parser.add_class_arguments(AudioDataModule, "data")
        return {action.dest: getattr(action, "_typehint", None) for action in parser._actions} | dict.fromkeys(
            ("model", "backend", "format", "trust_own_code", "data.key")
        )
    keys = {action.dest: getattr(action, "_typehint", None) for action in build_parser()._actions}
    return keys | dict.fromkeys(("key", "trainer.logger.offline"))


def choices_of(hint):
    """Return the strings of all Literals in a type."""
    return {choice for part in get_args(hint) for choice in ([part] if isinstance(part, str) else choices_of(part))}


def options_of(text):
    """Yield the key and the description of each option of a help text."""
    for key, description in re.findall(r"^ {2}--(\S+)[^\n]*? {2,}(.*(?:\n {20,}.*)*)", text, re.MULTILINE):
        yield key, " ".join(description.split())


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
            "heavy = {'torch', 'lightning', 'timm', 'jsonargparse', 'matplotlib', 'wandb'} & set(sys.modules)\n"
            "print(status, heavy, file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *name.split(), "--help"], capture_output=True, text=True, check=True
        )
        assert done.stderr == "0 set()\n"
        assert done.stdout.startswith(f"usage: crossmodal {name}")
        assert len(done.stdout.splitlines()) > 5
        assert max(map(len, done.stdout.splitlines())) <= 120

    @pytest.mark.parametrize("name", ["fit", "test", "study preflight"])
    def test_keys_in_a_written_help_exist(self, name):
        text = COMMANDS[name].usage
        expanded = [text.replace("{teacher,transfer,finetune}", stage) for stage in ("teacher", "transfer", "finetune")]
        keys = {key for one in expanded for key in re.findall(r"--([a-z_][a-z_.]*)", one)} - {"help"}
        assert len(keys) > 4
        assert keys <= keys_of(name).keys()
        if name == "fit":  # mentioned without their prefix
            for key in ("kd_loss_weight", "temperature", "align_loss_weight", "more_losses"):
                assert key in text
                assert f"transfer.model.{key}" in keys_of(name)

    def test_choices_in_the_help_of_fit_are_those_of_the_parser(self):
        types, checked = keys_of("fit"), set()
        for key, description in options_of(COMMANDS["fit"].usage):
            if choices := choices_of(types.get(key)):
                names = re.split(r", | or ", re.sub(r" \([^)]*\)", "", description).partition(";")[0])
                assert {name for name in names if re.fullmatch(r"\w+", name)} == choices, key
                checked.add(key)
        assert checked >= {"data.channel", "data.label_set", "data.protocol", "teaching.by"}
        assert checked >= {f"transfer.model.{key}" for key in ("front_end", "encoder", "kd_loss", "align_loss")}


class TestInvalidCommandLines:
    @pytest.mark.parametrize(
        "args, typed, meant",
        [
            (["fti"], "fti", "fit"),
            (["predcit", "x.wav"], "predcit", "predict"),
            (["data", "prepair", "x"], "data prepair", "data prepare"),
            (["study", "preflihgt"], "study preflihgt", "study preflight"),
            (["xyzzy"], "xyzzy", None),
        ],
    )
    def test_a_typo_names_the_nearest_command_and_lists_all(self, args, typed, meant, capsys):
        assert main(args) == 2
        error = capsys.readouterr().err
        assert repr(typed) in error
        assert re.findall(r"Did you mean '(.*)'", error) == ([meant] if meant else [])
        assert "usage: crossmodal COMMAND" in error and "data synthesize" in error

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
    """One line of error and status 1."""

    @pytest.mark.parametrize(
        "argument, words",
        [
            ("--data.root=gone", ["gone"]),
            ("--transfer.model.encoder=ltsm", ["transfer.model.encoder", "ltsm", "cnn", "dense", "lstm"]),
            ("--data.fold=7", ["loso24 fold 7", "--data.fold"]),
            ("--data.protocol=seq6", ["loso24"]),
            ("--data.protocol=random", ["--data.allow_speaker_leakage true"]),
            ("--data.face_features=gone.csv", ["gone.csv"]),
        ],
    )
    def test_an_invalid_argument_of_fit(self, trained, tiny_ravdess, capsys, argument, words):
        error = fails(capsys, "fit", f"--data.root={tiny_ravdess}", *trained[0], argument)
        assert all(word in error for word in words)

    @pytest.mark.parametrize(
        "words, nearest",
        [
            ("fit --transfer.model.kd_loss_wieght=1", "transfer.model.kd_loss_weight"),
            ("fit --lr 0.1", "teacher.model.lr"),
            ("fit --trianer.max_epochs 3", "trainer.max_epochs"),
            ("fit --trainer.max_epoch 3", "trainer.max_epochs"),
            ("fit --trainer.logger CSVLogger --trainer.logger.flush_logs_every 3", ""),
            ("fit --config typo.yaml", "data.root"),
            ("study preflight --data.rot x", "data.root"),
            ("study run teaching --data.rot x", "data.root"),
            ("study run study.yaml", "transfer.model.kd_loss"),
            ("test --modle x", "model"),
            ("test --model x --fold 1", "data.fold"),
        ],
    )
    def test_an_unknown_key(self, capsys, tmp_path, monkeypatch, words, nearest):
        monkeypatch.chdir(tmp_path)
        Path("typo.yaml").write_text("data: {rot: x}\n")
        Path("study.yaml").write_text("methods: {a: {transfer: {model: {kd_los: dist}}}}\n")
        assert main(words.split()) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert f"Did you mean {nearest}?" in error or not nearest

    def test_a_model_trained_on_a_test_actor(self, trained, tiny_ravdess, capsys):
        args = ["test", f"--model={trained[1]}", f"--data.root={tiny_ravdess}", trained[0][0], "--data.fold=2"]
        assert "actors 03" in fails(capsys, *args)

    @pytest.mark.parametrize("command", ["data check", "data manifest cremad", "fit --data.root", "export"])
    def test_a_name_that_the_terminal_cannot_show_is_escaped(self, command, tmp_path, monkeypatch):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        assert main([*command.split(), str(tmp_path / "\u65e5\u672c")]) == 1
        sys.stderr.flush()
        assert b"\\u65e5\\u672c" in sys.stderr.buffer.getvalue()


def test_fit_test_and_predict(trained, tiny_ravdess, capsys):
    arguments, model = trained
    assert main(["fit", f"--data.root={tiny_ravdess}", *arguments]) == 0
    out = capsys.readouterr().out
    assert all(f"{stage}: reused" in out for stage in ("teacher", "supervised", "control", "transfer", "finetune"))
    summary = json.loads((model.parent / "summary.json").read_text())
    recommended = {"student": "model", "control": "control_model"}[summary["recommended"]["model"]]
    assert f"predict --model {summary[recommended]}" in out
    assert main(["test", f"--model={model}", f"--data.root={tiny_ravdess}", arguments[0], "--format=json"]) == 0
    uar = json.loads(capsys.readouterr().out)["uar"]
    assert uar == pytest.approx(summary["stages"]["finetune"]["test_uar"])
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
