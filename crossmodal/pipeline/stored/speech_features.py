"""Speech features, computed once for each clip and stored."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from crossmodal import transforms
from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.stored_array import read_array, write_array
from crossmodal.models import AudioClassifier, PretrainedFrontEnd
from crossmodal.models.weights import hash_tensors
from crossmodal.naming import readable
from crossmodal.own_code import own_sources
from crossmodal.pipeline.settings import STAGES, Config, stage_config
from crossmodal.progress import progress_bar
from crossmodal.storage import content_key, locked
from crossmodal.tasks import FinetuneTask
from crossmodal.transforms import SpeedPerturbation

# Raise when the same waveform, front end and speed would give other features.
VERSION = 1
MAX_BYTES = 4 * 2**30  # 960 RAVDESS clips at three speeds: 40 MFCC 0.2 GB, 192 log-mel features with deltas 0.8 GB
_STUDENT_STAGES = ("supervised", "control", "transfer", "finetune")


def store_for_stages(
    settings: Config, stages: Collection[str], corpus: CorpusDataModule, device: torch.device
) -> Path | None:
    """Store the speech features of the corpus for the students of a run, if their front end is a frozen network."""
    students = [stage for stage in _STUDENT_STAGES if stage in stages]
    if not students or settings.get("transfer", {}).get("model", {}).get("front_end") != "pretrained":
        return None
    config = stage_config(settings, students[0], model={"num_classes": corpus.num_classes})
    task = STAGES[students[0]].task(**config["model"])
    assert isinstance(task, FinetuneTask), "these stages train students"
    return store_speech_features(task.model, corpus, corpus.clips, device)


def store_speech_features(
    model: AudioClassifier, datamodule: CorpusDataModule, clips: Iterable[Clip], device: torch.device | str = "cpu"
) -> Path | None:
    """Run the frozen front end of a model on a device over clips of a datamodule with sound, set up, each once.

    The file of a clip has the name of the array of its waveform, which is made from its content. The name of the folder
    is a key of the front end. All folds, label sets and runs share the files, and an interrupted run resumes.

    Returns:
        The folder of features, (num_features, audio frames) float16; None if the front end is not a frozen network.

    Raises:
        WeightsError: If the weights of the front end are not available.
        DataError: If a waveform is missing in the cache.
    """
    front_end = model.front_end
    if not isinstance(front_end, PretrainedFrontEnd):
        return None
    folder = datamodule.cache_folder / "speech_features" / front_end.content_key()

    def extract(waveform: Tensor, _: str) -> Tensor:
        return model.run_front_end(waveform.to(device))[0][0].half()

    _store_missing(folder, datamodule, clips, front_end.source.model, extract)
    return folder


def store_for_training(
    task: FinetuneTask, datamodule: CorpusDataModule, device: torch.device | str = "cpu"
) -> tuple[list[Path], Path | None]:
    """Store what the front end of a student computes for each clip and version: folders by version, or summaries.

    On a CPU, a training step then takes a third of the time. If the encoder summarizes a clip before its first learned
    layer, only the summary is used; a normalization before it must be fitted. Nothing is stored for streams, if the
    features would take more than `MAX_BYTES`, or if waveforms are augmented in other ways than by speed, unless the
    front end is pretrained.
    """
    model, speeds, folders = task.model, task.stored_speeds, list[Path]()
    if isinstance(model.front_end, PretrainedFrontEnd) and datamodule.speech_features:
        folders = _store_copies(task, datamodule, device)
        by_folder: Config = {"version": VERSION, "folders": [folder.name for folder in folders]}
        return folders, _store_summaries(task, datamodule, by_folder, folders) if task.uses_summaries else None
    if not speeds or datamodule.speech_features or datamodule.stream:
        return folders, None
    names = ("front_end", "front_end_kwargs", "sample_rate")
    key = {"version": VERSION} | {name: model.config[name] for name in names} | _own_code(model.front_end)
    if task.uses_summaries:
        return folders, _store_summaries(task, datamodule, key)
    if _num_bytes(model, datamodule) * len(speeds) <= MAX_BYTES:
        for speed in speeds:
            folder = datamodule.cache_folder / "speech_features" / content_key(**key, speed=speed)
            clips = datamodule.clips if speed == 1 else datamodule.split["train"]
            extract = partial(_at_speed, task, speed)
            _store_missing(folder, datamodule, clips, key["front_end"], extract)
            folders.append(folder)
    return folders, None


def _store_copies(task: FinetuneTask, datamodule: CorpusDataModule, device: torch.device | str) -> list[Path]:
    """Store the features of training clips with augmented waveforms; return the folders by version."""
    stored = Path(str(datamodule.speech_features))
    key: Config = {"features": stored.name, "augmentation": [readable(one) for one in task.augmentation.waveform]}
    key |= {"transforms": str(transforms.VERSION)} | _own_code(task.augmentation, "augmentation")
    folders = [stored]
    for number in range(1, task.num_versions):

        def extract(waveform: Tensor, clip: str, number: int = number) -> Tensor:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(content_key(clip=clip, copy=number)[:15], 16))
                batch = task.augmentation.train().batch({"waveform": waveform})
            features, length = task.model.run_front_end(
                batch["waveform"].to(device), batch["waveform_length"].to(device)
            )
            return features[0, :, : int(length)].half()

        folders.append(datamodule.cache_folder / "speech_features" / content_key(**key, copy=number))
        _store_missing(folders[-1], datamodule, datamodule.split["train"], f"augmented copy {number}", extract)
    return folders


def _store_summaries(
    task: FinetuneTask, datamodule: CorpusDataModule, key: Config, folders: Sequence[Path] = ()
) -> Path:
    """Store the summaries of all clips in all versions, (clips, V, P), of stored features if there are any."""
    model, count = task.model, task.num_versions
    normalization = task.normalization()
    statistics = [] if normalization is None else [normalization.mean.tolist(), normalization.std.tolist()]
    clips = [(clip.clip, datamodule.waveforms[clip.clip]) for clip in datamodule.clips]
    training = {clip.clip for clip in datamodule.split["train"]}  # the others are never used in another version
    key |= {name: model.config[name] for name in ("encoder", "encoder_kwargs", "clip_normalization")}
    key |= _own_code(model.encoder, "encoder")
    key |= {"normalization": statistics, "speeds": task.stored_speeds, "training": sorted(training)}
    name = content_key(**key, clips=[(name, path.name) for name, path in clips])
    target = datamodule.cache_folder / "speech_features" / f"{name}.safetensors"

    def summary(path: Path, version: int) -> Tensor:
        if folders:
            features = torch.tensor(read_array(folders[version] / path.name)).float()[None]
        else:
            features = _at_speed(task, task.stored_speeds[version], _read(datamodule, path))[None]
        return model.summarize(*model.normalize_clips(features, torch.tensor([features.shape[-1]])))[0]

    with ClipTensors.missing(target, "speech features") as missing:
        if missing:
            with progress_bar() as progress, torch.no_grad():
                rows = []
                for name, path in progress.track(clips, description="Speech features, summaries"):
                    versions = [summary(path, version) for version in range(count if name in training else 1)]
                    rows.append(torch.stack(versions).expand(count, -1))
            ClipTensors.save(target, [name for name, _ in clips], {"summary": torch.stack(rows).numpy()})
    return target


def _own_code(part: nn.Module, name: str = "front_end") -> Config:
    """Return what a key needs for a part with classes of the user: their sources and the part's tensors."""
    if not (sources := own_sources(part.modules())):
        return {}
    tensors = {**dict(part.named_parameters()), **dict(part.named_buffers())}
    return {f"{name}_code": sources, f"{name}_tensors": hash_tensors(tensors)}


def _store_missing(
    folder: Path,
    datamodule: CorpusDataModule,
    clips: Iterable[Clip],
    name: str,
    extract: Callable[[Tensor, str], Tensor],
) -> None:
    """Store one array for the waveform of each clip; `extract` gets the waveform and its key."""
    waveforms = {datamodule.waveforms[clip.clip] for clip in clips}  # clips with the same content share one
    folder.mkdir(parents=True, exist_ok=True)
    message = "speech features: another run computes the same features; waiting for its result"
    with locked(datamodule.cache_folder / "locks" / f"{folder.name}.lock", message=message), torch.no_grad():
        missing = sorted(path for path in waveforms if read_array(folder / path.name) is None)
        if missing:
            with progress_bar() as progress:
                for path in progress.track(missing, description=f"Speech features, {name}"):
                    write_array(folder / path.name, extract(_read(datamodule, path), path.name).cpu().numpy())


def _read(datamodule: CorpusDataModule, path: Path) -> Tensor:
    """Return the waveform of a clip, (1, 1, T)."""
    return torch.tensor(datamodule.source.read(path)).view(1, 1, -1)


def _at_speed(task: FinetuneTask, speed: float, waveform: Tensor, clip: str = "") -> Tensor:
    """Return the features of a clip at a speed, (F, frames)."""
    length = torch.tensor([waveform.shape[-1]])
    for augmentation in task.augmentation.waveform:
        assert isinstance(augmentation, SpeedPerturbation), "nothing is stored for other augmentation"
        waveform, length = augmentation.play(waveform, length, speed)
    features, num_frames = task.model.run_front_end(waveform, length)
    return features[0, :, : int(num_frames)]


def _num_bytes(model: AudioClassifier, datamodule: CorpusDataModule) -> int:
    """Return the size of the features of all clips."""
    samples = [len(datamodule.source.read(datamodule.waveforms[clip.clip])) for clip in datamodule.clips]
    front_end = model.front_end
    if not hasattr(front_end, "num_audio_frames"):  # of the user: assume a hop of 10 ms
        return 4 * front_end.num_features * sum(samples) * 100 // model.config["sample_rate"]
    return 4 * front_end.num_features * int(front_end.num_audio_frames(torch.tensor(samples)).sum())
