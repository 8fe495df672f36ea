"""The front end compared with librosa on one thread, and the features of a corpus from the cache."""

import tempfile
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from crossmodal.datamodules.clip_dataset import ClipDataset, collate_clips
from crossmodal.datasets.clip import Clip
from crossmodal.transforms import MFCC, LogMelFilterBank
from tests.benchmarks.measure import RATE, SAMPLES, Row, compare, seconds, threads

CLIPS = 64
SETTINGS = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 64}
CORPUS = 960


def run(folder: Path) -> list[Row]:
    """Measure log-mel filter bank and MFCC with equal settings, then 960 clips from the cache."""
    waveforms = 0.1 * np.random.default_rng(0).standard_normal((CLIPS, SAMPLES)).astype(np.float32)
    rows = []
    with threads(1):
        for name, front_end in (("log-mel filter bank", LogMelFilterBank()), ("MFCC", MFCC())):
            theirs = partial(_librosa, waveforms, mfcc=name == "MFCC")
            what = f"{name} of {CLIPS} clips, compared with librosa"
            rows.append(compare(what, theirs, partial(_ours, waveforms, front_end), at_least=5))
    return [*rows, _corpus(folder, waveforms[0])]


def _librosa(waveforms: NDArray[np.float32], mfcc: bool) -> None:
    for waveform in waveforms:
        power = librosa.feature.melspectrogram(y=waveform, sr=RATE, fmin=20.0, htk=True, norm=None, **SETTINGS)
        log_mel = librosa.power_to_db(power, top_db=80.0)
        if mfcc:
            librosa.feature.mfcc(S=log_mel, n_mfcc=40)


@torch.inference_mode()
def _ours(waveforms: NDArray[np.float32], front_end: LogMelFilterBank) -> None:
    """Process one clip at a time, like librosa, with silence."""
    front_end.silence_db = None
    for waveform in waveforms:
        front_end(torch.from_numpy(waveform)[None, None])


def _corpus(folder: Path, waveform: NDArray[np.float32]) -> Row:
    clips, paths = [], {}
    for number in range(CORPUS):
        path = Path(tempfile.mkstemp(suffix=".npy", dir=folder)[1])
        np.save(path, np.roll(waveform, number))
        clip = Clip(f"clip-{number}", "01", "happy", "speech")
        clips.append(clip)
        paths[clip.clip] = path
    dataset, front_end = ClipDataset(clips, ["happy"], paths), MFCC()

    @torch.inference_mode()
    def all_features() -> None:
        for start in range(0, CORPUS, 32):
            batch = collate_clips([dataset[index] for index in range(start, min(start + 32, CORPUS))])
            front_end(batch["waveform"], batch["waveform_length"])

    with threads(2):
        all_features()
        time = seconds(all_features)
    return Row(f"MFCC of {CORPUS} clips from the cache, 2 threads", "10 s", f"{time:.1f} s", 10 / time, "at least 1",
               time <= 10)  # fmt: skip
