import time
from concurrent.futures.process import BrokenProcessPool

import pytest
from pebble.pool.process import PoolManager

from crossmodal.datasets import process_pool
from crossmodal.datasets.process_pool import Failure, map_in_processes
from tests.datasets.child_work import work


def run(folder, *whats, **kwargs):
    jobs = [(what, folder) for what in whats]
    outcomes = map_in_processes(work, jobs, description="Working", **{"num_processes": 2, **kwargs})
    return {what: outcome for (what, _), outcome in outcomes}


def test_each_job_has_its_result_or_why_there_is_none(tmp_path):
    outcomes = run(tmp_path, "good", "damaged", "hangs", "dies", "hangs once", "other", time_limit=1.5)
    assert outcomes == {
        "good": "good 1",
        "other": "other 1",
        "damaged": Failure("it is damaged", lasting=True),
        "hangs": Failure("decoding did not end within 2 s", lasting=False),
        "dies": outcomes["dies"],
        "hangs once": "hangs once 2",  # the machine was asleep, or short of memory
    }
    assert outcomes["dies"].reason.startswith("the decoder crashed on it (exit code")
    assert not outcomes["dies"].lasting
    tries = {path.name: len(path.read_text()) for path in tmp_path.iterdir()}
    assert tries == {"good": 1, "other": 1, "damaged": 1, "hangs": 2, "dies": 2, "hangs once": 2}


def test_what_is_to_be_done_again_is_done_again(tmp_path):
    assert run(tmp_path, "busy", "good", again=lambda result: result == "busy") == {"busy": "busy 3", "good": "good 1"}


def test_what_is_no_fault_of_a_file_ends_everything(tmp_path):
    began = time.monotonic()
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, "disk", *["hangs"] * 3)
    assert time.monotonic() - began < 30


def test_a_child_that_dies_before_anybody_knows_what_it_is_at_takes_no_other_along(tmp_path, monkeypatch):
    breaks = iter([True, True, True])

    def look(manager, worker_id):
        if next(breaks, False):
            raise BrokenProcessPool("All workers expired")
        return find(manager, worker_id)

    find = PoolManager.find_expired_task
    monkeypatch.setattr(PoolManager, "find_expired_task", look)
    names = [f"job {number}" for number in range(6)]
    outcomes = run(tmp_path, "dies", *names, num_processes=1)
    assert {name: outcomes[name].split()[0] for name in names} == dict.fromkeys(names, "job")
    assert outcomes["dies"] == Failure("the decoder crashed on it", lasting=False)


def test_without_jobs_no_child_is_started(monkeypatch):
    monkeypatch.setattr(process_pool, "ProcessPool", None)
    assert list(map_in_processes(work, [], description="Working")) == []


def test_more_jobs_than_lie_ready_at_a_time_are_all_done(tmp_path):
    names = [f"job {number}" for number in range(40)]
    assert run(tmp_path, *names, num_processes=1) == {name: f"{name} 1" for name in names}
