import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossmodal.errors import ConfigError
from crossmodal.pipeline.processes import Processes
from tests.pipeline import fit, read_rows

# Only the order of the clips is random, and it does not depend on the number of processes.
DETERMINISTIC = [
    "--transfer.model.encoder_kwargs.dropout=0",
    "--transfer.model.dropout=0",
    "--transfer.model.augmentation=null",
    "--teacher.model.dropout=0",
    "--transfer.model.class_weighting=true",
    "--transfer.model.more_losses={supcon: 0.1, rkd: 0.1}",
]


def start(args, launcher=(sys.executable,)):
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*launcher, "-m", "crossmodal", "fit", "--trainer.accelerator=cpu", *args]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def assert_alike(first, second, tolerance=2e-5):
    assert [row.keys() for row in first] == [row.keys() for row in second]
    for one, other in zip(first, second, strict=True):
        for name, value in one.items():
            try:
                assert float(value) == pytest.approx(float(other[name]), abs=tolerance), name
            except ValueError:
                assert value == other[name]


def test_two_processes_give_the_same_results_as_one(tiny_args, tmp_path):
    args = [*tiny_args(tmp_path), *DETERMINISTIC]
    fit([*args, "--trainer.accelerator=cpu", "--name=one"])
    process = start([*args, "--name=two", "--trainer.devices=2"])
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert output.count("supervised: 3 epochs") == output.count("control: 2 epochs") == 1, "only one process prints"
    assert "Warning" not in output
    for stage in ("teacher", "supervised", "control", "transfer", "finetune"):
        for file in ("predictions.csv", "metrics.csv"):
            one, two = (read_rows(tmp_path / "runs" / name / stage / file) for name in ("one", "two"))
            assert_alike(one, two)


@pytest.mark.slow
def test_two_machines_under_torchrun(tiny_args, tmp_path):
    args = [*tiny_args(tmp_path), "--stages=control", "--trainer.num_nodes=2", "--trainer.devices=1"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = ["--master_addr=127.0.0.1", f"--master_port={free.getsockname()[1]}"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", *master]
    machines = [start(args, launcher=[*torchrun, f"--node_rank={rank}"]) for rank in range(2)]
    outputs = [machine.communicate(timeout=240)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    assert "control: 2 epochs" in outputs[0]
    assert outputs[1] == ""


@pytest.fixture
def two_in_training(tiny_args, tmp_path):
    """A command in endless training, and the ids of its two processes."""
    args = [*tiny_args(tmp_path), "--stages=control", "--transfer.trainer.max_epochs=10000"]
    process = start([*args, "--trainer.devices=2"])
    both = [process.pid]
    try:
        until((tmp_path / "runs" / "fit" / "supervised" / "checkpoints" / "last.ckpt").exists, 120)
        both += children(process.pid)
        assert len(both) == 2
        yield process, both
    finally:
        for one in filter(alive, both):
            os.kill(one, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_killing_a_process_ends_the_other(two_in_training, victim):
    process, both = two_in_training
    os.kill(both[victim], signal.SIGKILL)
    until(lambda: not any(map(alive, both)), 60)
    output, _ = process.communicate(timeout=10)
    assert process.returncode != 0
    assert "another process" in output


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_first_process_ends_all(two_in_training, number, status):
    process, both = two_in_training
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert not any(map(alive, both))
    assert process.returncode == status
    assert output.count("to resume") == 1
    assert "Traceback" not in output


def children(parent):
    """Return the other processes of the run, without Python's resource trackers."""
    numbers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(number) for number in numbers if "crossmodal" in Path(f"/proc/{number}/cmdline").read_text()]


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(reached, seconds):
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_single_process_runs_rank_zero_functions():
    processes = Processes({"accelerator": "cpu", "devices": 1})
    with processes.launch():
        assert (processes.number, processes.is_first) == (1, True)
        assert processes.run_on_rank_zero(lambda: "done") == "done"
        with pytest.raises(ZeroDivisionError):
            processes.run_on_rank_zero(lambda: 1 / 0)


def test_other_errors_are_not_converted():
    with pytest.raises(RuntimeError, match="something else"), Processes({"accelerator": "cpu"}).launch():
        raise RuntimeError("something else")


@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork", "ddp_notebook"])
def test_a_strategy_that_starts_processes_for_each_stage_is_refused(strategy):
    with pytest.raises(ConfigError, match=strategy):
        Processes({"accelerator": "cpu", "devices": 2, "strategy": strategy})


def test_unavailable_devices_are_refused():
    with pytest.raises(ConfigError, match="devices none"):
        Processes({"accelerator": "cpu", "devices": "none"})
