"""The summary of a run: its metrics, and the data that they were measured on."""

from collections.abc import Mapping
from typing import Any

from crossmodal.datamodules import CorpusDataModule
from crossmodal.evaluation.gain import measure_gain
from crossmodal.pipeline.settings import Config
from crossmodal.pipeline.stage_result import StageResult
from crossmodal.version import __version__


def summarize(settings: Config, corpus: CorpusDataModule, results: Mapping[str, StageResult]) -> dict[str, Any]:
    """Return the content of ``summary.json``.

    Returns:
        ``corpus``, ``protocol``, ``fold``, ``channel``, ``labels``, ``seed`` and ``stages`` with metrics as fractions;
        with a student and its control also ``gain``, in points of UAR on the test actors.
    """
    summary: dict[str, Any] = {
        "crossmodal": __version__,
        "name": settings["name"],
        "corpus": _describe_corpus(corpus),
        "protocol": corpus.protocol,
        "num_folds": corpus.num_folds if corpus.protocol == "grouped" else None,
        "speaker_dependent": corpus.is_speaker_dependent,
        "fold": corpus.fold,
        "channel": corpus.channel,
        "label_set": corpus.label_set,
        "labels": list(corpus.labels),
        "seed": settings["seed_everything"],
        "stages": {stage: _describe_stage(result) for stage, result in results.items()},
    }
    if {"finetune", "control"} <= results.keys():
        student, control = (results[stage].predictions.of("test") for stage in ("finetune", "control"))
        gain = measure_gain([student], [control])
        summary["gain"] = {
            "uar_pp": round(gain["gain_pp"], 2),
            "ci95_pp": [round(bound, 2) for bound in gain["ci95_pp"]],
            "of": "finetune minus control, test UAR in points; the interval is a bootstrap over the test actors",
        }
    return summary


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
    return numbers | {
        "seconds": result.seconds,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "reused": result.reused,
    }
