import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from crossmodal.studies.pool import Job, run_jobs, startable


def work(what: str) -> str | None:
    """What a job of these tests does."""
    if what == "fail":
        return "it failed"
    if what == "raise":
        raise ValueError("it raised")
    if what == "die":
        os._exit(3)
    return None


def note(path: str) -> None:
    """Write down when this began and ended."""
    start = time.monotonic()
    time.sleep(0.2)
    Path(path).write_text(f"{start} {time.monotonic()}")


def hang(path: str) -> None:
    """Never end, and do not listen to SIGTERM, as Lightning does not."""
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


def job(name, *makes):
    return Job(name, name, frozenset(makes))


class TestWhoMayStart:
    def test_those_that_share_nothing_start_together(self):
        jobs = [job("a", "x"), job("b", "y"), job("c", "z")]
        assert startable(jobs, [], set(), 2) == jobs[:2]

    def test_one_of_those_that_make_the_same_goes_first(self):
        jobs = [job("a", "x"), job("b", "x"), job("c", "x", "y"), job("d", "z")]
        assert [one.name for one in startable(jobs, [], set(), 4)] == ["a", "d"]

    def test_once_it_is_made_they_all_may(self):
        jobs = [job("a", "x"), job("b", "x"), job("c", "x", "y"), job("d", "y")]
        assert [one.name for one in startable(jobs, [], {"x"}, 4)] == ["a", "b", "c"]

    def test_they_wait_for_the_one_that_runs(self):
        assert startable([job("b", "x")], [job("a", "x")], set(), 1) == []
        assert startable([job("b", "x")], [job("a", "x")], {"x"}, 1) == [job("b", "x")]

    def test_where_nothing_runs_somebody_may_start(self):
        assert startable([job("a", "x", "y"), job("b", "x")], [], set(), 1) == [job("a", "x", "y")]


def test_each_job_ends_with_what_went_wrong_and_the_others_go_on():
    jobs = [Job(str(index), what) for index, what in enumerate(["fine", "fail", "raise", "die", "fine"])]
    ended = {job.name: reason for job, reason in run_jobs(work, jobs, 1)}
    assert ended["0"] is None
    assert ended["4"] is None
    assert ended["1"] == "it failed"
    assert ended["2"] == "ValueError: it raised"
    assert "exit code 3" in ended["3"]
    assert not multiprocessing.active_children()


def test_siblings_run_after_the_one_that_makes_what_they_share(tmp_path):
    names = ["first", "second", "third"]
    jobs = [Job(name, str(tmp_path / name), frozenset({"teacher"})) for name in names]
    assert all(reason is None for _, reason in run_jobs(note, jobs, 2))
    spans = {name: [float(number) for number in (tmp_path / name).read_text().split()] for name in names}
    assert spans["first"][1] < min(spans["second"][0], spans["third"][0])


def test_where_the_first_one_fails_the_next_one_makes_it():
    jobs = [Job("a", "fail", frozenset({"x"})), Job("b", "fine", frozenset({"x"})), Job("c", "fine", frozenset({"x"}))]
    assert [(job.name, reason) for job, reason in run_jobs(work, jobs, 1)] == [
        ("a", "it failed"),
        ("b", None),
        ("c", None),
    ]


def test_nothing_to_do_is_nothing():
    assert list(run_jobs(work, [], 2)) == []


def test_a_stopped_pool_leaves_nobody_alive_who_is_deaf_to_sigterm(tmp_path):
    path = tmp_path / "process"
    with pytest.raises(KeyboardInterrupt), closing(run_jobs(either, [Job("a", ""), Job("b", str(path))], 2)) as ended:
        next(ended)
        wait_for(path.exists)
        raise KeyboardInterrupt
    assert not is_alive(int(path.read_text()))


def either(path: str) -> None:
    """Hang where there is a path."""
    if path:
        hang(path)


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc to see whether a process lives")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_parent_ends_its_processes_end_too(tmp_path, stop):
    path = tmp_path / "process"
    code = (
        "import sys\n"
        "from contextlib import closing\n"
        "from crossmodal.studies.pool import Job, run_jobs\n"
        "from tests.studies.test_pool import hang\n"
        "if __name__ == '__main__':\n"
        "    with closing(run_jobs(hang, [Job('a', sys.argv[1])], 1)) as ended:\n"
        "        next(ended)\n"
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
