"""Settings of `crossmodal fit`: the parser, and the configuration of each stage."""

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser
from lightning.pytorch import LightningDataModule, Trainer

from crossmodal.datamodules import AudioDataModule, PairedDataModule, VideoDataModule
from crossmodal.datamodules.settings import CORPORA, CorpusSettings
from crossmodal.datasets.splits.own_protocol import is_own_protocol
from crossmodal.datasets.splits.protocols import PROTOCOLS
from crossmodal.errors import ConfigError, UnknownKeyError
from crossmodal.models import AudioClassifier
from crossmodal.naming import lookup
from crossmodal.pipeline.checks import check_bounds
from crossmodal.pipeline.teaching import TeachingSettings
from crossmodal.setting_keys import suggest_key
from crossmodal.shipped_configs import find_config
from crossmodal.tasks import BaseTask, ControlTask, FinetuneTask, SupervisedTask, TeacherTask, TransferTask

Config = dict[str, Any]


class StageClasses(NamedTuple):
    """The classes of a stage."""

    task: type[BaseTask]
    datamodule: type[LightningDataModule]


STAGES = {
    "teacher": StageClasses(TeacherTask, VideoDataModule),
    "supervised": StageClasses(SupervisedTask, AudioDataModule),
    "control": StageClasses(ControlTask, AudioDataModule),
    "transfer": StageClasses(TransferTask, PairedDataModule),
    "finetune": StageClasses(FinetuneTask, AudioDataModule),
}
_FOLDER = Path(__file__).parent
_DEFAULTS, _SYNTHETIC = _FOLDER / "defaults.yaml", _FOLDER / "synthetic.yaml"

# Arguments of the student and of its training. They are set under transfer; finetune inherits them and may override
# those of the training. Supervised and control have the settings of transfer and finetune, without a teacher.
STUDENT = tuple(name for name in inspect.signature(AudioClassifier).parameters if name != "num_classes")
_TRAINING = ("augmentation", "stored_copies", "pretrained_lr")
_RECIPE = (*_TRAINING, *(name for name in inspect.signature(BaseTask).parameters if name != "num_classes"))
_LOGGERS = {"wandb": "WandbLogger", "csv": "CSVLogger", "tensorboard": "TensorBoardLogger"}
# Arguments that the pipeline sets for each stage.
_FILLED_IN = ("num_classes", "weights", "teacher", "teacher_embedding_size")
_OF_A_LIVE_TEACHER = ("teacher_actors", "horizontal_flip")  # arguments of a task without stored outputs


class _ConfigByName(ActionConfigFile):
    """Read a config by path, by the name of a shipped config, or from the text of the argument itself."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        config = values if values.lstrip().startswith("{") else str(find_config(values))
        content = check_recursion(config)
        trainer = content.get("trainer") if isinstance(content, Mapping) else None
        if isinstance(trainer, Mapping) and (filled := _with_folder(trainer.get("logger"))) != trainer.get("logger"):
            config = json.dumps(merge(content, {"trainer": {"logger": filled}}), default=str)
        super().__call__(parser, cfg, config, option_string)


def check_recursion(config: str) -> Any:
    """Return YAML, or None if it is invalid; raise ConfigError if a part contains itself: jsonargparse would hang."""
    try:
        content = yaml.safe_load(config if config.lstrip().startswith("{") else Path(config).read_text("utf-8"))
    except Exception:  # PyYAML's constructors raise errors of many types; the parser reports them
        return None
    try:
        json.dumps(content, default=str, skipkeys=True)
    except ValueError as error:
        raise ConfigError(f"{config}: a part of it contains itself through an alias (*).") from error
    except RecursionError:  # nested too deep, which the parser reports
        return None
    return content


@cache
def build_parser() -> ArgumentParser:
    """Return the parser of the whole run. It is cached, because building it is slower than parsing."""
    parser = ArgumentParser(prog="crossmodal fit", allow_abbrev=False)
    config = "A YAML file or the name of a shipped config; later ones override earlier ones."
    parser.add_argument("--config", action=_ConfigByName, help=config)
    parser.add_argument("--name", type=str, default="fit", help="Name of the run: runs/<name>.")
    parser.add_argument("--runs", type=str, default="runs", help="Folder of all runs.")
    resume = "Fail if there is no run to resume; without it, an interrupted run is resumed and a new one is started."
    parser.add_argument("--resume", type=bool, default=False, help=resume)
    parser.add_argument("--stages", type=str, default=",".join(STAGES), help="Comma-separated stages to run.")
    parser.add_argument("--seed_everything", type=int, default=0, help="Seed of the run.")
    parser.add_class_arguments(PairedDataModule, "data", skip={"seed", "teacher_outputs", "speech_features"})
    parser.add_class_arguments(Trainer, "trainer", fail_untyped=False)
    own = {"fail_untyped": False}  # of the arguments of the user's own classes
    parser.add_class_arguments(TeacherTask, "teacher.model", skip=set(_FILLED_IN) - {"weights"}, **own)
    parser.add_class_arguments(TeachingSettings, "teaching")
    parser.add_class_arguments(TransferTask, "transfer.model", skip={*_FILLED_IN, *_OF_A_LIVE_TEACHER}, **own)
    parser.add_class_arguments(FinetuneTask, "finetune.model", skip={*_FILLED_IN, *STUDENT})
    for stage in ("teacher", "transfer", "finetune"):
        parser.add_class_arguments(Trainer, f"{stage}.trainer", fail_untyped=False)
    return parser


def parse_settings(args: Sequence[str]) -> Config:
    """Parse a command line into the settings that it and the package's YAML defaults set, without class defaults."""
    parser = build_parser()
    args = [_complete_logger(option, value) for option, value in pairwise(["", *args])]
    without_print = [argument for argument in args if not argument.startswith("--print_config")]
    requested = parse_or_raise(parser, without_print)
    overlays = ["--config", str(_DEFAULTS)]
    if not any(requested.get("data", {}).get(name) for name in CORPORA):
        overlays += ["--config", str(_SYNTHETIC)]
    # To print every key, jsonargparse must fill in the classes' own defaults.
    settings = parse_or_raise(parser, [*overlays, *args], defaults=args != without_print)
    settings.pop("config", None)
    for stage in ("teacher", "transfer", "finetune"):
        # A trainer setting for all stages overrides the package's default for one stage.
        for name in requested.get("trainer", {}).keys() - requested.get(stage, {}).get("trainer", {}).keys():
            settings[stage]["trainer"].pop(name, None)
    for name in ("name", "runs", "stages"):
        settings.setdefault(name, parser.get_default(name))
    return _shorten(settings)


def _shorten(settings: Config) -> Config:
    """Translate ``fast_dev_run`` of a Trainer: all stages run a few batches, and the run's folder is temporary."""
    sections = [settings["trainer"], *(settings[stage]["trainer"] for stage in ("teacher", "transfer", "finetune"))]
    batches = max(int(section.pop("fast_dev_run", 0)) for section in sections)
    if batches:
        limits = {"max_epochs": 1, "limit_train_batches": batches, "limit_val_batches": batches}
        for section in sections:
            section |= {**limits, "overfit_batches": 0.0, "val_check_interval": 1.0, "check_val_every_n_epoch": 1}
        settings["trainer"]["logger"] = False
        runs = CorpusSettings(cache=settings["data"].get("cache")).cache_folder / "fast_dev_run"
        settings |= {"runs": str(runs), "fast_dev_run": batches}
    return settings


def stage_config(settings: Config, stage: str, **filled_in: Any) -> Config:
    """Return the configuration of one stage; `filled_in` has the arguments that the run determines: ``model={...}``."""
    seed = settings["seed_everything"]
    model, trainer = _stage_sections(settings, stage)
    data = {**settings.get("data", {}), "seed": seed}
    if stage not in ("teacher", "transfer"):  # these stages use no faces
        faces = ("face_features", "face_embeddings", "face_normalization")
        data = {key: value for key, value in data.items() if key not in faces}
    return {
        "seed_everything": seed,
        "model": merge(model, filled_in.get("model", {})),
        "data": merge(data, filled_in.get("data", {})),
        "trainer": merge(settings.get("trainer", {}), trainer),
    }


def stage_names(stages: str) -> list[str]:
    """Return the names in a comma-separated list of stages, in the order in which they run."""
    names = [name.strip() for name in stages.split(",") if name.strip()]
    if unknown := [name for name in names if name not in STAGES]:
        raise ConfigError(f"Unknown stage {unknown[0]!r}. Choose from {', '.join(STAGES)}.")
    if not names:
        raise ConfigError(f"--stages is empty. Choose from {', '.join(STAGES)}.")
    return [name for name in STAGES if name in names or (name == "supervised" and "control" in names)]


def merge(base: Mapping[str, Any], delta: Mapping[str, Any]) -> Config:
    """Return `base` updated with `delta`, section by section, without changing either."""
    merged = dict(base)
    for key, value in delta.items():
        are_sections = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if are_sections else value
    return merged


def _stage_sections(settings: Config, stage: str) -> tuple[Config, Config]:
    """Return the model and trainer arguments of a stage."""
    if stage in ("teacher", "transfer"):
        section = settings.get(stage, {})
        return section.get("model", {}), section.get("trainer", {})
    transfer, finetune = settings.get("transfer", {}), settings.get("finetune", {})
    student = {key: value for key, value in transfer.get("model", {}).items() if key in STUDENT + _RECIPE}
    if stage == "supervised":
        return student, transfer.get("trainer", {})
    return student | finetune.get("model", {}), finetune.get("trainer", {})


def parse_or_raise(parser: ArgumentParser, args: Sequence[str], defaults: bool = False) -> Config:
    """Parse a command line, with or without class defaults; raise ConfigError with the nearest key for a typo."""
    parser.exit_on_error = False
    try:
        settings: Config = parser.parse_args(list(args), defaults=defaults).as_dict()
    except Exception as error:  # jsonargparse raises ArgumentError, and what loading a YAML file raises
        if re.search("unrecognized|not accept", message := str(error)):
            raise UnknownKeyError(f"{message}{_suggestion(parser, message)}") from error
        raise ConfigError(message) from error
    _check_sections(parser, settings)
    check_bounds(settings)
    if (protocol := settings.get("data", {}).get("protocol")) and not is_own_protocol(protocol):
        lookup("data.protocol", PROTOCOLS, protocol)
    return settings


def _check_sections(parser: ArgumentParser, settings: Config) -> None:
    """Raise ConfigError for a value in place of a section, which jsonargparse accepts."""
    keys = parser.get_defaults().keys()
    sections = {key[:end] for key in keys for end, letter in enumerate(key) if letter == "."}
    for section in sorted(sections):  # outer sections first
        value: Any = settings
        for name in section.split("."):
            value = value.get(name, {})
        if not isinstance(value, Mapping):
            raise ConfigError(f"{section} is a section of settings, not {value!r:.100}.")


def _suggestion(parser: ArgumentParser, message: str) -> str:
    keys = [key for key in parser.get_defaults().keys() if key != "config"]  # noqa: SIM118
    words = re.findall(r"[\w.]+", message)
    # Known words of the message are sections that miss a key.
    unknown = [word for word in words if not any(f"{key}.".startswith(f"{word}.") for key in keys)]
    return next((advice for word in unknown if "mean" in (advice := suggest_key(word, keys))), suggest_key("", keys))


def _complete_logger(option: str, argument: str) -> str:
    """Return an argument with the class of a logger, in one argument or after its option; see `_with_folder`."""
    key, equals, name = argument.rpartition(".logger=")
    filled = _with_folder(name) if equals or option.endswith(".logger") else name
    return key + equals + (filled if isinstance(filled, str) else json.dumps(filled))


def _with_folder(logger: Any) -> Any:
    """Return loggers by class, with an empty `save_dir` where it is required; it stands for the run's folder."""
    if isinstance(logger, list):
        return [_with_folder(one) for one in logger]
    spec = logger if isinstance(logger, Mapping) else {"class_path": logger}
    name = _LOGGERS.get(str(spec.get("class_path")), spec.get("class_path"))
    if str(name).split(".")[-1] in ("CSVLogger", "TensorBoardLogger"):
        return {**spec, "class_path": name, "init_args": {"save_dir": "", **(spec.get("init_args") or {})}}
    return logger if spec is logger or name == logger else {"class_path": name}
