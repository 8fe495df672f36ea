import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path

import pytest
from pebble.pool.process import PoolManager

from crossmodal import process_pool
from crossmodal.process_pool import Failure, map_in_processes, run_in_processes
from tests.child_work import wait_for, work


def run(folder, *whats, **kwargs):
    jobs = [(what, folder) for what in whats]
    outcomes = map_in_processes(work, jobs, description="Working", **{"num_processes": 2, **kwargs})
    return {what: outcome for (what, _), outcome in outcomes}


def hang(path: str) -> None:
    """Never end and ignore SIGTERM, as Lightning does, if there is a path."""
    if not path:
        return
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


def test_each_job_has_a_result_or_a_failure(tmp_path):
    outcomes = run(tmp_path, "good", "damaged", "hangs", "dies", "hangs once", "other", time_limit=1.5)
    assert outcomes == {
        "good": "good 1",
        "other": "other 1",
        "damaged": Failure("it is damaged", lasting=True),
        "hangs": outcomes["hangs"],
        "dies": outcomes["dies"],
        "hangs once": "hangs once 2",  # as if the machine was suspended or short of memory
    }
    for name, words in (("hangs", "2 s"), ("dies", "exit code")):
        assert words in outcomes[name].reason
        assert not outcomes[name].lasting
    tries = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    assert tries == {"good": 1, "other": 1, "damaged": 1, "hangs": 2, "dies": 2, "hangs once": 2}


def test_busy_jobs_are_repeated(tmp_path):
    assert run(tmp_path, "busy", "good", again=lambda result: result == "busy") == {"busy": "busy 3", "good": "good 1"}


def test_any_number_of_jobs(tmp_path, monkeypatch):
    names = [f"job {number}" for number in range(40)]  # more than the queue holds
    assert run(tmp_path, *names, num_processes=1) == {name: f"{name} 1" for name in names}
    monkeypatch.setattr(process_pool, "ProcessPool", None)
    assert run(tmp_path) == {}


def test_other_errors_stop_all_jobs(tmp_path):
    began = time.monotonic()
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, "disk", *["hangs"] * 3)
    assert time.monotonic() - began < 30


def test_broken_pool_loses_no_other_job(tmp_path, monkeypatch):
    breaks = iter([True, True, True])

    def find_or_break(manager, worker_id):
        if next(breaks, False):
            raise BrokenProcessPool("All workers expired")
        return find(manager, worker_id)

    find = PoolManager.find_expired_task
    monkeypatch.setattr(PoolManager, "find_expired_task", find_or_break)
    names = [f"job {number}" for number in range(6)]
    outcomes = run(tmp_path, "dies", *names, num_processes=1)
    assert {name: outcomes[name].split()[0] for name in names} == dict.fromkeys(names, "job")
    assert "crashed" in outcomes["dies"].reason
    assert not outcomes["dies"].lasting


@pytest.mark.parametrize("how", ["script", "standard input"])
def test_script_without_a_guard_ends_with_one_error(tmp_path, how):
    code = "import os\nfrom crossmodal.process_pool import run_in_processes\n"
    code += "print(len(list(run_in_processes(os.path.basename, ['a', 'b'], 2))))\n"
    (tmp_path / "script.py").write_text(code)
    command, text = (["script.py"], None) if how == "script" else (["-"], code)
    settings = {"cwd": tmp_path, "input": text, "capture_output": True, "text": True, "timeout": 60}
    run = subprocess.run([sys.executable, *command], **settings)
    if how == "standard input" and run.returncode == 0:  # some versions of Python do not import it in the child
        assert run.stdout == "2\n"
    else:
        assert run.returncode == 1
        assert 'if __name__ == "__main__":' in run.stderr


def test_closing_the_pool_kills_processes_that_ignore_sigterm(tmp_path):
    path = tmp_path / "process"
    with pytest.raises(KeyboardInterrupt), closing(run_in_processes(hang, ["", str(path)], 2)) as results:
        next(results)
        wait_for(path.exists)
        raise KeyboardInterrupt
    assert not is_alive(int(path.read_text()))


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_processes_end_with_their_parent(tmp_path, stop):
    path = tmp_path / "process"
    code = (
        "import sys\n"
        "from contextlib import closing\n"
        "from crossmodal.process_pool import run_in_processes\n"
        "from tests.test_process_pool import hang\n"
        "if __name__ == '__main__':\n"
        "    with closing(run_in_processes(hang, [sys.argv[1]], 1)) as results:\n"
        "        next(results)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, script, path], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: path.exists() and path.read_text())
        parent.send_signal(stop)
        assert parent.wait(timeout=60) != 0
        wait_for(lambda: not is_alive(int(path.read_text())), seconds=20)
    finally:
        parent.kill()
