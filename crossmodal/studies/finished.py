"""The finished runs of a study, loaded from their folders."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crossmodal.errors import ConfigError
from crossmodal.evaluation.metrics import late_fusion
from crossmodal.evaluation.predictions import Predictions
from crossmodal.labels_for_people import corpus_name
from crossmodal.storage import read_json
from crossmodal.studies.grid import CELL, SUMMARY

# Values that are equal in all runs of a study of methods, besides the corpus.
SHARED = ("protocol", "speaker_dependent", "channel", "label_set", "labels")


@dataclass(frozen=True)
class FinishedRun:
    """A finished run of a study.

    Args:
        folder: Folder of the run.
        about: Content of ``cell.json``: method and self_taught, or application with front_end and encoder; fold, seed
            and code (the versions of the code, see `crossmodal.pipeline.stage.code_version`).
        summary: Content of ``summary.json``.
    """

    folder: Path
    about: dict[str, Any]
    summary: dict[str, Any]

    @property
    def kind(self) -> str:
        """The kind of study: ``method`` or ``application``."""
        return "application" if "application" in self.about else "method"

    @property
    def name(self) -> str:
        """The name of the method or application."""
        return str(self.about[self.kind])

    @property
    def self_taught(self) -> bool:
        """True if the method's own teacher was replaced by a voice teacher."""
        return bool(self.about.get("self_taught"))

    @property
    def last_stage(self) -> str:
        """The stage whose model is the run's result."""
        return str(list(self.summary["stages"])[-1])

    @property
    def place(self) -> tuple[int, int]:
        """The fold and seed."""
        return self.about["fold"], self.about["seed"]

    @cached_property
    def student(self) -> Predictions:
        """The predictions of the fine-tuned student."""
        return self.predictions("finetune")

    @cached_property
    def control(self) -> Predictions:
        """The predictions of the control."""
        return self.predictions("control")

    @cached_property
    def teacher(self) -> Predictions:
        """The predictions of the face model."""
        return self.predictions("teacher")

    @property
    def fusion(self) -> Predictions:
        """The late fusion of face model and control."""
        return late_fusion(self.teacher, self.control)

    @property
    def seconds(self) -> float:
        """The training time of transfer and finetune."""
        return float(sum(self.summary["stages"][stage]["seconds"] for stage in ("transfer", "finetune")))

    def key(self, stage: str) -> str:
        """Return the key of a stage's result."""
        return str((read_json(self.folder / stage / "result.json") or {}).get("key"))

    def predictions(self, stage: str) -> Predictions:
        """Return the predictions of a stage's model for the validation and test clips."""
        return Predictions.read_csv(self.folder / stage / "predictions.csv")


def load_runs(folder: Path) -> list[FinishedRun]:
    """Load the finished runs of a study; interrupted and failed runs are skipped.

    Args:
        folder: Folder of the study.

    Raises:
        ConfigError: If there are no runs, the runs are of different studies, or a control had another budget.
    """
    runs = []
    for path in sorted((folder / "runs").glob(f"*/{CELL}")):
        about, summary = read_json(path), read_json(path.with_name(SUMMARY))
        if about and summary:
            runs.append(FinishedRun(path.parent, about, summary))
    if not any(not run.self_taught for run in runs):
        raise ConfigError(
            f"No finished run in {folder / 'runs'}. Run the study: crossmodal study run FILE --out {folder}."
        )
    for run in runs:
        _refuse_another_study(runs[0], run)
        if run.kind == "method" or "finetune" in run.summary["stages"]:
            _refuse_unequal_budgets(run)
    return runs


def _refuse_another_study(first: FinishedRun, run: FinishedRun) -> None:
    # Applications may differ in channel, labels and protocol.
    expected = _properties(first)
    names = list(expected) if first.kind == "method" else ["compared", "corpus", "corpus name"]
    for name in names:
        ours, theirs = expected[name], _properties(run)[name]
        if ours != theirs:
            raise ConfigError(
                f"The runs are of different studies: {name} is {ours} in {first.folder}, but {theirs} in {run.folder}. "
                "Use one folder per study."
            )


def _properties(run: FinishedRun) -> dict[str, Any]:
    corpus = run.summary["corpus"]
    kinds = {"compared": f"{run.kind}s", "corpus": corpus["kind"], "corpus name": corpus_name(corpus)}
    shared = {name: run.summary[name] for name in SHARED}
    return kinds | shared | {"num_folds": run.summary.get("num_folds")}


def _refuse_unequal_budgets(run: FinishedRun) -> None:
    stages = run.summary["stages"]
    epochs = {stage: stages.get(stage, {}).get("epochs", 0) for stage in ("control", "transfer", "finetune")}
    if not epochs["control"] or epochs["control"] != epochs["transfer"] + epochs["finetune"]:
        raise ConfigError(
            f"{run.folder}: the control was trained for {epochs['control']} epochs, but the student for "
            f"{epochs['transfer']} with and {epochs['finetune']} without a teacher. A gain needs a control with the "
            "same budget. Remove --transfer.model.patience, which stops the stages at different "
            "epochs, and rerun the study."
        )
