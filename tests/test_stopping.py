import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossmodal.cli.main import main
from crossmodal.errors import DiskSpaceError, StorageError
from crossmodal.stopping import Terminated, handle_stops, stopped_by_signals
from crossmodal.storage import atomic_path, disk_errors


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


@pytest.mark.parametrize("number, error", [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_signal_stops_the_block_and_handlers_are_restored(number, error):
    before = handlers()
    with pytest.raises(error), stopped_by_signals():
        signal.raise_signal(number)
    assert handlers() == before


@pytest.mark.parametrize("number, error", [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_signal_during_a_destructor_is_not_lost(number, error):
    class Closing:
        def __del__(self):
            signal.raise_signal(number)

    with pytest.raises(error), stopped_by_signals():
        closing = Closing()
        del closing
        time.sleep(10)


def test_sigterm_stops_a_background_job_and_sigint_stays_ignored():
    """Shells let background jobs ignore SIGINT; a second SIGTERM is ignored."""
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, signal.SIG_IGN) for number in signals]
    try:
        with stopped_by_signals():
            with pytest.raises(Terminated) as stopped:
                for number in reversed(signals):
                    signal.raise_signal(number)
            signal.raise_signal(signal.SIGTERM)
        assert handlers() == [signal.SIG_IGN] * 2
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    assert stopped.value.code == 143


def test_threads_install_no_handlers():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(handle_stops, lambda *_: None).result() == {}


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted_command_explains_how_to_resume(monkeypatch, capsys, number, status):
    monkeypatch.setattr("crossmodal.cli.fit.fit_command", lambda args: signal.raise_signal(number))
    before = handlers()
    assert main(["fit"]) == status
    assert capsys.readouterr().err == "crossmodal fit: interrupted; rerun the same command to resume\n"
    assert handlers() == before


def test_full_disk_error_names_the_file(tmp_path, monkeypatch, capsys):
    path = tmp_path / "model"

    def fill(args):
        with atomic_path(path):
            raise OSError(28, "No space left on device")  # like `write`, without the name of the file

    monkeypatch.setattr("crossmodal.cli.fit.fit_command", fill)
    assert main(["fit"]) == 1
    message = capsys.readouterr().err
    assert str(path) in message
    assert "No space left on device" in message
    assert list(tmp_path.iterdir()) == []


def test_system_errors_of_safetensors_are_converted():
    from safetensors import SafetensorError

    with pytest.raises(DiskSpaceError, match="space"), disk_errors():
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(SafetensorError), disk_errors():
        raise SafetensorError("Error while deserializing header: header too large")


def test_unusable_folders(tmp_path):
    (tmp_path / "runs").write_text("")
    for path, reason in {
        "runs/fit": "Not a directory",
        "runs": "exists",
        "gone/fit": "No such",
        "x" * 300: "long",
    }.items():
        with pytest.raises(StorageError, match=rf"{path}.*: .*{reason}"), disk_errors():
            (tmp_path / path).mkdir()
    if os.geteuid():  # root can write everywhere
        tmp_path.chmod(0o555)
        with pytest.raises(StorageError, match="Permission denied"), disk_errors():
            (tmp_path / "more").mkdir()


def test_other_errors_are_unchanged():
    with pytest.raises(ConnectionError), disk_errors():
        raise ConnectionError
    with pytest.raises(ZeroDivisionError), disk_errors():
        raise ZeroDivisionError
