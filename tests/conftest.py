import csv
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, settings

from crossmodal import process_pool
from crossmodal.datasets import cache
from crossmodal.datasets.audit import corpus as audit
from crossmodal.datasets.ravdess import FACE_BOX, MP4_SOUND_DELAY
from crossmodal.datasets.synthetic import corpus as synthetic
from tests.in_this_process import in_this_process
from tests.media.recordings import write_video

SAMPLE_RATE = 48_000
NUM_FEATURES = 6

torch.set_num_threads(1)  # pytest-xdist starts a worker for each core

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("crossmodal", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("crossmodal")


def pytest_collection_modifyitems(items):
    """Give slow tests an hour, in place of the limit in pyproject.toml."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session", autouse=True)
def isolated_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSMODAL_CACHE", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")  # for child processes
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DATA_DIR", str(folder / "wandb"))  # where artifacts wait for the upload
        patch.setenv("WANDB_CACHE_DIR", str(folder / "wandb"))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """Handle SIGINT as in the foreground; shells start background jobs, and so their children, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def no_child_processes():
    """Decode, check and synthesize recordings in this process, unless a test asks for `child_processes`."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (cache, audit, synthetic):
            patch.setattr(module, "map_in_processes", in_this_process)
        yield


@pytest.fixture
def child_processes(monkeypatch):
    """Decode, check and synthesize recordings in child processes, as users do."""
    for module in (cache, audit, synthetic):
        monkeypatch.setattr(module, "map_in_processes", process_pool.map_in_processes)


@pytest.fixture(scope="session")
def tiny_ravdess(tmp_path_factory) -> Path:
    """Voices only: 4 actors, 8 emotions, 2 statements, an emotion's own pitch."""
    root = tmp_path_factory.mktemp("tiny") / "ravdess"
    for actor in range(1, 5):
        for emotion in range(1, 9):
            for statement in (1, 2):
                _write_voice(root, emotion, statement, actor)
    return root


@pytest.fixture(scope="session")
def tiny_videos(tmp_path_factory) -> Path:
    """Voices and faces: 3 actors, 8 emotions, 12 video frames in which a bar stands as high as the emotion's number."""
    return write_tiny_videos(tmp_path_factory.mktemp("tiny") / "videos")


def write_tiny_videos(root: Path) -> Path:
    """Write the corpus of `tiny_videos`, with the sound as late as in RAVDESS."""
    for actor in range(1, 4):
        for emotion in range(1, 9):
            wav = _write_voice(root, emotion, 1, actor, seconds=0.4)
            sound, late = soundfile.read(wav, dtype="float32")[0], round(MP4_SOUND_DELAY * SAMPLE_RATE)
            write_video(wav.with_name(f"01{wav.stem[2:]}.mp4"), _pictures(emotion, actor), sound=sound, delay=late)
    return root


@pytest.fixture(scope="session")
def tiny_face_features(tiny_ravdess, tmp_path_factory) -> Path:
    """A table with one row for each clip of `tiny_ravdess`, under the name of its 01 video."""
    path = tmp_path_factory.mktemp("tiny") / "face_features.csv"
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", *(f"AU{index:02d}_r" for index in range(1, NUM_FEATURES + 1))])
        for wav in sorted(tiny_ravdess.rglob("*.wav")):
            emotion = int(wav.stem.split("-")[2]) - 1
            means = 3.0 * np.array([emotion >> bit & 1 for bit in range(3)] * 2)
            writer.writerow([f"01{wav.stem[2:]}", *np.round(means + rng.normal(0, 0.5, NUM_FEATURES), 4)])
    return path


def _write_voice(root: Path, emotion: int, statement: int, actor: int, seconds: float | None = None) -> Path:
    rng = np.random.default_rng([emotion, statement, actor])
    seconds = seconds or 1.0 + 0.2 * rng.random()
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = 120.0 * 1.3**emotion * (1 + 0.02 * actor)
    samples = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.02 * rng.standard_normal(len(time))
    path = root / f"Actor_{actor:02d}" / f"03-01-{emotion:02d}-01-{statement:02d}-01-{actor:02d}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
    return path


def _pictures(emotion: int, actor: int) -> np.ndarray:
    pictures = np.full((12, 90, 160, 3), 40 + 10 * actor, np.uint8)
    left, top, right, bottom = (round(side * size) for side, size in zip(FACE_BOX, (160, 90) * 2, strict=True))
    pictures[:, top:bottom, left:right] = (180, 140, 120)
    height = round((bottom - top) * emotion / 8)
    for index, picture in enumerate(pictures):
        picture[bottom - height : bottom, left + 8 + index : right - 16] = (30, 20 * emotion, 200)
    return pictures
