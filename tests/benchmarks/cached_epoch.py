"""An epoch over the paired corpus from the cache, compared with decoding every clip."""

from pathlib import Path

from crossmodal.datamodules import PairedDataModule
from crossmodal.datasets.faces.crops import read_face_crops
from crossmodal.datasets.synthetic import synthesize
from crossmodal.media import read_waveform
from tests.benchmarks.measure import Row, compare


def run(folder: Path) -> list[Row]:
    """Use three synthetic actors at RAVDESS's resolution, in one process."""
    root = synthesize(folder / "corpus", actors=3, resolution=(1280, 720))
    datamodule = PairedDataModule(root=str(root), protocol="loso24", cache=str(folder / "cache"))
    datamodule.prepare_data()
    datamodule.setup()
    clips = datamodule.split["train"]

    def from_files() -> None:
        for clip in clips:
            read_waveform(clip.audio, start=clip.audio_start)
            read_face_crops(clip, clip.video, datamodule.crops)

    def from_cache() -> None:
        for _ in datamodule.train_dataloader():
            pass

    return [compare(f"epoch of {len(clips)} paired clips, 1280x720", from_files, from_cache, at_least=30)]
