"""`study preflight`: a cheap prediction of whether a teacher can help a student, without the test actors."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from crossmodal.datasets.clip import Clip
from crossmodal.datasets.faces.features import feature_names
from crossmodal.errors import ConfigError, ProtocolError
from crossmodal.evaluation.predictions import predict
from crossmodal.evaluation.report import warnings
from crossmodal.models import AudioClassifier, FaceClassifier
from crossmodal.models.backbone import imagenet_weights
from crossmodal.models.serialization import load_model
from crossmodal.own_code import trusting
from crossmodal.pipeline import run as pipeline
from crossmodal.pipeline.arguments import ConfigLike, FitSettings, command_words
from crossmodal.pipeline.loggers import end_loggers
from crossmodal.pipeline.settings import Config, parse_settings
from crossmodal.pipeline.stored.sound_statistics import sound_statistics
from crossmodal.pipeline.summary import Measured, RunSummary, summarize
from crossmodal.storage import write_json
from crossmodal.studies.preflight.advice import advise
from crossmodal.studies.preflight.measures import Array, Pairs, measure
from crossmodal.studies.preflight.report import PreflightReport, plot_preflight, preflight_report

if TYPE_CHECKING:
    from typing_extensions import Unpack

_STAGES = ("teacher", "control")
_Split = Literal["train", "val"]
_SPLITS: tuple[_Split, ...] = ("train", "val")
_BY_SPLIT = ("clips", "actors", "missing_classes")
_DESCRIBED = (*(field.name for field in fields(Measured)), "seed")


class _StagesOnly(pipeline.Run):
    """A run without the final report, which is about test actors."""

    part = "preflight"
    small_faces: dict[str, Any] | None = None  # description of a backbone of ImageNet whose input is larger

    def _embed_faces(self, model: Config) -> Path:
        weights, input_size = imagenet_weights(model["backbone"], model["pretrained"], model["weights"]) or ("", 0)
        if (face_size := self.corpus.face_size) < input_size:
            self.small_faces = {"weights": weights, "input_size": input_size, "face_size": face_size}
        return super()._embed_faces(model)

    def finalize(self) -> RunSummary:
        end_loggers(self._loggers)
        return summarize(self.settings, self.corpus, self.results)


def preflight(config: ConfigLike | Sequence[ConfigLike] = (), **settings: "Unpack[FitSettings]") -> PreflightReport:
    """Train teacher and control like `fit`, compare them, and write ``preflight.json`` and ``preflight.png``.

    The stages are in ``runs/<name>/preflight/``; `fit` with the same settings reuses them from the store.

    Args:
        config: As for `crossmodal.fit`.
        **settings: As for `crossmodal.fit`, without `stages`.

    Returns:
        The report, which a notebook shows. UAR and shares are fractions, entropies and divergences in nats.

    Raises:
        ConfigError: If a setting is invalid.
        DataError: If the recordings are missing or cannot fill the fold.

    Examples:
        >>> from crossmodal import preflight
        >>> preflight("dense", data_root="ravdess").numbers["advice"]  # doctest: +SKIP
    """
    return run_preflight(command_words(config, settings))


@trusting()
def run_preflight(words: Sequence[str]) -> PreflightReport:
    """Run the pre-flight with the arguments of `fit`, without ``--stages``."""
    settings = parse_settings([*words, "--stages", ",".join(_STAGES)])
    if settings.get("teaching", {}).get("teacher"):
        raise ConfigError("The pre-flight measures the stage teacher: remove teaching.teacher.")
    run = _StagesOnly(settings)
    summary = run.fit()
    folder = run.folder.parent
    train, val = (gather(run, split) for split in _SPLITS)
    if len(set(train.actors)) < 2:
        raise ProtocolError(
            "The pre-flight needs at least two training actors, because it cross-validates over actors. Choose another "
            "--data.protocol, or add recordings."
        )
    features = settings["data"].get("face_features")
    face_names = feature_names(features) if features else None
    numbers = _describe(settings, summary) | measure(train, val, run.corpus.labels, face_names)
    numbers["small_faces"] = run.small_faces
    numbers["advice"] = advise(numbers)
    write_json(folder / "preflight.json", numbers)
    plot_preflight(numbers, folder / "preflight.png", " ".join(warnings(numbers["corpus"], summary.speaker_dependent)))
    return preflight_report(folder, numbers)


def _describe(settings: Config, summary: RunSummary) -> dict[str, Any]:
    """Return the settings and the corpus, without test actors."""
    by_split = {key: {split: summary.corpus[key][split] for split in _SPLITS} for key in _BY_SPLIT}
    described = {key: getattr(summary, key) for key in _DESCRIBED} | {"corpus": summary.corpus | by_split}
    return {"crossmodal": summary.crossmodal, "name": settings["name"], **described}


def gather(run: pipeline.Run, split: _Split) -> Pairs:
    """Predict the labelled clips of one split with teacher and control of a finished run."""
    clips = [clip for clip in run.corpus.split[split] if clip.label is not None]
    outputs = {**_run_teacher(run, clips), **_run_student(run, clips)}
    targets = np.array([run.corpus.labels.index(str(clip.label)) for clip in clips], np.int64)
    return Pairs(clips, targets, **outputs)


def _run_teacher(run: pipeline.Run, clips: list[Clip]) -> dict[str, Array]:
    model, _ = load_model(FaceClassifier, run.results["teacher"].model)
    loader = run.prepare_stage("teacher").datamodule.loader(clips)
    outputs = predict(model.to(run.device), loader)
    rows = {"teacher_embedding": outputs.embedding, "teacher_logits": outputs.logits}
    inputs = [batch["face_embeddings"].mean(dim=1) for batch in loader if "face_embeddings" in batch]
    return _to_numpy(rows | ({"face_input": torch.cat(inputs)} if inputs else {}))


def _run_student(run: pipeline.Run, clips: list[Clip]) -> dict[str, Array]:
    model, _ = load_model(AudioClassifier, run.results["control"].model)
    datamodule = run.prepare_stage("control").datamodule
    outputs = predict(model.to(run.device), datamodule.loader(clips))
    rows = {"student_embedding": outputs.embedding, "student_logits": outputs.logits}
    return _to_numpy(rows) | {"sound": sound_statistics(model, datamodule, clips, run.device)}


def _to_numpy(rows: dict[str, Tensor]) -> dict[str, Array]:
    return {name: row.double().numpy() for name, row in rows.items()}
