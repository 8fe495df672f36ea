"""The finished runs of a study, as their folders hold them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from crossmodal.errors import ConfigError
from crossmodal.evaluation.labels_for_people import corpus_name
from crossmodal.evaluation.metrics import late_fusion
from crossmodal.evaluation.predictions import Predictions
from crossmodal.storage import read_json
from crossmodal.studies.grid import CELL, SUMMARY

# What all runs of a study have in common, beside the kind of corpus.
SHARED = ("protocol", "speaker_dependent", "channel", "label_set", "labels")


@dataclass(frozen=True)
class FinishedRun:
    """One run of a study.

    Args:
        folder: Its folder.
        about: Its ``cell.json``: method and self_taught, or application with front_end and encoder; fold, seed, code
            (the versions of the code, see `crossmodal.pipeline.stage.code_version`).
        summary: Its ``summary.json``.
    """

    folder: Path
    about: dict[str, Any]
    summary: dict[str, Any]

    @property
    def kind(self) -> str:
        """What its study compares: ``method`` or ``application``."""
        return "application" if "application" in self.about else "method"

    @property
    def name(self) -> str:
        """Of the method or application."""
        return str(self.about[self.kind])

    @property
    def self_taught(self) -> bool:
        """Whether a method's own teacher was replaced by a voice."""
        return bool(self.about.get("self_taught"))

    @property
    def last_stage(self) -> str:
        """The stage whose model is the run's result."""
        return str(list(self.summary["stages"])[-1])

    @property
    def place(self) -> tuple[int, int]:
        """Its fold and seed."""
        return self.about["fold"], self.about["seed"]

    @cached_property
    def student(self) -> Predictions:
        """What the taught and fine-tuned student said."""
        return self.said("finetune")

    @cached_property
    def control(self) -> Predictions:
        """What its control said."""
        return self.said("control")

    @cached_property
    def teacher(self) -> Predictions:
        """What the face model said."""
        return self.said("teacher")

    @property
    def fusion(self) -> Predictions:
        """What face model and control say together."""
        return late_fusion(self.teacher, self.control)

    @property
    def seconds(self) -> float:
        """Of transfer and finetune, when they were trained."""
        return float(sum(self.summary["stages"][stage]["seconds"] for stage in ("transfer", "finetune")))

    def key(self, stage: str) -> str:
        """Made of all that a stage's result came from."""
        return str((read_json(self.folder / stage / "result.json") or {}).get("key"))

    def said(self, stage: str) -> Predictions:
        """What the model of a stage said of the validation and test clips."""
        return Predictions.read_csv(self.folder / stage / "predictions.csv")


def load_runs(folder: Path) -> list[FinishedRun]:
    """Read the finished runs of a study; a run that was stopped or failed is not among them.

    Args:
        folder: The study's.

    Raises:
        ConfigError: There is none, or they are not of one study, or a student's control had another budget.
    """
    runs = []
    for path in sorted((folder / "runs").glob(f"*/{CELL}")):
        about, summary = read_json(path), read_json(path.with_name(SUMMARY))
        if about and summary:
            runs.append(FinishedRun(path.parent, about, summary))
    if not any(not run.self_taught for run in runs):
        raise ConfigError(f"There is no finished run in {folder / 'runs'}: crossmodal study run FILE --out {folder}.")
    for run in runs:
        _refuse_another_study(runs[0], run)
        if run.kind == "method" or "finetune" in run.summary["stages"]:
            _refuse_unequal_budgets(run)
    return runs


def _refuse_another_study(first: FinishedRun, run: FinishedRun) -> None:
    # Applications differ in channel, labels and protocol: that is what they are compared for.
    every = _is_of(first)
    names = list(every) if first.kind == "method" else ["compared", "corpus", "corpus name"]
    for name in names:
        ours, theirs = every[name], _is_of(run)[name]
        if ours != theirs:
            raise ConfigError(
                f"These runs are not of one study: {name} is {ours} in {first.folder}, and {theirs} in {run.folder}. "
                "Keep what is compared in a folder of its own."
            )


def _is_of(run: FinishedRun) -> dict[str, Any]:
    corpus = run.summary["corpus"]
    kinds = {"compared": f"{run.kind}s", "corpus": corpus["kind"], "corpus name": corpus_name(corpus)}
    shared = {name: run.summary[name] for name in SHARED}
    return kinds | shared | {"num_folds": run.summary.get("num_folds")}


def _refuse_unequal_budgets(run: FinishedRun) -> None:
    stages = run.summary["stages"]
    epochs = {stage: stages.get(stage, {}).get("epochs", 0) for stage in ("control", "transfer", "finetune")}
    if not epochs["control"] or epochs["control"] != epochs["transfer"] + epochs["finetune"]:
        raise ConfigError(
            f"{run.folder}: the control was trained for {epochs['control']} epochs, the student for "
            f"{epochs['transfer']} with and {epochs['finetune']} without a teacher. A gain over a control with another "
            "budget is no gain. crossmodal fit makes them equal; --transfer.model.patience ends them at different "
            "epochs, so leave it out."
        )
