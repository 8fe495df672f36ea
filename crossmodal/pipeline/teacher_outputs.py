"""What the student is taught: what one trained teacher or several say of every clip, asked once and stored."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import ConfigError
from crossmodal.evaluation.calibration import fit_temperature
from crossmodal.models import AudioClassifier, FaceClassifier
from crossmodal.models.handover import load_model
from crossmodal.models.outputs import Outputs
from crossmodal.pipeline.modality_general import general_dimensions
from crossmodal.pipeline.stage_result import StageResult
from crossmodal.pipeline.teaching import TeachingSettings
from crossmodal.progress import progress_bar
from crossmodal.storage import content_key

# Raise when the same teachers, clips and settings would give other outputs.
VERSION = 3
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Member:
    """A trained teacher, and whose clips it was kept from.

    Args:
        stage: The stage that it was trained as.
        result: What the stage left.
        left_out: Training actors that it was not trained on.
    """

    stage: str
    result: StageResult
    left_out: frozenset[str] = frozenset()


@dataclass
class Answers:
    """What the members of one stage say.

    Args:
        first: What the one says that was trained on all training actors, of all clips.
        logits: Of those whose logits are averaged, each (clips, K).
        left_out: Of the same, the actors that each was not trained on.
        train_actors: Whom any of them was trained on.
    """

    first: Outputs
    logits: list[Array]
    left_out: list[frozenset[str]]
    train_actors: set[str]


def groups_of_actors(actors: Iterable[str], count: int) -> list[frozenset[str]]:
    """Divide actors into groups of like size, every `count`-th into one.

    Raises:
        ConfigError: There are more groups than actors.

    Example:
        >>> [sorted(group) for group in groups_of_actors(["01", "02", "03", "04", "05"], 2)]
        [['01', '03', '05'], ['02', '04']]
    """
    ordered = sorted(set(actors))
    if count > len(ordered):
        raise ConfigError(f"teaching.cross_fit is {count}, but only {len(ordered)} actors train in this fold.")
    return [frozenset(ordered[start::count]) for start in range(count)]


def store_teacher_outputs(
    settings: TeachingSettings,
    members: Sequence[Member],
    datamodules: Mapping[str, CorpusDataModule],
    device: torch.device,
    sound: NDArray[np.float64] | None = None,
) -> Path:
    """Ask the trained teachers about every clip, once.

    Args:
        settings: Who teaches, and how their answers are combined.
        members: The trained teachers; of each stage the first was trained on all training actors.
        datamodules: What the members of each stage look at, set up.
        device: Where to run them.
        sound: Of the training clips, where only those dimensions are to be taught that it tells; see
            `crossmodal.pipeline.modality_general.sound_statistics`.

    Returns:
        The file of ``teacher_embedding``, (clips, E), ``teacher_logits``, (clips, K), ``teacher_features``, (clips, D),
        and, of teachers that look or listen to parts of a clip, ``teacher_windows``, (clips, N, E), by clip; with the
        actors that any of the teachers was trained on.
    """
    datamodule = datamodules[settings.stages[0]]
    key = content_key(
        members=[(member.result.key, sorted(member.left_out)) for member in members],
        settings=asdict(settings),
        sound=None if sound is None else sound.tolist(),
        version=VERSION,
    )
    path = datamodule.cache / "teacher_outputs" / f"{key}.safetensors"
    with ClipTensors.missing(path, "teacher outputs") as missing:
        if missing:
            _store(path, settings, members, datamodules, device, sound)
    return path


def _store(
    path: Path,
    settings: TeachingSettings,
    members: Sequence[Member],
    datamodules: Mapping[str, CorpusDataModule],
    device: torch.device,
    sound: NDArray[np.float64] | None,
) -> None:
    """Ask all teachers, and write what is made of their answers; arguments as of `store_teacher_outputs`."""
    datamodule = datamodules[settings.stages[0]]
    answers = [
        _ask_all([member for member in members if member.stage == stage], datamodules[stage], settings, device)
        for stage in settings.stages
    ]
    clips = [(clip, split) for split, clips in datamodule.split.items() for clip in clips]
    targets = _targets(clips, datamodule.labels)
    logits = sum(_correct(_average(one, clips), targets, settings) for one in answers)
    tensors = _side_by_side([one.first for one in answers]) | {"teacher_logits": np.asarray(logits, np.float32)}
    if sound is not None:
        training = datamodule.split["train"]
        tensors = _keep_general(tensors, sound, [clip.actor for clip in training], settings.general_share)
    if settings.shuffle:
        order = shuffled_order([(clip.actor, clip.label) for clip, _ in clips])
        tensors = {name: tensor[order] for name, tensor in tensors.items()}
    actors = sorted(set[str]().union(*(one.train_actors for one in answers)))
    names = [clip.clip for clip, _ in clips]
    ClipTensors.save(path, names, tensors, source="the teacher", train_actors=actors)


def _ask_all(
    members: Sequence[Member], datamodule: CorpusDataModule, settings: TeachingSettings, device: torch.device
) -> Answers:
    """What the members of one stage say of every clip."""
    asked = _with_progress(members, f"Storing what {len(members)} teacher(s) say")
    said, actors = zip(*(_ask(member, datamodule, settings.mirror, device) for member in asked), strict=True)
    # Of cross-fitted teachers the first, which was trained on all, is for its embedding only.
    fair = slice(1 if settings.cross_fit else 0, None)
    return Answers(
        said[0],
        [outputs.logits.numpy() for outputs in said[fair]],
        [member.left_out for member in members[fair]],
        set[str]().union(*actors),
    )


def _side_by_side(outputs: Sequence[Outputs]) -> dict[str, Array]:
    """The tensors of one teacher, or of several in one; windows if all have as many."""
    together = {}
    for name in ("embedding", "features", "windows"):
        tensors = [tensor for one in outputs if (tensor := getattr(one, name)) is not None]
        if len(tensors) == len(outputs) and len({tensor.shape[:-1] for tensor in tensors}) == 1:
            together[f"teacher_{name}"] = torch.cat(tensors, dim=-1).numpy()
    return together


def _keep_general(
    tensors: dict[str, Array], sound: NDArray[np.float64], actors: Sequence[str], share: float
) -> dict[str, Array]:
    """Only those dimensions of the embeddings that sound tells; the training clips stand first."""
    keep = general_dimensions(tensors["teacher_embedding"][: len(sound)], sound, actors, share)
    masked = {"teacher_embedding", "teacher_windows"}
    return {name: tensor[..., keep] if name in masked else tensor for name, tensor in tensors.items()}


Ask = Callable[[dict[str, Any]], Outputs]


def _load(member: Member, mirror: bool, num_windows: int, device: torch.device) -> tuple[Ask, set[str]]:
    """A function from a batch to what the model says of it, and whom it was trained on."""
    if member.stage == "teacher":
        face, about = load_model(FaceClassifier, member.result.model)
        face.to(device)
        return lambda batch: _look(face, batch, mirror), set(about["train_actors"])
    voice, about = load_model(AudioClassifier, member.result.model)
    voice.to(device)
    return lambda batch: _listen(voice, batch, num_windows), set(about["train_actors"])


def _look(model: FaceClassifier, batch: dict[str, Any], mirror: bool) -> Outputs:
    if mirror and "faces" not in batch:
        raise ConfigError("teaching.mirror needs a teacher that looks at pixels: stored features cannot be mirrored.")
    outputs = model.outputs(batch["face_embeddings"] if "face_embeddings" in batch else batch["faces"])
    if not mirror:
        return outputs
    mirrored = model.outputs(batch["faces"].flip(-1))
    pairs = zip(outputs, mirrored, strict=True)
    mean = Outputs._make((one + other) / 2 if one is not None and other is not None else None for one, other in pairs)
    return mean._replace(logits=model.classify(mean.embedding))


def _listen(model: AudioClassifier, batch: dict[str, Any], num_windows: int) -> Outputs:
    if "features" in batch:
        heard = model.normalize_clips(batch["features"], batch["feature_length"])
    else:
        heard = model.extract_features(batch["waveform"], batch["waveform_length"])
    return model.outputs(*heard, num_windows)


@torch.no_grad()
def _ask(member: Member, datamodule: CorpusDataModule, mirror: bool, device: torch.device) -> tuple[Outputs, set[str]]:
    """What a teacher says of every clip, in the order of the datamodule's, and whom it was trained on."""
    ask, train_actors = _load(member, mirror, datamodule.crops.num_video_frames, device)
    said = []
    for batch in datamodule.loader(datamodule.clips):
        on_device = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
        said.append(ask(on_device).map(lambda value: value.float().cpu()))
    together = (None if parts[0] is None else torch.cat(parts) for parts in zip(*said, strict=True))
    return Outputs._make(together), train_actors


def _average(answers: Answers, clips: Sequence[tuple[Clip, str]]) -> Array:
    """The mean logits of each clip, over the teachers that were kept from its actor if there are such; (clips, K)."""
    fair = np.array([[clip.actor in left_out for clip, _ in clips] for left_out in answers.left_out])
    weight = np.where(fair.any(axis=0), fair, 1.0)
    logits = np.stack(answers.logits)
    return np.asarray((logits * weight[..., None]).sum(axis=0) / weight.sum(axis=0)[:, None], np.float32)


def _targets(clips: Sequence[tuple[Clip, str]], labels: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """By split: the label of each clip, or -1 where it has none or is of another split."""
    number = {label: index for index, label in enumerate(labels)}
    return {
        split: np.array(
            [number[clip.label] if clip.label is not None and of == split else -1 for clip, of in clips], np.int64
        )
        for split in ("train", "val")
    }


def _correct(logits: Array, targets: Mapping[str, NDArray[np.int64]], settings: TeachingSettings) -> Array:
    """Take off the prior, then calibrate."""
    if settings.correct_prior:
        prior = _softmax(logits[targets["train"] >= 0]).mean(axis=0)
        logits = logits - np.log(prior)
    if settings.calibrate:
        known = targets["val"] >= 0
        logits = logits / fit_temperature(logits[known], targets["val"][known])
    return logits


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    powers = np.exp(np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def shuffled_order(groups: Sequence[object], seed: int = 0) -> NDArray[np.int64]:
    """The numbers of the clips, shuffled within each group; the order of a corpus is always the same.

    Example:
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


def _with_progress(members: Sequence[Member], description: str) -> Iterable[Member]:
    with progress_bar() as progress:
        yield from progress.track(members, description=description)
