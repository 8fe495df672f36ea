import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from crossmodal.studies.pool import Job, run_jobs


def work(outcome: str) -> str | None:
    """Succeed, fail, raise or exit."""
    if outcome == "fail":
        return "it failed"
    if outcome == "raise":
        raise ValueError("it raised")
    if outcome == "die":
        os._exit(3)
    return None


def note(path: str) -> None:
    """Write the start and end times to a file."""
    start = time.monotonic()
    time.sleep(0.2)
    Path(path).write_text(f"{start} {time.monotonic()}")


def hang(path: str) -> None:
    """Never end and ignore SIGTERM, as Lightning does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(path).write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_each_job_returns_its_failure_and_the_others_continue():
    jobs = [Job(str(index), outcome) for index, outcome in enumerate(["fine", "fail", "raise", "die", "fine"])]
    reasons = {job.name: reason for job, reason in run_jobs(work, jobs, 1)}
    assert reasons["0"] is None
    assert reasons["4"] is None
    assert reasons["1"] == "it failed"
    assert reasons["2"] == "ValueError: it raised"
    assert "exit code 3" in reasons["3"]
    assert not multiprocessing.active_children()


def test_jobs_run_after_the_one_that_computes_the_shared_result(tmp_path):
    names = ["first", "second", "third"]
    jobs = [Job(name, str(tmp_path / name), frozenset({"teacher"})) for name in names]
    assert all(reason is None for _, reason in run_jobs(note, jobs, 2))
    spans = {name: [float(number) for number in (tmp_path / name).read_text().split()] for name in names}
    assert spans["first"][1] < min(spans["second"][0], spans["third"][0])


def test_the_next_job_runs_if_the_first_one_fails():
    jobs = [Job("a", "fail", frozenset({"x"})), Job("b", "fine", frozenset({"x"})), Job("c", "fine", frozenset({"x"}))]
    assert [(job.name, reason) for job, reason in run_jobs(work, jobs, 1)] == [
        ("a", "it failed"),
        ("b", None),
        ("c", None),
    ]


def test_no_jobs():
    assert list(run_jobs(work, [], 2)) == []


def test_closing_the_pool_kills_processes_that_ignore_sigterm(tmp_path):
    path = tmp_path / "process"
    with (
        pytest.raises(KeyboardInterrupt),
        closing(run_jobs(hang_if_path, [Job("a", ""), Job("b", str(path))], 2)) as results,
    ):
        next(results)
        wait_for(path.exists)
        raise KeyboardInterrupt
    assert not is_alive(int(path.read_text()))


def hang_if_path(path: str) -> None:
    """Hang if there is a path."""
    if path:
        hang(path)


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_their_parent(tmp_path, stop):
    path = tmp_path / "process"
    code = (
        "import sys\n"
        "from contextlib import closing\n"
        "from crossmodal.studies.pool import Job, run_jobs\n"
        "from tests.studies.test_pool import hang\n"
        "if __name__ == '__main__':\n"
        "    with closing(run_jobs(hang, [Job('a', sys.argv[1])], 1)) as results:\n"
        "        next(results)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, script, path], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: path.exists() and path.read_text())
        parent.send_signal(stop)
        assert parent.wait(timeout=60) != 0
        wait_for(lambda: not is_alive(int(path.read_text())), seconds=20)
    finally:
        parent.kill()
