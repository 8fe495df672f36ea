"""Defaults of a run on a corpus where some training clips have no label."""

import inspect
from pathlib import Path

import yaml

from crossmodal.datamodules.settings import CorpusSettings
from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import Config, merge, stage_names
from crossmodal.pipeline.teaching import teacher_arguments

_DEFAULTS = Path(__file__).with_suffix(".yaml")


def complete_for_unlabelled(settings: Config) -> Config:
    """Return settings with the defaults for clips without labels, if there are such clips and a teacher.

    Settings that are given are kept. A teacher that is trained on pixels has no features to centre by actor.
    """
    if not {"teacher", "transfer"} & {*stage_names(settings["stages"])} or not _has_unlabelled(settings["data"]):
        if settings["transfer"].get("model", {}).get("teach_labelled") is False:
            raise ConfigError("teach_labelled is false, but every clip has a label: the teacher would teach nothing.")
        return settings
    defaults: Config = yaml.safe_load(_DEFAULTS.read_text(encoding="utf-8"))
    if settings.get("teaching", {}).get("teacher"):  # it is trained already
        del defaults["teaching"]["by"]
    if not _teacher_reads_vectors(settings):
        del defaults["data"]
    return merge(defaults, settings)


def _has_unlabelled(data: Config) -> bool:
    if data.get("labelled_actors"):
        return True
    names = inspect.signature(CorpusSettings).parameters
    source = CorpusSettings(**{name: value for name, value in data.items() if name in names}).source
    return not source.is_built_in and any(clip.label is None for clip in source.index()[0])


def _teacher_reads_vectors(settings: Config) -> bool:
    model, data = teacher_arguments(settings), settings["data"]
    is_frozen = model["encoder"] is None and model["freeze_backbone"]
    return bool(data.get("face_features") or data.get("face_embeddings") or is_frozen)
