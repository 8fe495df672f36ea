import inspect
from pathlib import Path
from typing import ClassVar

import pytest
import yaml

from crossmodal.errors import ConfigError
from crossmodal.models import AudioClassifier
from crossmodal.pipeline.settings import STAGES, STUDENT, build_parser, merge, parse_settings, stage_config
from crossmodal.studies.study_file import read_study
from crossmodal.tasks import FinetuneTask

CONFIGS = Path(__file__).parents[2] / "configs"
REAL = "--data.root=ravdess"  # parsing does not access the folder
DEFAULTS = {"augmentation": {"speed": {}}}  # the package's defaults for transfer.model


def write(folder, name, **settings):
    path = folder / name
    path.write_text(yaml.safe_dump(settings))
    return f"--config={path}"


def test_later_files_override_earlier_ones_and_arguments_override_files(tmp_path):
    first = write(tmp_path, "first.yaml", transfer={"model": {"encoder": "cnn", "kd_loss": "dist", "temperature": 4.0}})
    second = write(tmp_path, "second.yaml", transfer={"model": {"kd_loss": "kd", "temperature": 5.0}})
    model = parse_settings([first, second, "--transfer.model.temperature=6", REAL])["transfer"]["model"]
    assert model == DEFAULTS | {"encoder": "cnn", "kd_loss": "kd", "temperature": 6.0}
    swapped = parse_settings([second, first, REAL])["transfer"]["model"]
    assert swapped == DEFAULTS | {"encoder": "cnn", "kd_loss": "dist", "temperature": 4.0}


def test_defaults_of_the_package():
    settings = parse_settings([REAL])
    assert (settings["name"], settings["runs"], settings["seed_everything"]) == ("fit", "runs", 0)
    assert settings["stages"] == "teacher,supervised,control,transfer,finetune"
    assert settings["teacher"]["trainer"]["max_epochs"] > 12
    assert "model" not in settings["teacher"]


def test_only_the_synthetic_corpus_has_its_own_defaults():
    synthetic, real = parse_settings([]), parse_settings([REAL])
    assert synthetic["teacher"]["model"]["pretrained"] is False  # it must run without network
    assert synthetic["teacher"]["trainer"]["max_epochs"] < real["teacher"]["trainer"]["max_epochs"]
    assert "face_size" not in real["data"]
    assert synthetic["data"]["face_size"] == 64


@pytest.mark.parametrize("source", ["root", "manifest"])
def test_a_corpus_in_a_file_equals_an_argument(tmp_path, source):
    config = write(tmp_path, "mine.yaml", data={source: "ravdess"})
    settings = parse_settings([config])
    assert settings == parse_settings([f"--data.{source}=ravdess"])
    assert "backbone" not in settings["teacher"].get("model", {})


def test_settings_override_the_synthetic_defaults(tmp_path):
    config = write(tmp_path, "mine.yaml", data={"face_size": 96}, teacher={"model": {"pretrained": True}})
    settings = parse_settings([config, "--teacher.trainer.max_epochs=1"])
    assert settings["data"]["face_size"] == 96
    assert settings["teacher"]["model"]["pretrained"] is True
    assert settings["teacher"]["model"]["backbone"] == "test_efficientnet"
    assert settings["teacher"]["trainer"]["max_epochs"] == 1


@pytest.mark.parametrize(
    "argument, nearest",
    [
        ("--transfer.model.kd_loss_wieght=1", "transfer.model.kd_loss_weight"),
        ("--transfer.modle.encoder=cnn", "transfer.model.encoder"),
        ("--data.roto=ravdess", "data.root"),
        ("--data.batchsize=8", "data.batch_size"),
        ("--teacher.trainer.max_epcohs=3", "teacher.trainer.max_epochs"),
        ("--sed_everything=3", "seed_everything"),
    ],
)
def test_an_unknown_key_suggests_the_nearest_one(argument, nearest):
    with pytest.raises(ConfigError, match=rf"mean {nearest}\?"):
        parse_settings([argument])


def test_an_unknown_key_in_a_file_suggests_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match=r"mean (transfer\.model\.)?kd_loss_weight\?"):
        parse_settings([write(tmp_path, "mine.yaml", transfer={"model": {"kd_loss_wieght": 1.0}})])


@pytest.mark.parametrize(
    "argument, words",
    [
        ("--transfer.model.encoder=ltsm", "transfer.model.encoder cnn dense lstm ltsm"),
        ("--transfer.model.front_end=mffc", "transfer.model.front_end lmfb mfcc mffc"),
        ("--transfer.model.kd_loss=kl", "transfer.model.kd_loss dist kd logit_std kl"),
        ("--data.protocol=loso", "data.protocol seq6 luna5 loso24 random"),
        ("--data.channel=speach", "data.channel speech song both speach"),
        ("--data.fold=x", "data.fold"),
        ("--transfer.model.kd_loss_weight=much", "float"),
        ("--data.allow_speaker_leakage=maybe", "bool"),
        ("--config=gone.yaml", "gone.yaml"),
        ("--xyzzy=1", "xyzzy --print_config"),
        ("--stage=teacher", "stage"),  # keys cannot be abbreviated
        *((f"--finetune.model.{key}=1", f"finetune.model.{key}") for key in [*STUDENT, "num_classes"]),
        *((f"--transfer.model.{key}=1", f"transfer.model.{key}") for key in ("teacher", "weights")),
    ],
)
def test_an_invalid_argument_is_named(argument, words):
    with pytest.raises(ConfigError) as raised:
        parse_settings([argument])
    assert all(word in str(raised.value) for word in words.split())


@pytest.mark.parametrize(
    "text",
    [
        "data: {root: [unclosed\n",
        "name: " + "[" * 100_000,
        "name: &a [*a]\n",
        "name: " + "9" * 5_000,
        "name: !!python/object/apply:os.getcwd []",
        "name: !!bool x",
    ],
    ids=lambda text: text[:12],
)
def test_a_malformed_file_is_a_config_error(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        parse_settings([f"--config={path}"])
    with pytest.raises(ConfigError):
        read_study(path)


def test_files_may_have_scientific_numbers_and_anchors(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("teacher: {model: &m {lr: 1e-3}}\nfinetune: {model: *m}\nname: 2020-02-02\n")
    settings = parse_settings([f"--config={path}"])
    assert settings["teacher"]["model"]["lr"] == settings["finetune"]["model"]["lr"] == 1e-3
    assert settings["name"] == "2020-02-02"


def test_student_arguments_match_the_audio_classifier():
    of_the_model = set(inspect.signature(AudioClassifier).parameters) - {"num_classes"}
    of_the_task = set(inspect.signature(FinetuneTask).parameters)
    assert of_the_model <= of_the_task


def test_defaults_of_task_and_model_agree():
    model, task = (inspect.signature(one).parameters for one in (AudioClassifier, FinetuneTask))
    assert {name: model[name].default for name in STUDENT} == {name: task[name].default for name in STUDENT}


@pytest.mark.parametrize(
    "words",
    [
        ["--trainer.logger", "wandb"],
        ["--trainer.logger=wandb"],
        ["--trainer.logger", "WandbLogger"],
        ["--trainer.logger=lightning.pytorch.loggers.WandbLogger"],
    ],
    ids=" ".join,
)
def test_shorthands_for_the_wandb_logger(words):
    logger = parse_settings([REAL, *words, "--trainer.logger.offline", "true"])["trainer"]["logger"]
    assert logger["class_path"] == "lightning.pytorch.loggers.WandbLogger"
    assert logger["init_args"] == {"offline": True}


class TestStageConfig:
    settings = staticmethod(
        lambda *more: parse_settings(
            [
                REAL,
                "--seed_everything=5",
                "--data.face_features=au.csv",
                "--data.fold=2",
                "--trainer.gradient_clip_val=0.5",
                *("--transfer.model.encoder=cnn", "--transfer.model.encoder_kwargs.dropout=0.1"),
                *("--transfer.model.embedding_size=32", "--transfer.model.lr=0.002"),
                *("--transfer.model.weight_decay=0.01", "--transfer.model.kd_loss=dist"),
                "--transfer.trainer.max_epochs=7",
                "--transfer.trainer.gradient_clip_val=2.0",
                "--finetune.trainer.max_epochs=4",
                "--finetune.model.lr=0.0001",
                *more,
            ]
        )
    )
    STUDENT_SET: ClassVar = DEFAULTS | {"encoder": "cnn", "encoder_kwargs": {"dropout": 0.1}, "embedding_size": 32}

    def test_supervised_has_the_settings_of_transfer_without_the_teacher(self):
        config, transfer = (stage_config(self.settings(), stage) for stage in ("supervised", "transfer"))
        assert config["model"] == self.STUDENT_SET | {"lr": 0.002, "weight_decay": 0.01}
        assert transfer["model"] == config["model"] | {"kd_loss": "dist"}
        assert config["trainer"] == transfer["trainer"]
        assert (config["trainer"]["max_epochs"], config["trainer"]["gradient_clip_val"]) == (7, 2.0)
        assert config["data"] | {"face_features": "au.csv"} == transfer["data"]

    def test_the_control_has_the_settings_of_finetune(self):
        weights = {"weights": "student.safetensors"}
        assert stage_config(self.settings(), "control", model=weights) == stage_config(
            self.settings(), "finetune", model=weights
        )

    def test_finetune_inherits_student_and_training_of_transfer(self):
        config = stage_config(self.settings(), "finetune", model={"weights": "student.safetensors"})
        model = {"lr": 0.0001, "weight_decay": 0.01, "weights": "student.safetensors"}
        assert config["model"] == self.STUDENT_SET | model
        assert config["trainer"]["max_epochs"] == 4
        assert config["trainer"]["gradient_clip_val"] == 0.5

    def test_transfer_has_its_whole_section(self):
        config = stage_config(self.settings(), "transfer", model={"num_classes": 8}, data={"teacher_outputs": "file"})
        model = {"lr": 0.002, "weight_decay": 0.01, "kd_loss": "dist", "num_classes": 8}
        assert config["model"] == self.STUDENT_SET | model
        assert config["data"]["teacher_outputs"] == "file"

    @pytest.mark.parametrize("stage", STAGES)
    def test_all_stages_share_seed_and_fold(self, stage):
        config = stage_config(self.settings(), stage)
        assert config["seed_everything"] == config["data"]["seed"] == 5
        assert config["data"]["fold"] == 2

    @pytest.mark.parametrize("stage", ["supervised", "control", "finetune"])
    def test_stages_without_a_teacher_have_no_face_arguments(self, stage):
        assert "face_features" not in stage_config(self.settings(), stage)["data"]
        assert stage_config(self.settings(), "teacher")["data"]["face_features"] == "au.csv"

    def test_stage_config_does_not_change_the_settings(self):
        settings = self.settings()
        before = repr(settings)
        stage_config(settings, "control", model={"num_classes": 6}, data={"fold": 1})
        assert repr(settings) == before


def test_merge_is_recursive_and_changes_neither_argument():
    base = {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    delta = {"a": {"y": {"z": 5, "w": 6}}, "b": {"c": 1}, "d": None}
    assert merge(base, delta) == {"a": {"x": 1, "y": {"z": 5, "w": 6}}, "b": {"c": 1}, "d": None}
    assert base == {"a": {"x": 1, "y": {"z": 2}}, "b": 3}
    assert delta == {"a": {"y": {"z": 5, "w": 6}}, "b": {"c": 1}, "d": None}


def test_every_key_has_help():
    sections = ("data.", "teacher.model.", "transfer.model.", "finetune.model.")
    actions = [action for action in build_parser()._actions if action.dest.startswith(sections)]
    assert [action.dest for action in actions if not action.help] == []


def test_a_trainer_setting_overrides_the_defaults_of_a_stage():
    settings = parse_settings(["--data.root=x", "--trainer.max_epochs=1", "--finetune.trainer.max_epochs=2"])
    epochs = {stage: stage_config(settings, stage)["trainer"]["max_epochs"] for stage in STAGES}
    assert epochs == {"teacher": 1, "supervised": 1, "control": 2, "transfer": 1, "finetune": 2}


@pytest.mark.parametrize("section", ["data", "trainer", "teaching", "teacher", "transfer.model", "finetune.trainer"])
@pytest.mark.parametrize("value", [5, "x", [1], None])
def test_a_value_in_place_of_a_section_is_refused(tmp_path, section, value):
    settings = value
    for name in reversed(section.split(".")):
        settings = {name: settings}
    with pytest.raises(ConfigError, match=section):
        parse_settings([write(tmp_path, "mine.yaml", **settings)])


def test_the_cached_parser_parses_like_a_new_one(monkeypatch):
    commands = [
        [REAL, f"--config={CONFIGS / 'dense.yaml'}"],
        [REAL, "--trainer.logger=wandb", "--trainer.logger.offline=true"],
        [REAL, "--data.fold=x"],
        [REAL, "--transfer.model.more_losses={rkd: 0.1}", "--transfer.model.encoder_kwargs.num_layers=2"],
        [REAL, "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_loss"],
        ["--typo=1"],
        [],
    ]

    def parse_each(commands):
        return [outcome_of(command) for command in commands]

    cached, reverse = parse_each(commands), parse_each(commands[::-1])[::-1]
    monkeypatch.setattr("crossmodal.pipeline.settings.build_parser", build_parser.__wrapped__)
    assert cached == reverse == parse_each(commands)


def outcome_of(command):
    """Return the settings, or the message of the error."""
    try:
        return parse_settings(command)
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize("text", ["data: &a {x: *a}", "teacher: &a [1, [*a]]"])
def test_a_config_that_contains_itself_is_refused(tmp_path, text):
    path = tmp_path / "self.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"self\.yaml.*alias"):
        parse_settings(["--config", str(path)])
