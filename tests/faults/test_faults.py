import os
import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.crowd import crowd
from tests.faults.harness import BATCHES, Bench, Stop, draw_stops

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@pytest.fixture(scope="session")
def bench(tiny_videos, tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("faults"), tiny_videos)
    bench.finish("whole")
    return bench


def check(bench, name, stops):
    outcomes = bench.survive(name, stops)
    ours, theirs = bench.results(name), bench.results("whole")
    assert ours.keys() == theirs.keys()
    for file, content in ours.items():
        assert content == theirs[file], file
    return outcomes


@pytest.mark.slow  # tests/pipeline/test_stopping.py interrupts a run in one process
def test_an_interrupted_run_gives_the_same_results(bench):
    kill, stop = (signal.SIGKILL, "prepare", 0.5), (signal.SIGTERM, "transfer", 0.4)
    outcomes = check(bench, "stopped", [Stop(*kill), Stop(signal.SIGKILL, "teacher", 0.6), Stop(*stop)])
    assert {one.hit for one in outcomes} - {None, "start"}


@pytest.mark.parametrize("number", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_parallel_runs_write_each_cache_entry_once(bench, number):
    shutil.rmtree(bench.folder / "shared cache", ignore_errors=True)
    made = crowd(bench, number)
    kinds = {Path(path).parts[0] for path in made}
    assert {"waveforms", "faces", "face_embeddings", "teacher_outputs", "stages"} <= kinds
    assert set(made.values()) == {1}, made.most_common(3)
    for one in range(number):
        assert bench.results(f"one of {number}, {one}") == bench.results("whole")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_random_signals_in_every_phase(bench, seed):
    check(bench, f"seed {seed}", draw_stops(random.Random(seed), SIGNALS))


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["teacher", "transfer"])
def test_a_requeued_slurm_job_resumes(bench, tmp_path, phase):
    """SLURM sends SIGUSR1 before the time limit; Lightning requeues the job, and SLURM sends SIGTERM."""
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nkill -TERM $PPID\n')
    scontrol.chmod(0o755)
    job = ["SLURM_NTASKS=1", "SLURM_JOB_NAME=fit", "SLURM_JOB_ID=17", "SLURM_PROCID=0", "SLURM_LOCALID=0"]
    launcher = ["env", f"PATH={tmp_path}:{os.environ['PATH']}", *job]
    victim = bench.start(name := f"slurm {phase}", launcher=launcher)
    begun = victim.folder / BATCHES
    while victim.is_alive and not (begun.exists() and f"{phase} " in begun.read_text()):
        time.sleep(0.01)
    victim.process.send_signal(signal.SIGUSR1)
    assert victim.wait() == 143, victim.output
    assert (tmp_path / "asked").read_text() == "requeue 17\n"
    bench.start(name, launcher=launcher).assert_ends(0)
    assert bench.results(name) == bench.results("whole")


def over_runs(options):
    """Return a launcher that mounts a tmpfs over ``runs`` for the command only."""
    script = f'mkdir -p runs && mount -t tmpfs -o {options} tmpfs runs && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, "sh"]


@pytest.fixture(scope="session")
def may_mount(tmp_path_factory):
    command = [*over_runs("size=1m"), "true"]
    try:
        folder = tmp_path_factory.mktemp("mount")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is missing")
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")


@pytest.mark.slow
@pytest.mark.parametrize("size", [20_000, 60_000, 200_000])  # a waveform, embeddings, a checkpoint
def test_a_file_size_limit(bench, size):
    """A limit of the size of files acts like a full disk."""
    name = f"no room {size}"
    victim = bench.start(name, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    victim.assert_ends(1, "No space left")
    check(bench, name, [])


@pytest.mark.slow
def test_a_full_and_a_read_only_disk(bench, may_mount):
    bench.start("read only", launcher=over_runs("ro")).assert_ends(1, "runs/fit", "Read-only file system")
    bench.start("full", launcher=over_runs("size=400k")).assert_ends(1, "runs/fit", "No space left on device")
    check(bench, "full", [])  # the last checkpoint is kept


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "flipped"])
def test_damaged_cached_arrays_are_rebuilt(bench, kind):
    name = f"{kind} cache"
    shutil.copytree(bench.folder / "whole", bench.folder / name)
    shutil.rmtree(bench.folder / name / "runs")
    cache = bench.folder / name / "cache"
    for folder in ("stages", "face_embeddings"):
        shutil.rmtree(cache / folder)
    arrays = sorted(cache.glob("*/*/*.npy"))
    for path in arrays[::3] if kind == "cut" else arrays[:1]:  # each run reports one changed array
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content if kind == "flipped" else content[: len(content) // 2])
    outcome = bench.start(name)
    if outcome.wait():  # a changed byte is found during a run and reported; the next run rebuilds the array
        assert "rerun" in outcome.output
    check(bench, name, [])
