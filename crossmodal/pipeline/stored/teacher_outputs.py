"""Outputs of one or more trained teachers, computed once for each clip and stored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import ConfigError
from crossmodal.evaluation.calibration import fit_temperature
from crossmodal.evaluation.predictions import predict
from crossmodal.models import AudioClassifier, FaceClassifier
from crossmodal.models.outputs import Outputs
from crossmodal.models.own_teacher import OwnTeacher
from crossmodal.models.serialization import load_model
from crossmodal.pipeline.stage_result import StageResult
from crossmodal.pipeline.teaching import TeachingSettings
from crossmodal.progress import progress_bar
from crossmodal.storage import content_key

# Raise when the same teachers, clips and settings would give other outputs.
VERSION = 3
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Member:
    """A trained teacher; `left_out` are training actors that it was not trained on."""

    stage: str
    result: StageResult | OwnTeacher
    left_out: frozenset[str] = frozenset()


def groups_of_actors(actors: Iterable[str], count: int) -> list[frozenset[str]]:
    """Divide actors into groups of similar size: every `count`-th actor is in the same group.

    Examples:
        >>> [sorted(group) for group in groups_of_actors(["01", "02", "03", "04", "05"], 2)]
        [['01', '03', '05'], ['02', '04']]
    """
    ordered = sorted(set(actors))
    if count > len(ordered):
        raise ConfigError(
            f"teaching.cross_fit is {count}, but this fold has only {len(ordered)} training actors with labels."
        )
    return [frozenset(ordered[start::count]) for start in range(count)]


def store_teacher_outputs(
    settings: TeachingSettings,
    members: Sequence[Member],
    datamodules: Mapping[str, CorpusDataModule],
    device: torch.device,
) -> Path:
    """Compute the outputs of the trained teachers for every clip, once, and return their file.

    It has ``teacher_embedding``, (clips, E), and ``teacher_logits``, (clips, K), with the actors that any of the
    teachers was trained on. The first member of each stage was trained on all training actors.
    """
    datamodule = datamodules[settings.stages[0]]
    key = content_key(
        members=[(member.result.key, sorted(member.left_out)) for member in members],
        settings=asdict(settings),
        version=VERSION,
    )
    path = datamodule.cache_folder / "teacher_outputs" / f"{key}.safetensors"
    with ClipTensors.missing(path, "teacher outputs") as missing:
        if missing:
            _store(path, settings, members, datamodules, device)
    return path


def _store(
    path: Path,
    settings: TeachingSettings,
    members: Sequence[Member],
    datamodules: Mapping[str, CorpusDataModule],
    device: torch.device,
) -> None:
    datamodule = datamodules[settings.stages[0]]
    clips = [(clip, split) for split, clips in datamodule.split.items() for clip in clips]
    logits: Any = 0
    first, train_actors = [], {*settings.known_actors}
    for stage in settings.stages:
        of_stage = [member for member in members if member.stage == stage]
        with progress_bar() as progress:
            tracked = progress.track(of_stage, description=f"Outputs of {len(of_stage)} teacher(s)")
            predicted = [_predict(member, datamodules[stage], device) for member in tracked]
        outputs, actors = zip(*predicted, strict=True)
        # With cross-fitting the first teacher, which was trained on all actors, only provides the embedding.
        fair = slice(1 if settings.cross_fit else 0, None)
        average = _average(of_stage[fair], [one.logits.numpy() for one in outputs[fair]], clips)
        logits = logits + (_calibrate(average, clips, datamodule.labels) if settings.calibrate else average)
        first.append(outputs[0])
        train_actors.update(*actors)
    tensors = {"teacher_logits": np.asarray(logits, np.float32)}
    if all(one.embedding is not None for one in first):
        tensors["teacher_embedding"] = torch.cat([one.embedding for one in first], dim=-1).numpy()
    if settings.shuffle:
        order = shuffled_order([(clip.actor, clip.label) for clip, _ in clips])
        tensors = {name: tensor[order] for name, tensor in tensors.items()}
    names = [clip.clip for clip, _ in clips]
    ClipTensors.save(path, names, tensors, source="the teacher", train_actors=sorted(train_actors))


def _predict(member: Member, datamodule: CorpusDataModule, device: torch.device) -> tuple[Outputs, set[str]]:
    """Return the outputs of a teacher for every clip of a datamodule, and the actors it was trained on."""
    loader = datamodule.loader(datamodule.clips)
    if isinstance(member.result, OwnTeacher):
        return predict(member.result.to(device), loader), set()  # `settings` has its actors
    kind: Any = FaceClassifier if member.stage == "teacher" else AudioClassifier
    model, metadata = load_model(kind, member.result.model)
    return predict(model.to(device), loader), set(metadata["train_actors"])


def _average(members: Sequence[Member], logits: list[Array], clips: Sequence[tuple[Clip, str]]) -> Array:
    """Average the logits of each clip, (clips, K), over teachers not trained on its actor, or else over all."""
    fair = np.array([[clip.actor in member.left_out for clip, _ in clips] for member in members])
    weight = np.where(fair.any(axis=0), fair, 1.0)[..., None]
    return np.asarray((np.stack(logits) * weight).sum(axis=0) / weight.sum(axis=0), np.float32)


def _calibrate(logits: Array, clips: Sequence[tuple[Clip, str]], labels: Sequence[str]) -> Array:
    """Divide the logits, (clips, K), by the temperature that fits the labelled validation clips best."""
    rows = [row for row, (clip, split) in enumerate(clips) if split == "val" and clip.label is not None]
    targets = np.array([labels.index(clips[row][0].label or "") for row in rows], np.int64)
    return logits / fit_temperature(logits[rows], targets)


def shuffled_order(groups: Sequence[object], seed: int = 0) -> NDArray[np.int64]:
    """Return the indices of the clips, shuffled within each group with a fixed seed.

    Examples:
        >>> order = shuffled_order(["a", "b", "a", "b", "b"])
        >>> sorted(order[[0, 2]].tolist()), sorted(order[[1, 3, 4]].tolist())
        ([0, 2], [1, 3, 4])
    """
    generator = np.random.default_rng(seed)
    order = np.arange(len(groups))
    for group in dict.fromkeys(groups):
        members = np.array([number for number, other in enumerate(groups) if other == group])
        order[members] = generator.permutation(members)
    return order
