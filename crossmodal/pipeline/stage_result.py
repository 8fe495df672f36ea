"""The result of a stage, read from and written to its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmodal.evaluation.metrics import Metrics, describe
from crossmodal.evaluation.predictions import Predictions
from crossmodal.storage import content_key, hash_file, read_json, write_json

MODEL, PREDICTIONS, RESULT, HISTORY = "model.safetensors", "predictions.csv", "result.json", "metrics.csv"


@dataclass(frozen=True)
class StageResult:
    """Result of a stage: metrics by split (``val``, ``test``), and training time summed over interrupted runs.

    `key` is made of all inputs of the stage, `best_epoch` is counted from 0, and `reused` results are from the store.
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
        """The predictions for the validation and test clips."""
        return Predictions.read_csv(self.folder / PREDICTIONS)

    @property
    def model(self) -> Path:
        """The file of the best weights."""
        return self.folder / MODEL


def write_result(folder: Path, **result: Any) -> None:
    """Write the result of a stage beside its other files, with the hashes of all files."""
    result["files"] = {name: hash_file(folder / name) for name in (MODEL, PREDICTIONS, HISTORY)}
    write_json(folder / RESULT, {**result, "sum": content_key(**result)})


def has_result(folder: Path, key: str) -> bool:
    """Return True if a folder holds the result with this key and all hashes match."""
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
    """Load the result of a stage from its folder; its metrics are those of its predictions by today's rules."""
    result = {name: value for name, value in read_json(folder / RESULT).items() if name not in ("files", "sum")}
    predictions = Predictions.read_csv(folder / PREDICTIONS)
    result["metrics"] = {split: describe(predictions.of(split)) for split in result["metrics"]}
    return StageResult(stage, folder, **result, reused=reused)
