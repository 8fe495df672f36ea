"""What a stage left in its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmodal.evaluation.metrics import Metrics
from crossmodal.evaluation.predictions import Predictions
from crossmodal.storage import content_key, hash_file, read_json, write_json

MODEL, PREDICTIONS, RESULT, HISTORY = "model.safetensors", "predictions.csv", "result.json", "metrics.csv"


@dataclass(frozen=True)
class StageResult:
    """What a stage left.

    Args:
        stage: Its name.
        folder: Where it lies: config.yaml, metrics.csv, predictions.csv, model.safetensors, result.json.
        key: Made of all that it came from.
        metrics: By split, ``val`` and ``test``.
        seconds: Of training, over all the pieces if it was stopped in between.
        epochs: How many were trained.
        best_epoch: The one whose weights were kept, counted from 0.
        reused: Whether it was found in the store.
    """

    stage: str
    folder: Path
    key: str
    metrics: dict[str, Metrics]
    seconds: float
    epochs: int
    best_epoch: int
    reused: bool

    @property
    def predictions(self) -> Predictions:
        """What it said of the validation and test clips."""
        return Predictions.read_csv(self.folder / PREDICTIONS)

    @property
    def model(self) -> Path:
        """The file of its best weights."""
        return self.folder / MODEL


def write_result(folder: Path, **result: Any) -> None:
    """Write down what a stage came to, beside its other files, and the sums of all."""
    result["files"] = {name: hash_file(folder / name) for name in (MODEL, PREDICTIONS, HISTORY)}
    write_json(folder / RESULT, {**result, "sum": content_key(**result)})


def has_result(folder: Path, key: str) -> bool:
    """Whether a folder holds a stage's result of this key, with every byte that was written."""
    result = read_json(folder / RESULT)
    if not isinstance(result, dict) or result.get("key") != key or "files" not in result:
        return False
    if result.pop("sum", None) != content_key(**result):
        return False
    try:
        return all(hash_file(folder / name) == digest for name, digest in result["files"].items())
    except OSError:
        return False


def load_result(stage: str, folder: Path, reused: bool) -> StageResult:
    """Read what a stage left in its folder."""
    result = read_json(folder / RESULT)
    kept = {name: result[name] for name in ("key", "metrics", "seconds", "epochs", "best_epoch")}
    return StageResult(stage, folder, **kept, reused=reused)
