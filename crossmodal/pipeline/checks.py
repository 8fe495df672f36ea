"""Checks of settings that their types cannot express: bounds of numbers, and lengths of training."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException

from crossmodal.errors import ConfigError, CrossmodalError

_COUNT, _FRACTION, _WEIGHT, _LIMIT = (1, 100_000), (0, 1), (0, 1e6), (1e-9, math.inf)
# Smallest and largest values by the last part of a key.
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("batch_size", "embedding_size", "hidden_size", "in_features"), _COUNT),
    **dict.fromkeys(("max_epochs", "check_val_every_n_epoch", "accumulate_grad_batches"), _COUNT),
    **dict.fromkeys(("dropout", "horizontal_flip", "label_smoothing", "warmup", "ema_decay"), _FRACTION),
    **dict.fromkeys(("kd_loss_warmup", "align_loss_warmup"), _FRACTION),
    **dict.fromkeys(("kd_loss_weight", "align_loss_weight", "task_loss_weight", "weight_decay"), _WEIGHT),
    "face_size": (1, 4096),
    "num_video_frames": (1, 10_000),
    "sample_rate": (1, 768_000),
    "num_workers": (0, 1000),
    "num_teachers": (1, 1000),
    "num_folds": (3, 1_000_000),
    "num_unlabelled_actors": (0, 1_000_000),
    "fold": (0, 1_000_000),
    "patience": (0, 1_000_000),
    "seed_everything": (0, 2**32 - 1),
    "lr": (1e-12, 1e3),
    "temperature": (1e-3, 1e6),
    "max_duration": (1e-3, 1e6),
    "fast_dev_run": (0, 1_000_000),
    "gradient_clip_val": (0, 1e12),
    **dict.fromkeys(("limit_train_batches", "limit_val_batches", "val_check_interval"), _LIMIT),
}
_NAME_BYTES = 200  # file systems allow 255; locks and temporary files have longer names


def check_bounds(settings: Mapping[str, Any], prefix: str = "") -> None:
    """Raise ConfigError for a number outside its bounds, or a name or path that no file can have."""
    for name, value in settings.items():
        key = f"{prefix}{name}"
        low, high = _BOUNDS.get(name, (-math.inf, math.inf))
        if isinstance(value, Mapping) and name not in _BOUNDS:
            if not name.endswith("kwargs"):
                check_bounds(value, f"{key}.")
        elif isinstance(value, int | float) and name in _BOUNDS and not low <= value <= high:
            raise ConfigError(f"{key} must be a number from {low:.10g} to {high:.10g}, not {value:.10g}.")
        elif name == "max_epochs" and value is None:
            raise ConfigError(f"{key} must be a number, because the learning rate schedule covers all epochs.")
        elif value == "" and "trainer" not in key:
            raise ConfigError(f"{key} is empty. Give it a value, or omit it for the default.")
        elif isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{key} has a NUL character: {value[:100]!r}.")
        elif key == "name" and max(len(part.encode(errors="replace")) for part in value.split("/")) > _NAME_BYTES:
            raise ConfigError(f"name must have at most {_NAME_BYTES} bytes, because it names a folder: {value[:50]}...")


def check_trainer(stage: str, trainer: Mapping[str, Any]) -> None:
    """Raise ConfigError if training would end before its first validation, or for weights in another precision."""
    if str(trainer.get("precision")) in ("16-true", "bf16-true", "64-true", "64"):
        raise ConfigError(
            f"trainer.precision {trainer['precision']} is not supported, because front ends compute in 32 bits. Choose "
            "bf16-mixed, 16-mixed or 32-true."
        )
    epochs, between = trainer["max_epochs"], trainer.get("check_val_every_n_epoch", 1)
    if between is not None and between > epochs:
        raise ConfigError(
            f"The stage {stage} trains for {epochs} epochs and would first validate after {between}, but validation "
            f"selects its model. Set trainer.check_val_every_n_epoch to {epochs} or less, or more max_epochs."
        )


@contextlib.contextmanager
def invalid_settings(what: str, is_early: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Convert errors of libraries inside the block to ConfigError: Lightning's own, and others while `is_early`."""
    try:
        yield
    except (CrossmodalError, OSError):
        raise
    except Exception as error:
        is_explained = isinstance(error, MisconfigurationException | ArgumentError)
        if is_explained or is_early():
            reason = f"{error}" if is_explained else f"{type(error).__name__}: {error}"
            raise ConfigError(f"Invalid settings for {what}: {reason}") from error
        raise
