"""What a frozen network makes of a voice, computed once for each clip and stored."""

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


def listen_for_stages(
    settings: Config, stages: Collection[str], corpus: CorpusDataModule, device: torch.device
) -> Path | None:
    """Store what the students' front end makes of the corpus, if it is one that hears a clip once.

    The students are built before, so that a setting that cannot be is refused at once and not after a long pass.

    Args:
        settings: Those of the whole run.
        stages: The stages that are to be run.
        corpus: The clips, set up.
        device: Where to run the front end.

    Returns:
        The folder for the datamodules' ``speech_features``; None where the stages want waveforms.

    Raises:
        ConfigError: A setting that cannot be.
        WeightsError: The front end's weights cannot be had.
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
    """Run a model's frozen front end over clips, each once.

    A clip's file is named as its waveform's array is, by its content, in a folder whose name is a key of the front end.
    So all folds, label sets and runs share them, and a pass that was stopped goes on with the clip where it was.

    Args:
        model: The model.
        datamodule: One that needs sound, set up.
        clips: Some of its clips.
        device: Where to run the front end.

    Returns:
        The folder of files of features, (num_features, audio frames) float16; None where the model's front end is no
        frozen network.

    Raises:
        WeightsError: The front end's weights cannot be had.
        DataError: A waveform is gone from the cache.
    """
    front_end = model.front_end
    if not isinstance(front_end, SelfSupervisedFrontEnd):
        return None
    folder = datamodule.cache / "speech_features" / front_end.content_key()
    waveforms = {datamodule.waveforms[clip.clip] for clip in clips}  # clips of the same content have one
    folder.mkdir(parents=True, exist_ok=True)
    told = "speech features: another run listens to the same clips; waiting for its result"
    with locked(datamodule.cache / "locks" / f"{folder.name}.lock", told=told):
        missing = sorted(path for path in waveforms if read_array(folder / path.name) is None)
        if missing:
            with progress_bar() as progress:
                for path in progress.track(missing, description=f"Listening once, with {front_end.bundle}"):
                    _store(model, path, folder / path.name, device)
    return folder


def _store(model: AudioClassifier, source: Path, target: Path, device: torch.device | str) -> None:
    waveform = check_array(source)
    features, _ = model.run_front_end(torch.tensor(waveform, device=device).view(1, 1, -1))
    write_array(target, features[0].half().cpu().numpy())
