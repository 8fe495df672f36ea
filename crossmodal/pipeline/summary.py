"""The summary of a run: its metrics, and the data that they were measured on."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from crossmodal.datamodules import CorpusDataModule
from crossmodal.evaluation.gain import measure_gain
from crossmodal.pipeline.settings import Config
from crossmodal.pipeline.stage_result import StageResult
from crossmodal.version import __version__

_OPTIONAL = ("gain", "calibration", "control_model", "model")  # keys of summary.json that some runs do not have


@dataclass(frozen=True)
class RunSummary:
    """Content of ``summary.json``.

    `corpus` has its kind, name, root, clips and actors by split, and face input; `channel` and `label_set` are None for
    a manifest, and `num_folds` is None unless the protocol is ``grouped``. Metrics of the stages are fractions; `gain`
    is that of the student over its control in points of UAR on the test actors. Models are paths of folders.
    """

    crossmodal: str
    name: str
    corpus: dict[str, Any]
    protocol: str
    num_folds: int | None
    speaker_dependent: bool
    fold: int
    channel: str | None
    label_set: str | None
    labels: list[str]
    seed: int
    stages: dict[str, dict[str, Any]]
    gain: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    control_model: str | None = None
    model: str | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "RunSummary":
        """Create a summary from the content of ``summary.json``; a missing key is None."""
        known: dict[str, Any] = {field.name: content.get(field.name) for field in fields(cls)}
        return cls(**known)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``summary.json``."""
        return {name: value for name, value in vars(self).items() if value is not None or name not in _OPTIONAL}


def summarize(settings: Config, corpus: CorpusDataModule, results: Mapping[str, StageResult]) -> RunSummary:
    """Summarize the finished stages of a run; the gain needs a student and its control."""
    gain = None
    if {"finetune", "control"} <= results.keys():
        measured = measure_gain(*([results[stage].predictions.of("test")] for stage in ("finetune", "control")))
        gain = {
            "uar_pp": round(measured["gain_pp"], 2),
            "ci95_pp": [round(bound, 2) for bound in measured["ci95_pp"]],
            "of": "finetune minus control, test UAR in points; the interval is a bootstrap over the test actors",
        }
    return RunSummary(
        crossmodal=__version__,
        name=settings["name"],
        corpus=_describe_corpus(corpus),
        protocol=str(corpus.protocol),
        num_folds=corpus.num_folds if corpus.protocol == "grouped" else None,
        speaker_dependent=corpus.is_speaker_dependent,
        fold=corpus.fold,
        channel=corpus.source.channel,
        label_set=corpus.source.label_set,
        labels=list(corpus.labels),
        seed=settings["seed_everything"],
        stages={stage: _describe_stage(result) for stage, result in results.items()},
        gain=gain,
    )


def _describe_corpus(corpus: CorpusDataModule) -> dict[str, Any]:
    return {
        "kind": corpus.source.kind,
        "name": corpus.source.name,
        "root": str(corpus.source.path),
        "clips": {split: len(clips) for split, clips in corpus.split.items()},
        "actors": {split: sorted({clip.actor for clip in clips}) for split, clips in corpus.split.items()},
        "unlabelled_actors": corpus.num_unlabelled_actors,
        "unlabelled_clips": sum(clip.label is None for clip in corpus.split["train"]),
        "faces": corpus.face_features or corpus.face_embeddings or "pixels",
        "excluded": len(corpus.excluded),
    }


def _describe_stage(result: StageResult) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        f"{split}_{name}": value for split, metrics in result.metrics.items() for name, value in metrics.items()
    }
    return numbers | {name: getattr(result, name) for name in ("seconds", "epochs", "best_epoch", "reused")}
