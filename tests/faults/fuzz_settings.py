"""Values that a person can type for the settings of `fit` and the options of the other commands, without training."""

from functools import cache
from pathlib import Path
from random import Random

from crossmodal.cli.main import COMMANDS
from crossmodal.setting_keys import own_keys
from tests.faults import fuzz_configs as configs
from tests.faults.attempts import Damaged, Way

SECONDS = 15.0  # for one command
MEMORY = 1024.0  # MB; a large batch or network is valid
_VALUES = (
    *(
        "-1",
        "0",
        "1",
        "1e9",
        "1000000000",
        "nan",
        "inf",
        "-inf",
        "0.5",
        "1e-30",
        "",
        " ",
        "true",
        "null",
        "none",
        "yes",
    ),
    *("a_file", "a_folder", "gone", "gone/gone", "a_file/x", "-", "--", "x" * 300, "\u00fc\u65e5\u202e"),
    *(
        "[]",
        "{}",
        "[1, 2]",
        "[0,0,0,0]",
        "{a: 1}",
        "{class_path: x}",
        "a,b",
        "0,0",
        "1-2",
        "=",
        "a b",
        "'",
        "*",
        "%s",
        "${X}",
    ),
)
_TRAINER = (
    *("accelerator", "strategy", "devices", "num_nodes", "precision", "logger", "callbacks", "max_epochs", "max_steps"),
    *("min_epochs", "min_steps", "max_time", "limit_train_batches", "limit_val_batches", "overfit_batches", "profiler"),
    *("val_check_interval", "check_val_every_n_epoch", "num_sanity_val_steps", "log_every_n_steps", "deterministic"),
    *("accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm", "plugins", "default_root_dir"),
    *("reload_dataloaders_every_n_epochs", "barebones", "fast_dev_run", "enable_checkpointing"),
)
_CALLBACKS = ("EarlyStopping", "ModelCheckpoint", "LearningRateMonitor", "Timer", "Gone", "lightning.Trainer")
_SERVER = ("port", "max_megabytes", "max_seconds", "max_channels", "max_decode_seconds", "max_requests", "max_streams")
_SERVER += ("max_batch", "decoders", "token_file", "control")
# Options of the other commands, with the words before the value. Commands without a limit on their work are left out.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "predict": ("a.wav --model", "--model gone", "a.wav --model gone --window", "a.wav --model gone --jobs"),
    "export": ("", "gone --out"),
    "serve": tuple(f"gone --{name}" for name in _SERVER),
    "test": ("--model", "--model gone --data.fold", "--model gone --backend", "--model gone --data.root"),
    "data check": ("", "a_folder --channel"),
    "data prepare": ("--manifest", "a_folder --num_video_frames", "a_folder --face_size", "a_folder --shard"),
    "data synthesize": ("out --actors", "out --repetitions", "out --resolution"),
    "data manifest": ("cremad", "meld", "ravdess", "meld a_folder --out"),
    "data cache": ("--cache", "--cache a_folder --prune --older_than"),
    "study report": ("",),
    "study run": ("", *(f"teaching --print-commands --methods control --{name}" for name in ("out", "folds", "seeds"))),
    "configs": ("",),
}


def prepare(folder: Path) -> None:
    """Write a corpus, and a file and a folder to name where the other is needed."""
    configs.prepare(folder)
    (folder / "a_file").write_text("a file\n")
    (folder / "a_folder").mkdir()
    (folder / "good.args").write_text("fit\n--data.fold\n0")


def good(folder: Path) -> list[Path]:
    return [folder / "good.args"]


def damage(rng: Random, folder: Path) -> Damaged:
    if rng.random() < 0.3:
        command = rng.choice(sorted(_OPTIONS))
        assert command in COMMANDS
        words = [*command.split(), *rng.choice(_OPTIONS[command]).split(), rng.choice(_VALUES)]
        return Damaged(command, "input.args", "\n".join(words).encode())
    words, section = ["fit"], ""
    for _ in range(rng.choice((1, 1, 1, 2))):
        key, value = rng.choice(_keys()), rng.choice(_VALUES)
        section = key.rpartition(".")[0] or "run"
        if key.endswith("callbacks") and rng.random() < 0.7:
            words += [f"--{key}+={rng.choice(_CALLBACKS)}", f"--{key}.monitor={value}"]
            continue
        if rng.random() < 0.05:
            key = key.replace(rng.choice(key), "", 1)
        words += rng.choice(([f"--{key}", value], [f"--{key}={value}"]))
    return Damaged(f"fit: {section}", "input.args", "\n".join(words).encode())


def ways(folder: Path, path: Path) -> dict[str, Way]:
    configs._stop_before_training(folder)
    command, *words = path.read_text(encoding="utf-8").split("\n")
    if command != "fit":
        return {"command": Way(lambda: configs._command([command, *words]))}
    data = [f"--data.root={folder / 'corpus'}", f"--data.face_features={folder / 'faces.csv'}"]
    data += ["--data.protocol=loso24", f"--data.cache={folder / 'cache'}", "--trainer.accelerator=cpu"]
    return {"fit": Way(lambda: configs._command(["fit", *data, *words]))}


@cache
def _keys() -> list[str]:
    of_trainers = {f"{section}.{name}" for section in ("trainer", "teacher.trainer") for name in _TRAINER}
    return sorted({*own_keys(), *of_trainers} - {"config", "runs"})
