"""The finished runs of a study, loaded from their folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

from crossmodal.errors import ConfigError
from crossmodal.evaluation.gain import recommend
from crossmodal.evaluation.metrics import pool
from crossmodal.evaluation.predictions import Predictions
from crossmodal.labels_for_people import corpus_name
from crossmodal.pipeline.summary import RunSummary
from crossmodal.storage import read_json
from crossmodal.studies.grid import CELL, SUMMARY

LEAST_SEEDS = 3
# Values that are equal in all runs of a study of methods, besides the corpus.
_SHARED = ("protocol", "speaker_dependent", "channel", "label_set", "labels", "num_folds")


@dataclass(frozen=True)
class FinishedRun:
    """A finished run; `about` is the content of ``cell.json``: `Cell.about`, and the versions of the code."""

    folder: Path
    about: dict[str, Any]
    summary: RunSummary

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
        return list(self.summary.stages)[-1]

    @property
    def recommended(self) -> str:
        """The stage whose model `fit` recommends: ``finetune`` or ``control``."""
        choice = recommend(*(self.predictions[stage].of("val") for stage in ("finetune", "control")))
        return "finetune" if choice["model"] == "student" else "control"

    @property
    def place(self) -> tuple[int, int]:
        """The fold and seed."""
        return self.about["fold"], self.about["seed"]

    @cached_property
    def predictions(self) -> dict[str, Predictions]:
        """The predictions of each stage's model for the validation and test clips."""
        return {stage: Predictions.read_csv(self.folder / stage / "predictions.csv") for stage in self.summary.stages}

    def key(self, stage: str) -> str:
        """Return the key of a stage's result."""
        return str((read_json(self.folder / stage / "result.json") or {}).get("key"))


@dataclass(frozen=True)
class StudyModel:
    """A model of a study: its name, its stage, and its runs by protocol."""

    name: str
    stage: str
    runs: Mapping[str, Sequence[FinishedRun]]

    @cached_property
    def predictions(self) -> dict[str, Predictions]:
        """The predictions for the test clips by protocol, pooled over folds and seeds."""
        return {
            protocol: pool([run.predictions[self.stage].of("test") for run in runs])
            for protocol, runs in self.runs.items()
        }


class Coverage(TypedDict):
    """Folds, seeds and test actors of runs."""

    folds: list[int]
    seeds: list[int]
    test_actors: list[str]


class Setting(Coverage):
    """The data of a study of methods: its folds, seeds and test actors, corpus, protocol and labels."""

    study: str
    corpus: dict[str, Any]
    protocol: str
    num_folds: int | None
    speaker_dependent: bool
    channel: str | None
    label_set: str | None
    labels: list[str]


def setting_of(runs: Sequence[FinishedRun]) -> Setting:
    """Return the data of the runs of a study of methods."""
    summary = runs[0].summary
    return Setting(
        **coverage(runs),
        study=runs[0].about["study"],
        corpus={name: summary.corpus.get(name) for name in ("kind", "name", "faces")},
        protocol=summary.protocol,
        num_folds=summary.num_folds,
        speaker_dependent=summary.speaker_dependent,
        channel=summary.channel,
        label_set=summary.label_set,
        labels=summary.labels,
    )


def coverage(runs: Sequence[FinishedRun]) -> Coverage:
    """Return the folds, seeds and test actors of runs."""
    return Coverage(
        folds=sorted({run.about["fold"] for run in runs}),
        seeds=sorted({run.about["seed"] for run in runs}),
        test_actors=sorted({actor for run in runs for actor in run.summary.corpus["actors"]["test"]}),
    )


def notes_on_runs(runs: Sequence[FinishedRun]) -> list[str]:
    """Return the notes that a reader of the numbers of any study needs."""
    notes = []
    if (seeds := len(coverage(runs)["seeds"])) < LEAST_SEEDS:
        notes.append(f"Only {seeds} of at least {LEAST_SEEDS} seeds: differences between few seeds are often chance.")
    missing = {label for run in runs for label in (run.summary.corpus.get("missing_classes") or {}).get("test", ())}
    notes += [f"Some folds have no test clip of {', '.join(sorted(missing))}."] if missing else []
    if len(versions := {run.about["code"] for run in runs}) > 1:
        notes.append(f"Trained with {len(versions)} versions of the package, which may explain differences.")
    return notes


def load_runs(folder: Path) -> list[FinishedRun]:
    """Load the finished runs in the folder of a study; interrupted and failed runs are skipped.

    Raises:
        ConfigError: If there are no runs, the runs are of different studies, or a control had another budget.
    """
    runs = []
    for path in sorted((folder / "runs").glob(f"*/{CELL}")):
        about, summary = read_json(path), read_json(path.with_name(SUMMARY))
        if about and summary:
            runs.append(FinishedRun(path.parent, about, RunSummary.from_dict(summary, path.parent)))
    if not any(not run.self_taught for run in runs):
        raise ConfigError(
            f"No finished run in {folder / 'runs'}. Run the study: crossmodal study run FILE --out {folder}."
        )
    for run in runs:
        _check_same_study(runs[0], run)
        if run.kind == "method" or "finetune" in run.summary.stages:
            _check_equal_budgets(run)
    return runs


def _check_same_study(first: FinishedRun, run: FinishedRun) -> None:
    expected = _properties(first)
    for name, theirs in _properties(run).items():
        if name in expected and expected[name] != theirs:
            raise ConfigError(
                f"The runs are of different studies: {name} is {expected[name]} in {first.folder}, but {theirs} in "
                f"{run.folder}. Use one folder per study."
            )


def _properties(run: FinishedRun) -> dict[str, Any]:
    corpus = run.summary.corpus
    properties = {"compared": f"{run.kind}s", "corpus": corpus["kind"], "corpus name": corpus_name(corpus)}
    if run.kind == "method":  # applications may differ in channel, labels and protocol
        properties |= {name: getattr(run.summary, name) for name in _SHARED}
    return properties


def _check_equal_budgets(run: FinishedRun) -> None:
    stages = run.summary.stages
    control, student = (
        [stages.get(stage, {}).get("epochs", 0) for stage in both]
        for both in (("supervised", "control"), ("transfer", "finetune"))
    )
    if control != student or not all(control):
        raise ConfigError(
            f"{run.folder}: the two stages of the control were trained for {control} epochs, but those of the student "
            f"for {student}. A gain needs a control with the same budget. Remove --transfer.model.patience, which "
            "stops the stages at different epochs, and rerun the study."
        )
