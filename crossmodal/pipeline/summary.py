"""The summary of a run: its metrics, and the data that they were measured on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.source import ManifestSource
from crossmodal.datasets.splits.protocols import missing_classes
from crossmodal.evaluation.by_sex import SexResult, measure_by_sex
from crossmodal.evaluation.gain import Recommendation, measure_gain, recommend
from crossmodal.pipeline.settings import Config
from crossmodal.pipeline.stage_result import StageResult
from crossmodal.version import __version__

# Keys of summary.json that some runs do not have.
_OPTIONAL = ("gain", "recommended", "by_sex", "calibration", "control_model", "model")
_GAIN = "finetune minus control, test UAR in points; the interval is a bootstrap over the test actors"
_PICTURES = ("confusion.png", "curves.png", "actors.png")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The data of a run or a test.

    Attributes:
        corpus: Kind and name of the corpus, and its clips; of a run also root, actors by split and face input.
        protocol: Protocol of the split.
        num_folds: Number of folds of the protocol ``grouped``, otherwise None.
        speaker_dependent: Whether training and test share speakers.
        fold: Test fold.
        channel: Channel of RAVDESS; None for a manifest.
        label_set: Label set of RAVDESS; None for a manifest.
        labels: Class names in the order of their indices.
    """

    corpus: dict[str, Any]
    protocol: str
    num_folds: int | None
    speaker_dependent: bool
    fold: int
    channel: str | None
    label_set: str | None
    labels: list[str]


@dataclass(frozen=True, repr=False, kw_only=True)
class RunSummary(Measured):
    """Summary of a run, the content of ``summary.json``. A notebook shows it with tables and pictures.

    Attributes:
        crossmodal: Version of the package.
        name: Name of the run.
        seed: Seed of the run.
        stages: Metrics of each stage: ``val_uar``, ``test_uar``, ``test_war``, ..., as fractions, and its epochs.
        gain: Gain of the student over its control in points of UAR on the test actors; None without both stages.
        interval: 95 % interval of the gain, a bootstrap over the test actors; None for fewer than three.
        recommended: The better of student and control on validation, see `crossmodal.evaluation.gain.recommend`; None
            without both stages.
        by_sex: Results of teacher, control and student by sex of the actor; None if it is unknown.
        calibration: Temperature of the last model and its calibration error on validation.
        control_model: Model folder of the control; None if it was not trained.
        model: Model folder of the student; None if it was not trained.
        folder: Folder of the run, which is not in the file.
    """

    crossmodal: str
    name: str
    seed: int
    stages: dict[str, dict[str, Any]]
    gain: float | None = None
    interval: tuple[float, float] | None = None
    recommended: Recommendation | None = None
    by_sex: list[SexResult] | None = None
    calibration: dict[str, Any] | None = None
    control_model: str | None = None
    model: str | None = None
    folder: Path | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path | None = None) -> "RunSummary":
        """Create a summary from the content of ``summary.json``; a missing key is None."""
        known: dict[str, Any] = {field.name: content.get(field.name) for field in fields(cls)}
        if gain := content.get("gain"):
            known |= {"gain": gain["uar_pp"], "interval": gain["ci95_pp"] and tuple(gain["ci95_pp"])}
        return cls(**known | {"folder": folder})

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``summary.json``."""
        content = {name: value for name, value in vars(self).items() if name not in ("interval", "folder")}
        if self.gain is not None:
            content["gain"] = {"uar_pp": self.gain, "ci95_pp": self.interval and list(self.interval), "of": _GAIN}
        return {name: value for name, value in content.items() if value is not None or name not in _OPTIONAL}

    @property
    def recommended_model(self) -> str | None:
        """Model folder of the recommended model, or of the only one."""
        student = self.recommended is None or self.recommended["model"] == "student"
        return (self.model if student else None) or self.control_model

    @property
    def paths(self) -> dict[str, Path]:
        """Existing files and folders of the run by name, such as ``report``, ``model`` and ``confusion``."""
        models = {name: Path(path) for name in ("model", "control_model") if (path := getattr(self, name))}
        if self.folder is None:
            return models
        files = {Path(name).stem: self.folder / name for name in ("summary.json", "report.md", *_PICTURES)}
        paths = {"folder": self.folder, **models, **files}
        return {name: path for name, path in paths.items() if path.exists()}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in ("name", "fold", "gain", "interval", "model"))
        return f"RunSummary({shown})"

    def _repr_html_(self) -> str:
        from crossmodal.pipeline.report import run_report

        return run_report(self).to_html() if self.folder and "confusion" in self.paths else f"<pre>{self!r}</pre>"


def summarize(
    settings: Config, corpus: CorpusDataModule, results: Mapping[str, StageResult], folder: Path | None = None
) -> RunSummary:
    """Summarize the finished stages of a run; the gain needs a student and its control."""
    gain, interval, recommended, teaching = None, None, None, settings.get("teaching", {})
    if {"finetune", "control"} <= results.keys():
        both = [results[stage].predictions for stage in ("finetune", "control")]
        recommended = recommend(*(one.of("val") for one in both))
        measured = measure_gain(*([one.of("test")] for one in both))
        gain = round(measured["gain_pp"], 2)
        if bounds := measured["ci95_pp"]:
            interval = round(bounds[0], 2), round(bounds[1], 2)
    tested = {one: results[one].predictions.of("test") for one in ("teacher", "control", "finetune") if one in results}
    student = "finetune" if gain is not None else ""
    leaks = {"speaker_dependent": True} if teaching.get("teacher_actors") == "unknown" else {}
    return RunSummary(
        crossmodal=__version__,
        name=settings["name"],
        **describe_split(corpus) | leaks,
        corpus=_describe_corpus(corpus),
        seed=settings["seed_everything"],
        stages={stage: _describe_stage(result) for stage, result in results.items()},
        gain=gain,
        interval=interval,
        recommended=recommended,
        by_sex=measure_by_sex(tested, actors_by_sex(corpus.split["test"]), student) or None,
        folder=folder,
    )


def describe_split(corpus: CorpusDataModule) -> dict[str, Any]:
    """Return the fields of `Measured` for a datamodule, without `corpus`."""
    return {
        "protocol": str(corpus.protocol),
        "num_folds": corpus.num_folds if corpus.protocol == "grouped" else None,
        "speaker_dependent": corpus.is_speaker_dependent,
        "fold": corpus.fold,
        "channel": corpus.source.channel,
        "label_set": corpus.source.label_set,
        "labels": list(corpus.labels),
    }


def _describe_corpus(corpus: CorpusDataModule) -> dict[str, Any]:
    training = {clip.actor for clip in corpus.split["train"]}
    labelled = {clip.actor for clip in corpus.split["train"] if clip.label is not None}
    return {
        "kind": corpus.source.kind,
        "name": corpus.source.name,
        "root": str(corpus.source.path),
        "clips": {split: len(clips) for split, clips in corpus.split.items()},
        "actors": {split: sorted({clip.actor for clip in clips}) for split, clips in corpus.split.items()},
        "sexes": actors_by_sex(corpus.split["test"]),
        "labelled_actors": sorted(labelled) if corpus.labelled_actors else None,
        "unlabelled_actors": len(training - labelled) if corpus.labelled_actors else 0,
        "unlabelled_clips": sum(clip.label is None for clip in corpus.split["train"]),
        "faces": corpus.face_features or corpus.face_embeddings or "pixels",
        "missing_classes": missing_classes(corpus.split, corpus.labels),
        "excluded": len(corpus.excluded),
        "notes": corpus.source.manifest.notes if isinstance(corpus.source, ManifestSource) else [],
    }


def actors_by_sex(clips: Iterable[Clip]) -> dict[str, list[str]]:
    """Return the actors of each sex; those of unknown sex are absent."""
    sexes = {clip.actor: clip.sex for clip in clips if clip.sex}
    return {sex: sorted(one for one in sexes if sexes[one] == sex) for sex in sorted({*sexes.values()})}


def _describe_stage(result: StageResult) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        f"{split}_{name}": value for split, metrics in result.metrics.items() for name, value in metrics.items()
    }
    return numbers | {name: getattr(result, name) for name in ("seconds", "epochs", "best_epoch", "reused")}
