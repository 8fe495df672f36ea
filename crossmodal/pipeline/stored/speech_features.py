"""Speech features of a frozen network, computed once for each clip and stored."""

from collections.abc import Collection, Iterable
from pathlib import Path

import torch

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.stored_array import check_array, read_array, write_array
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd
from crossmodal.pipeline.settings import STAGES, Config, stage_config
from crossmodal.progress import progress_bar
from crossmodal.storage import locked
from crossmodal.tasks import FinetuneTask

_STUDENT_STAGES = ("control", "transfer", "finetune")


def store_for_stages(
    settings: Config, stages: Collection[str], corpus: CorpusDataModule, device: torch.device
) -> Path | None:
    """Store the speech features of the corpus for the students of a run, if their front end is a frozen network.

    The students are built first, so that invalid settings fail at once and not after a long computation.

    Args:
        settings: The settings of the whole run.
        stages: The stages of the run.
        corpus: The clips, set up.
        device: Where to run the front end.

    Returns:
        The folder for the ``speech_features`` of the datamodules; None if the stages need waveforms.

    Raises:
        ConfigError: If a setting is invalid.
        WeightsError: If the weights of the front end are not available.
    """
    students = [stage for stage in _STUDENT_STAGES if stage in stages]
    if not students or settings.get("transfer", {}).get("model", {}).get("front_end") != "ssl":
        return None
    for stage in students:
        config = stage_config(settings, stage, model={"num_classes": corpus.num_classes})
        task = STAGES[stage].task(**config["model"])
    assert isinstance(task, FinetuneTask), "these stages train students"
    return store_speech_features(task.model, corpus, corpus.clips, device)


@torch.no_grad()
def store_speech_features(
    model: AudioClassifier, datamodule: CorpusDataModule, clips: Iterable[Clip], device: torch.device | str = "cpu"
) -> Path | None:
    """Run the frozen front end of a model over clips, each once.

    The file of a clip has the name of the array of its waveform, which is made from its content. The name of the folder
    is a key of the front end. All folds, label sets and runs share the files, and an interrupted run resumes.

    Args:
        model: The model.
        datamodule: A datamodule with sound, set up.
        clips: Some of its clips.
        device: Where to run the front end.

    Returns:
        The folder of features, (num_features, audio frames) float16; None if the front end is not a frozen network.

    Raises:
        WeightsError: If the weights of the front end are not available.
        DataError: If a waveform is missing in the cache.
    """
    front_end = model.front_end
    if not isinstance(front_end, SelfSupervisedFrontEnd):
        return None
    folder = datamodule.cache / "speech_features" / front_end.content_key()
    waveforms = {datamodule.waveforms[clip.clip] for clip in clips}  # clips with the same content share one
    folder.mkdir(parents=True, exist_ok=True)
    message = "speech features: another run computes the same features; waiting for its result"
    with locked(datamodule.cache / "locks" / f"{folder.name}.lock", message=message):
        missing = sorted(path for path in waveforms if read_array(folder / path.name) is None)
        if missing:
            with progress_bar() as progress:
                for path in progress.track(missing, description=f"Speech features, {front_end.bundle}"):
                    _store(model, path, folder / path.name, device)
    return folder


def _store(model: AudioClassifier, source: Path, target: Path, device: torch.device | str) -> None:
    waveform = check_array(source)
    features, _ = model.run_front_end(torch.tensor(waveform, device=device).view(1, 1, -1))
    write_array(target, features[0].half().cpu().numpy())
