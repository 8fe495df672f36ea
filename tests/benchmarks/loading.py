"""Clips per second of each datamodule with 0, 1 and 2 workers, compared with a loop over the same memory maps."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from crossmodal.datamodules import AudioDataModule, CorpusDataModule, PairedDataModule, VideoDataModule
from crossmodal.datasets.stream.writer import write_stream
from crossmodal.datasets.synthetic import synthesize
from tests.benchmarks.measure import Row, seconds

BATCH, TIMES = 32, 10  # repetitions of each clip, so that the start of an epoch does not matter
Arrays = list[NDArray[np.generic]]


def run(folder: Path) -> list[Row]:
    """Use three synthetic actors; a warm-up epoch starts the workers and fills the page cache."""
    root = synthesize(folder / "corpus", actors=3, repetitions=2, resolution=(320, 180))
    rows = []
    for datamodule_class in (AudioDataModule, VideoDataModule, PairedDataModule):
        rows += _rows(folder, str(root), datamodule_class)
    return [*rows, *_streaming(folder, str(root))]


def _rows(folder: Path, root: str, datamodule_class: type[CorpusDataModule]) -> list[Row]:
    loaders, plain = {}, None
    for workers in (0, 1, 2):
        datamodule = datamodule_class(root, protocol="loso24", cache=str(folder / "cache"), num_workers=workers)
        datamodule.prepare_data()
        datamodule.setup()
        clips = datamodule.clips * TIMES
        loaders[workers] = datamodule.loader(clips)
        plain = plain or _plain_loop(datamodule, [clip.clip for clip in clips])
    assert plain, "the loop above is not empty"
    return [_compare(datamodule_class.__name__, workers, loader, plain) for workers, loader in loaders.items()]


def _streaming(folder: Path, root: str) -> list[Row]:
    paired = PairedDataModule(root, protocol="loso24", cache=str(folder / "cache"))
    paired.setup()
    write_stream(paired.source, paired._corpus, paired.crops, str(folder / "stream"))
    clips = paired.clips * TIMES
    plain = _plain_loop(paired, [clip.clip for clip in clips])
    rows = []
    for workers in (0, 1, 2):
        streamed = PairedDataModule(stream=str(folder / "stream"), protocol="loso24", num_workers=workers)
        streamed.setup()
        rows.append(_compare("PairedDataModule of a stream", workers, streamed.loader(clips), plain, has_goal=False))
    return rows


def _plain_loop(datamodule: CorpusDataModule, names: Sequence[str]) -> Callable[[], int]:
    """Return the baseline: open each file once, then copy each clip and pad each batch."""
    waveforms = {name: np.load(path, mmap_mode="r") for name, path in datamodule.waveforms.items()}
    faces = {name: np.load(path, mmap_mode="r") for name, path in datamodule._corpus.faces.items()}

    def loop() -> int:
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            if waveforms:
                pad_sequence([torch.from_numpy(waveforms[name].copy()) for name in batch], batch_first=True)
            if faces:
                torch.stack([torch.from_numpy(faces[name].copy()) for name in batch])
        return len(names)

    return loop


def _compare(
    what: str, workers: int, loader: Iterable[dict[str, Any]], plain: Callable[[], int], has_goal: bool = True
) -> Row:
    def epoch() -> int:
        return sum(len(batch["clip"]) for batch in loader)

    clips = plain()
    assert clips == epoch()
    ours = baseline = 0.0
    for _ in range(5):  # in turn, so that noise affects both
        baseline, ours = max(baseline, clips / seconds(plain)), max(ours, clips / seconds(epoch))
    least = 0.7 if has_goal and workers == 2 else 0.0
    goal = f"at least {least:g} times" if least else "none"
    speeds = f"{baseline:,.0f} clips/s", f"{ours:,.0f} clips/s"
    return Row(f"{what}, {workers} workers", *speeds, ours / baseline, goal, ours >= least * baseline)
