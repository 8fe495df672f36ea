"""Tests that audio from an mp4 has the wav's time base, and that crops can follow the face."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from crossmodal.datamodules import PairedDataModule, VideoDataModule
from crossmodal.datasets.faces.crops import FaceCrops, read_face_crops
from crossmodal.datasets.ravdess import FACE_BOX, index_ravdess
from crossmodal.datasets.synthetic import corpus as synthetic
from crossmodal.datasets.synthetic.performance import Performance
from crossmodal.media import read_waveform
from tests.datamodules import ready

RATE = 16_000
CLIPS = [Performance(1, 3, 1, 1, 1, actor) for actor in (1, 2, 3)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Return a folder with one clip of each of three actors, as wav and mp4."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "list_performances", lambda actors, channel, repetitions: CLIPS)
        return synthetic.synthesize(tmp_path_factory.mktemp("drawn") / "corpus", actors=3, num_processes=1)


def waveforms(root: Path, cache: Path) -> dict[str, np.ndarray]:
    """Return the datamodule's items by clip."""
    datamodule = ready(PairedDataModule, root, face_size=16, cache=str(cache))
    found = {}
    for batch in datamodule.loader(datamodule.clips):
        for clip, waveform, length in zip(batch["clip"], batch["waveform"], batch["waveform_length"], strict=True):
            found[clip] = waveform[0, :length].numpy()
    return found


def lag(one: np.ndarray, other: np.ndarray) -> float:
    """Return the delay of one waveform relative to another, in milliseconds."""
    size = 1 << (len(one) + len(other)).bit_length()
    product = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    offset = int(np.fft.irfft(product, size).argmax())
    return 1000 * (offset - size * (offset > size // 2)) / RATE


def assert_compensated(root: Path, tmp_path: Path) -> None:
    """Check that the audio of an mp4 is 33.3 ms late, and that of the datamodule is not."""
    alone = tmp_path / "alone"
    alone.mkdir()
    for clip in index_ravdess(root).clips:
        assert abs(lag(read_waveform(clip.video, RATE), read_waveform(clip.audio, RATE)) - 100 / 3) < 5
        shutil.copy(clip.video, alone)
    from_wavs, from_mp4s = waveforms(root, tmp_path / "cache"), waveforms(alone, tmp_path / "cache")
    assert len(from_wavs) == 3
    assert from_mp4s.keys() == from_wavs.keys()
    for clip, waveform in from_wavs.items():
        assert abs(lag(from_mp4s[clip], waveform)) < 0.1


def test_audio_lag_of_the_synthetic_corpus_is_compensated(drawn, tmp_path):
    assert_compensated(drawn, tmp_path)


@pytest.mark.slow
def test_audio_lag_of_real_recordings_is_compensated(pytestconfig, tmp_path):
    folder = Path(pytestconfig.rootpath).parent / "shared" / "data"
    video, audio = folder / "Video_Speech_Actor_01.zip", folder / "Audio_Speech_Actors_01-16.zip"
    if not (video.is_file() and audio.is_file()):
        pytest.skip("the folder of real recordings is not here")
    root = tmp_path / "root"
    root.mkdir()
    with zipfile.ZipFile(video) as videos, zipfile.ZipFile(audio) as voices:
        names = sorted(name for name in videos.namelist() if "/01-" in name)
        assert len(names) == 3
        for actor, name in enumerate(names, start=1):  # renamed to three actors, which the protocol needs
            stem = f"{Path(name).stem[2:-2]}{actor:02d}"
            (root / f"01{stem}.mp4").write_bytes(videos.read(name))
            wav = name.replace("/01-", "/03-").replace(".mp4", ".wav")
            (root / f"03{stem}.wav").write_bytes(voices.read(wav))
    assert_compensated(root, tmp_path)


def test_the_requested_face_detector_is_used(drawn, tmp_path):
    kwargs = {"num_video_frames": 2, "face_size": 32, "cache": str(tmp_path)}
    fixed, followed = (ready(VideoDataModule, drawn, face_detector=name, **kwargs) for name in (None, "haar"))
    assert fixed.fingerprint["clips"] != followed.fingerprint["clips"]
    (clip,) = followed.split["test"]
    crops = next(iter(followed.test_dataloader()))["faces"][0]
    expected = read_face_crops(clip, clip.video, FaceCrops(2, 32, FACE_BOX, "haar"))
    assert torch.equal(crops, torch.from_numpy(expected))
    assert not torch.equal(crops, next(iter(fixed.test_dataloader()))["faces"][0])
