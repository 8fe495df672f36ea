"""Rehearsal of a run: its stages are built and run on generated clips before anything is decoded."""

import inspect
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import ConfigError, WeightsError
from crossmodal.pipeline.checks import check_trainer, invalid_settings
from crossmodal.pipeline.loggers import build_loggers
from crossmodal.pipeline.settings import STAGES, Config, stage_config
from crossmodal.pipeline.stage import stage_parser
from crossmodal.tasks import FinetuneTask, TeacherTask

_WIDTH = 8  # of face features


def rehearse(settings: Config, stages: Collection[str], corpus: CorpusDataModule) -> None:
    """Build each stage, and run its model once, to find invalid settings and missing weights.

    Raises:
        ConfigError: If a setting is invalid.
        DataError: If the folder or table of the corpus is missing.
        WeightsError: If pretrained weights are not available, unless face embeddings from them are stored.
    """
    if not corpus.source.is_built_in:
        corpus.source.index()  # a missing folder or table is reported first
    with invalid_settings("trainer.logger"):
        build_loggers(settings["trainer"].get("logger"), Path(settings["runs"], settings["name"]), settings["name"])
    students = [stage for stage in STAGES if stage in stages and stage != "teacher"]
    for stage in (stage for stage in STAGES if stage in stages):
        has_faces = stage == "teacher" and not (corpus.face_features or corpus.face_embeddings)
        model: Config = {"backbone": None, "in_features": _WIDTH} if stage == "teacher" and not has_faces else {}
        config = stage_config(settings, stage, model=model)
        if has_faces and config["model"].get("backbone", "") is None:
            raise ConfigError("The teacher needs --teacher.model.backbone for pixels, or --data.face_features.")
        check_trainer(stage, config["trainer"])
        with invalid_settings(f"the stage {stage}"), isolate_rng(), torch.no_grad():
            try:
                task = _build(stage, config)
                if stage in ("teacher", *students[:1]):  # all students have the same network
                    task.model.eval()(_example(task, corpus, has_faces))
            except WeightsError:
                if not (has_faces and _has_embeddings(config["model"], corpus.cache_folder)):
                    raise


def _build(stage: str, config: Config) -> Any:
    parser = stage_parser(stage)
    trainer = {**config["trainer"], "logger": False}
    built = parser.instantiate(parser.parse_object({**config, "trainer": trainer}))
    Trainer(**built.trainer.as_dict())
    return built.model


def _example(task: Any, corpus: CorpusDataModule, has_faces: bool) -> Tensor:
    """Return the input of a model for two clips: noise of one second, or black faces, or zero features."""
    if isinstance(task, FinetuneTask):
        return torch.randn(2, 1, task.model.config["sample_rate"])
    if not has_faces:
        return torch.zeros(2, 2, _WIDTH)
    return torch.zeros(1, 2, 3, corpus.face_size, corpus.face_size, dtype=torch.uint8)


def _has_embeddings(model: Config, cache: Path) -> bool:
    if model.get("weights"):
        return False
    backbone = model.get("backbone", inspect.signature(TeacherTask).parameters["backbone"].default)
    files = (cache / "face_embeddings").glob("*.safetensors")
    return any(ClipTensors(path).about.get("source") == backbone for path in files)
