"""Checks of settings that their types cannot express, and conversion of the errors of libraries."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException

from crossmodal.errors import ConfigError, CrossmodalError

_SECTIONS = ("data", "trainer", "teacher", "teaching", "transfer", "finetune", "model")
_RANGES: tuple[tuple[float, float, str], ...] = (  # smallest and largest value, and keys by their last part
    (0, 1, "dropout horizontal_flip label_smoothing warmup"),
    (0, 1e6, "kd_loss_weight align_loss_weight task_loss_weight weight_decay fold patience"),
    (1, 1e5, "batch_size embedding_size hidden_size in_features num_video_frames max_epochs check_val_every_n_epoch"),
    (1, 1e5, "accumulate_grad_batches sample_rate labelled_actors"),
    (1, 4096, "face_size"),
    (3, 1e6, "num_folds"),
    (0, 1000, "num_workers stored_copies"),
    (1, 10_000, "num_nodes"),
    (0, 2**32 - 1, "seed_everything"),
    (1e-12, 1e3, "lr pretrained_lr"),
    (1e-3, 1e6, "temperature max_duration"),
    (0, 1e12, "gradient_clip_val fast_dev_run"),
    (1e-9, math.inf, "limit_train_batches limit_val_batches val_check_interval"),
)
_PURE = ("16-true", "bf16-true", "64-true", "64")
_BOUNDS = {key: (low, high) for low, high, keys in _RANGES for key in keys.split()}


def check_bounds(settings: Mapping[str, Any], prefix: str = "") -> None:
    """Raise ConfigError for a number outside its bounds, and for an empty text."""
    for name, value in settings.items():
        key = f"{prefix}{name}"
        low, high = _BOUNDS.get(name, (-math.inf, math.inf))
        is_endless = name == "max_epochs" and value is None
        if name in _SECTIONS and isinstance(value, Mapping):
            check_bounds(value, f"{key}.")
        elif is_endless or (name in _BOUNDS and isinstance(value, int | float) and not low <= value <= high):
            raise ConfigError(f"{key} must be a number from {low:.10g} to {high:.10g}, not {value}.")
        elif name == "precision" and str(value) in _PURE:
            raise ConfigError(f"{key}: front ends compute in 32 bits. Choose bf16-mixed, 16-mixed or 32-true.")
        elif value == "":
            raise ConfigError(f"{key} is empty. Give it a value, or omit it for the default.")


@contextlib.contextmanager
def invalid_settings(what: str, is_early: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Convert errors of libraries inside the block to ConfigError: Lightning's own, and others while `is_early`."""
    try:
        yield
    except Exception as error:
        is_explained = isinstance(error, MisconfigurationException | ArgumentError)
        if isinstance(error, CrossmodalError | OSError) or not (is_explained or is_early()):
            raise
        reason = f"{error}" if is_explained else f"{type(error).__name__}: {error}"
        raise ConfigError(f"Invalid settings for {what}: {reason}") from error
