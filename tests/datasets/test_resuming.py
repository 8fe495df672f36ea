"""Concurrent and killed processes on one cache always give the same result."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from crossmodal.datasets.cache import prepare_corpus
from crossmodal.datasets.ravdess import index_ravdess
from crossmodal.datasets.synthetic import synthesize
from tests.child_work import wait_for
from tests.datasets.arrays import arrays

SCRIPT = """
import sys
from pathlib import Path
from crossmodal.datasets.cache import prepare_corpus
from crossmodal.datasets.ravdess import index_ravdess

corpus = prepare_corpus(index_ravdess(Path(sys.argv[1])).clips, folder=Path(sys.argv[2]), num_processes=1)
print(corpus.made, corpus.reused, len(corpus.clips))
"""


def start(root: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(root), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.fixture(scope="module")
def voices(tiny_ravdess, tmp_path_factory):
    """Return a folder with sixteen wavs, and the cache content of one undisturbed process."""
    folder = tmp_path_factory.mktemp("voices")
    root = tiny_ravdess / "Actor_01"
    corpus = prepare_corpus(index_ravdess(root).clips, folder=folder)
    assert (len(corpus.clips), corpus.made) == (16, 16)
    return root, arrays(folder)


def test_two_processes_share_the_work(voices, tmp_path):
    root, expected = voices
    both = [start(root, tmp_path), start(root, tmp_path)]
    outputs = [process.communicate(timeout=120)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    made, reused, clips = zip(*(map(int, words) for words in outputs), strict=True)
    assert sum(made) == len(expected)
    assert [a + b for a, b in zip(made, reused, strict=True)] == list(clips) == [len(expected)] * 2
    assert arrays(tmp_path) == expected
    assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []


def test_array_of_another_process_is_awaited(voices, tmp_path):
    root, expected = voices
    first = Path(min(expected)).stem
    lock = FileLock(tmp_path / "locks" / f"{first[:3]}.lock")
    lock.acquire()
    process = start(root, tmp_path)
    try:
        wait_for(lambda: len(arrays(tmp_path)) == len(expected) - 1)
        time.sleep(0.3)
        assert process.poll() is None
    finally:
        lock.release()
    assert process.communicate(timeout=60)[0].split() == [str(len(expected)), "0", str(len(expected))]
    assert arrays(tmp_path) == expected


def test_killed_run_resumes_with_the_same_result(voices, tmp_path):
    root, expected = voices
    for least in (2, 7):
        process = start(root, tmp_path)
        wait_for(lambda least=least: len(arrays(tmp_path)) >= least)
        process.kill()
        process.wait(timeout=60)
    leftover = arrays(tmp_path)
    assert 7 <= len(leftover) < len(expected)
    corpus = prepare_corpus(index_ravdess(root).clips, folder=tmp_path)
    assert corpus.made + corpus.reused == len(expected)
    assert corpus.reused >= len(leftover)
    assert arrays(tmp_path) == expected
    assert [path for path in tmp_path.rglob("*.tmp")] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_ten_random_kills_give_the_same_result(tmp_path, seed):
    """Kill the command while it hashes, decodes and writes sound and faces."""
    root = synthesize(tmp_path / "corpus", actors=2, resolution=(320, 180), num_processes=1)
    command = [sys.executable, "-m", "crossmodal", "data", "prepare", str(root), "--num_processes", "2", "--cache"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    began = time.monotonic()
    subprocess.run([*command, str(tmp_path / "undisturbed")], check=True, **quiet)
    lasts, expected = time.monotonic() - began, arrays(tmp_path / "undisturbed")
    assert len(expected) == 120
    rng, kills = np.random.default_rng(seed), []
    while len(kills) < 10:
        process = subprocess.Popen([*command, str(tmp_path / "killed")], start_new_session=True, **quiet)
        time.sleep(rng.uniform(0.1, lasts / 4))
        if process.poll() is None:
            (os.killpg if rng.random() < 0.5 else os.kill)(process.pid, signal.SIGKILL)
            kills.append(len(arrays(tmp_path / "killed")))
        elif kills and kills[-1] == len(expected):
            shutil.rmtree(tmp_path / "killed")  # it had finished: start over
        process.wait(timeout=60)
    subprocess.run([*command, str(tmp_path / "killed")], check=True, **quiet)
    assert arrays(tmp_path / "killed") == expected
    assert [path for path in tmp_path.rglob("*.tmp")] == []
