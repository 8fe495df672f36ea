"""Readers of tables, archives and stored files."""

import contextlib
import shutil
from pathlib import Path

import numpy as np

from crossmodal.datasets.audit.corpus import check_corpus
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.clip_waveform import read_clip_waveform
from crossmodal.datasets.download.archive import extract_members, is_extracted, list_members
from crossmodal.datasets.download.lock_file import LOCK_FILE, LockFile
from crossmodal.datasets.faces.features import feature_names, store_face_features
from crossmodal.datasets.manifest import index_manifest
from crossmodal.datasets.quarantine import Quarantine
from crossmodal.datasets.ravdess import parse_name
from crossmodal.datasets.splits.protocols import split_clips
from crossmodal.errors import CrossmodalError, MediaError
from crossmodal.inference.model_config import CONFIG, WEIGHTS
from crossmodal.inference.model_folder import load_model_folder
from crossmodal.inference.recognizer import EmotionRecognizer
from crossmodal.storage import FileHashes


def empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def read_manifest(path: Path) -> None:
    index = index_manifest(path)
    sounds = [clip.audio for clip in index.clips if clip.audio]
    outside = [sound for sound in sounds if ".." in sound.parts or not sound.is_relative_to(path.parent)]
    assert not outside, f"files outside of the folder: {outside}"
    for clip in index.clips[:20]:
        with contextlib.suppress(MediaError):
            assert clip.audio is not None
            assert np.isfinite(read_clip_waveform(clip, clip.audio)).all()
    for protocol in ("given", "grouped"):
        with contextlib.suppress(CrossmodalError):
            split_clips(index.clips, protocol, 0, None, False, 3)  # type: ignore[arg-type]


def read_features(path: Path, cache_folder: Path) -> None:
    tensors, _ = store_face_features(path, 4, cache_folder)
    feature_names(path)
    assert all(np.isfinite(tensors[clip]["face_embeddings"]).all() for clip in tensors.clips)


def read_array(path: Path, folder: Path) -> None:
    place = empty(folder / "arrays")
    shutil.copy(path, place / "01-01-01-01-01-01-01.npy")
    read_features(place, empty(folder / "cache"))


def copied(path: Path, folder: Path) -> Path:
    """Copy a file, for a reader that removes damaged files."""
    return Path(shutil.copy(path, empty(folder / "arrays") / path.name))


def extract(path: Path, folder: Path) -> None:
    members = list_members(path, lambda name: parse_name(Path(name).name))
    extract_members(path, members, folder / "there")
    assert all(is_extracted(member, folder / "there") for member in members)


def read_lock(path: Path) -> None:
    LockFile(path)


def check_folder(path: Path, folder: Path) -> None:
    """Run ``data check`` on a folder with this lock file."""
    shutil.copy(path, folder / LOCK_FILE)
    shutil.copy(path.parent / "a.wav", folder / "03-01-01-01-01-01-01.wav")
    check_corpus(folder)


def read_quarantine(path: Path, folder: Path) -> None:
    shutil.copy(path, folder)
    quarantine = Quarantine(folder)
    assert isinstance(quarantine.reasons, dict)
    quarantine.update([], ["k"], {})


def remember_sums(path: Path, folder: Path) -> None:
    memory = Path(shutil.copy(path, folder))
    hashes = FileHashes(memory)
    assert not hashes.knows(path)
    assert len(hashes[path]) == 64
    hashes.save()
    assert FileHashes(memory).knows(path)


def read_tensors(path: Path) -> None:
    tensors = ClipTensors(path)
    for clip in tensors.clips:
        tensors[clip]
    ClipTensors.are_whole(path)


def load_model_with(path: Path, good: Path, place: Path) -> None:
    for name in (CONFIG, WEIGHTS):
        shutil.copy(path if name == path.name or path.suffix == Path(name).suffix else good / name, place / name)
    load_model_folder(place)
    prediction = EmotionRecognizer.from_pretrained(place)(np.zeros(16_000, np.float32) + 0.1)
    assert 0 <= prediction.score <= 1
