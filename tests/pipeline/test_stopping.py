import fcntl
import shutil
import signal
import threading

import pytest

from crossmodal.cli.main import main
from crossmodal.stopping import Terminated
from crossmodal.tasks import ControlTask
from tests.pipeline import fit
from tests.pipeline.stops import assert_same_results, at_each_batch

BATCHES = 4  # in an epoch of the tiny corpus
# Everything that has a state or draws random numbers.
EVERY_STATE = [
    "--transfer.model.patience=10",
    "--transfer.model.augmentation={speed: {}, spec_augment: {}}",
    "--transfer.model.class_weighting=true",
    "--transfer.model.dropout=0.3",
    "--teacher.model.dropout=0.3",
]


@pytest.fixture
def handlers():
    """Check that the signal handlers are restored."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
        signal.signal(number, handler)
    assert after == before


def fit_until(args, number, *where):
    """Run until a signal before the given stage, epoch and batch; return the started batches."""
    started = []

    def do(*here):
        started.append(here)
        if here == where:
            signal.raise_signal(number)

    error = Terminated if number == signal.SIGTERM else KeyboardInterrupt
    with pytest.MonkeyPatch.context() as patch, pytest.raises(error):
        at_each_batch(patch, do)
        fit(args)
    return started


def batches_of(args):
    """Run to the end; return the started batches."""
    started = []
    with pytest.MonkeyPatch.context() as patch:
        at_each_batch(patch, lambda *here: started.append(here))
        fit(args)
    return started


@pytest.mark.parametrize(
    "more",
    [EVERY_STATE, pytest.param(["--data.num_workers=2"], marks=pytest.mark.slow)],
    ids=["every state", "workers"],
)
def test_an_interrupted_run_gives_the_same_results(decoded, tiny_args, handlers, more):
    fit(tiny_args(decoded, *more, "--name=whole"))
    for name in ("stages", "teacher_outputs"):
        shutil.rmtree(decoded / "cache" / name)
    args = tiny_args(decoded, *more)
    stops = [("teacher", 0, 1), ("teacher", 1, 2), ("supervised", 2, 1), ("control", 1, 1)]
    stops += [("transfer", 1, 2), ("finetune", 0, 0)]
    for index, stop in enumerate(stops):
        fit_until(args, (signal.SIGTERM, signal.SIGINT)[index % 2], *stop)
    fit(args)
    assert_same_results(decoded / "runs" / "fit", decoded / "runs" / "whole", "model.safetensors")


def test_a_signal_interrupts_training_at_once_and_the_epoch_is_repeated(decoded, tiny_args, handlers):
    args = tiny_args(decoded, "--stages=teacher")
    assert fit_until(args, signal.SIGTERM, "teacher", 1, 2)[-1] == ("teacher", 1, 2)
    assert batches_of(args) == [("teacher", epoch, batch) for epoch in (1, 2) for batch in range(BATCHES)]


def test_a_signal_interrupts_validation(decoded, tiny_args, handlers, monkeypatch):
    args = tiny_args(decoded, "--stages=control")
    validated = []

    def validation_step(task, batch, batch_idx):
        validated.append(batch_idx)
        if task.trainer.current_epoch == 1 and len(validated) == 3:
            signal.raise_signal(signal.SIGTERM)
        return task._shared_step(batch, "val")

    with monkeypatch.context() as patch, pytest.raises(Terminated):
        patch.setattr(ControlTask, "validation_step", validation_step)
        fit(args)
    assert validated == [0, 1, 0]
    assert batches_of(args)[0] == ("control", 1, 0)


def flip(content):
    """Flip one bit in the middle of a tensor."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def cut(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [flip, cut, lambda content: b""], ids=["flipped", "cut", "empty"])
@pytest.mark.parametrize("name, action, first_epoch", [("last", "resuming", None), ("best", "restarting", 0)])
def test_a_damaged_checkpoint_is_reported_and_not_used(
    finished, decoded, tiny_args, capsys, name, action, first_epoch, damage
):
    args = tiny_args(decoded, "--stages=teacher")
    fit_until(args, signal.SIGINT, "teacher", 2, 2)
    path = decoded / "runs" / "fit" / "teacher" / "checkpoints" / f"{name}.ckpt"
    path.write_bytes(damage(path.read_bytes()))
    capsys.readouterr()
    started = batches_of(args)
    output = capsys.readouterr().out
    assert str(path) in output
    assert action in output
    assert started[0] == ("teacher", started[0][1] if first_epoch is None else first_epoch, 0)
    ours, theirs = (folder / "teacher" for folder in (decoded / "runs" / "fit", finished.folder))
    assert (ours / "predictions.csv").read_bytes() == (theirs / "predictions.csv").read_bytes()


def teachers_folder(store):
    stages = (store / "cache" / "stages").glob("*/metrics.csv")
    (folder,) = [path.parent for path in stages if path.read_text().startswith("epoch,teacher/")]
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "predictions.csv", "result.json"])
def test_a_damaged_result_is_not_reused(finished, store, tiny_args, name):
    path = teachers_folder(store) / name
    path.write_bytes(flip(path.read_bytes()))
    args = tiny_args(store, "--stages=teacher")
    assert batches_of(args)
    assert path.read_bytes() == (finished.folder / "teacher" / name).read_bytes() or name == "result.json"
    assert not batches_of(args)


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_waiting_for_another_run_can_be_interrupted(store, tiny_args, capsys, number, status):
    folder = teachers_folder(store)
    path = folder.parent / ".locks" / f"{folder.name}.lock"
    timer = threading.Timer(3.0, lambda: signal.pthread_kill(threading.main_thread().ident, number))
    timer.start()
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # like another run
        assert main(["fit", *tiny_args(store, "--stages=teacher")]) == status
    timer.join()
    captured = capsys.readouterr()
    assert "waiting" in captured.out
    assert "resume" in captured.err
