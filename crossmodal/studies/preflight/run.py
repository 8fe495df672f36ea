"""`study preflight`: a cheap prediction of whether a teacher can help a student, before the expensive run.

All numbers are from training and validation actors; test actors are not used.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.faces.features import feature_names
from crossmodal.errors import ProtocolError
from crossmodal.evaluation.report import warnings
from crossmodal.models import AudioClassifier, FaceClassifier, StatsPooling
from crossmodal.models.serialization import load_model
from crossmodal.pipeline import run as pipeline
from crossmodal.pipeline.loggers import end_loggers
from crossmodal.pipeline.settings import Config, parse_settings
from crossmodal.pipeline.summary import RunSummary, summarize
from crossmodal.storage import write_json
from crossmodal.studies.preflight.advice import advise
from crossmodal.studies.preflight.measures import Array, Pairs, measure
from crossmodal.studies.preflight.report import plot_preflight, print_preflight

_STAGES = ("teacher", "control")
_Split = Literal["train", "val"]
_SPLITS: tuple[_Split, ...] = ("train", "val")
_DESCRIBED = ("corpus", "protocol", "num_folds", "speaker_dependent", "fold", "channel", "label_set", "labels", "seed")


class _StagesOnly(pipeline.Run):
    """A run without the final report, which is about test actors."""

    def finalize(self) -> RunSummary:
        end_loggers(self._loggers)
        return summarize(self.settings, self.corpus, self.results)


def preflight(args: Sequence[str] = ()) -> dict[str, Any]:
    """Train teacher and control like `fit`, compare them, and write ``preflight.json`` and ``preflight.png``.

    The two stages are in ``runs/<name>/preflight/``; `fit` with the same settings reuses them from the store.

    Args:
        args: A command line of `crossmodal fit`; its ``--stages`` are ignored.

    Returns:
        The numbers, as in ``preflight.json``; UAR and shares are fractions, entropies and divergences in nats.

    Raises:
        ConfigError: If a setting is invalid.
        DataError: If the recordings are missing or cannot fill the fold, or there is only one training actor.
        WeightsError: If pretrained weights are not available.
    """
    settings = parse_settings([*args, "--stages", ",".join(_STAGES)])
    folder = Path(settings["runs"]) / settings["name"]
    run = _StagesOnly(settings | {"name": f"{settings['name']}/preflight"})
    summary = run.fit()
    train, val = (gather(run, split) for split in _SPLITS)
    if len(set(train.actors)) < 2:
        raise ProtocolError(
            "The pre-flight needs at least two training actors, because it cross-validates over actors. Choose another "
            "--data.protocol, or add recordings."
        )
    numbers = _describe(settings, summary) | measure(train, val, run.corpus.labels, _face_names(settings))
    numbers["advice"] = advise(numbers)
    write_json(folder / "preflight.json", numbers)
    plot_preflight(numbers, folder / "preflight.png", " ".join(warnings(summary.corpus, summary.speaker_dependent)))
    print_preflight(folder, numbers)
    return numbers


def _describe(settings: Config, summary: RunSummary) -> dict[str, Any]:
    """Return the settings and the corpus, without test actors."""
    by_split = {key: {split: summary.corpus[key][split] for split in _SPLITS} for key in ("clips", "actors")}
    described = {key: getattr(summary, key) for key in _DESCRIBED} | {"corpus": summary.corpus | by_split}
    return {"crossmodal": summary.crossmodal, "name": settings["name"], **described}


def _face_names(settings: Config) -> list[str] | None:
    path = settings["data"].get("face_features")
    return feature_names(path) if path else None


@torch.no_grad()
def gather(run: pipeline.Run, split: _Split) -> Pairs:
    """Predict the labelled clips of one split with both models.

    Args:
        run: A run with the finished stages teacher and control.
        split: ``train`` or ``val``.
    """
    clips = [clip for clip in run.corpus.split[split] if clip.label is not None]
    outputs = {**_run_teacher(run, clips), **_run_student(run, clips)}
    targets = np.array([run.corpus.labels.index(str(clip.label)) for clip in clips], np.int64)
    return Pairs(clips, targets, **outputs)


def _run_teacher(run: pipeline.Run, clips: list[Clip]) -> dict[str, Array]:
    model, _ = load_model(FaceClassifier, run.results["teacher"].model)
    model.to(run.device)
    rows = []
    for batch in _batches(run, "teacher", clips):
        faces = batch.get("face_embeddings", batch.get("faces"))
        embedding = model.embed(faces)
        row = {"teacher_embedding": embedding, "teacher_logits": model.classify(embedding)}
        rows.append(row | ({"face_input": faces.mean(dim=1)} if faces.ndim == 3 else {}))
    return _stack(rows)


def _run_student(run: pipeline.Run, clips: list[Clip]) -> dict[str, Array]:
    model, _ = load_model(AudioClassifier, run.results["control"].model)
    model.to(run.device)
    over_time, rows = StatsPooling(model.front_end.num_features), []
    for batch in _batches(run, "control", clips):
        if "features" in batch:
            features, length = batch["features"], batch["feature_length"]
        else:
            features, length = model.run_front_end(batch["waveform"], batch["waveform_length"])
        embedding = model.encode(*model.normalize_clips(features, length))
        row = {"student_embedding": embedding, "student_logits": model.classify(embedding)}
        rows.append(row | {"sound": over_time(features, length)})
    return _stack(rows)


def _batches(run: pipeline.Run, stage: str, clips: list[Clip]) -> Any:
    """Yield batches of clips as the stage gets them."""
    datamodule: CorpusDataModule = run.prepare_stage(stage).datamodule
    for batch in datamodule.loader(clips):
        yield {name: value.to(run.device) if isinstance(value, Tensor) else value for name, value in batch.items()}


def _stack(rows: list[dict[str, Tensor]]) -> dict[str, Array]:
    return {name: torch.cat([row[name].cpu() for row in rows]).double().numpy() for name in rows[0]}
