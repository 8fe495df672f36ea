import os
import signal
import threading
import time

import pytest

from crossmodal.cli.main import main
from crossmodal.errors import DiskSpaceError, StorageError
from crossmodal.stopping import Terminated, handle_stops, stopped_by_signals
from crossmodal.storage import atomic_path, disk_errors


def handlers():
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]


@pytest.mark.parametrize("number, error", [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_stops_the_block_and_handlers_come_back(number, error):
    before = handlers()
    with pytest.raises(error), stopped_by_signals():
        signal.raise_signal(number)
    assert handlers() == before


def test_a_second_sigterm_does_not_disturb_what_the_first_one_started():
    with stopped_by_signals():
        with pytest.raises(Terminated) as stopped:
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert stopped.value.code == 143


@pytest.mark.parametrize("number, error", [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_that_meets_a_destructor_is_not_lost(number, error):
    class Closing:
        def __del__(self):
            close()

    def close():
        signal.raise_signal(number)

    with pytest.raises(error), stopped_by_signals():
        closing = Closing()
        del closing
        time.sleep(10)


@pytest.fixture
def ignored():
    """Both signals are ignored, as SIGINT is in a background job."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_sigint_stays_ignored_in_a_background_job(ignored):
    with stopped_by_signals():
        signal.raise_signal(signal.SIGINT)
    assert handlers() == [signal.SIG_IGN] * 2


def test_sigterm_stops_a_background_job(ignored):
    with pytest.raises(Terminated), stopped_by_signals():
        signal.raise_signal(signal.SIGTERM)
    assert handlers() == [signal.SIG_IGN] * 2


def test_a_thread_hears_no_signals():
    heard = []
    thread = threading.Thread(target=lambda: heard.append(handle_stops(lambda *_: None)))
    thread.start()
    thread.join()
    assert heard == [{}]


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_is_stopped_says_how_to_go_on(monkeypatch, capsys, number, status):
    monkeypatch.setattr("crossmodal.pipeline.run.fit_command", lambda args: signal.raise_signal(number))
    before = handlers()
    assert main(["fit"]) == status
    assert capsys.readouterr().err == "crossmodal fit: interrupted; rerun the same command to resume\n"
    assert handlers() == before


def test_a_full_disk_is_told_with_the_file_that_had_no_room(tmp_path, monkeypatch, capsys):
    path = tmp_path / "model"

    def fill(args):
        with atomic_path(path):
            raise OSError(28, "No space left on device")  # as `write` says it, without the name of the file

    monkeypatch.setattr("crossmodal.pipeline.run.fit_command", fill)
    assert main(["fit"]) == 1
    said = capsys.readouterr().err
    assert said == (
        f"crossmodal fit: There is no room for {path}: No space left on device. Make room; the same command goes on "
        "where it was.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_safetensors_says_in_words_what_the_system_said():
    from safetensors import SafetensorError

    with pytest.raises(DiskSpaceError, match="There is no room for a file"), disk_errors():
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(SafetensorError), disk_errors():
        raise SafetensorError("Error while deserializing header: header too large")


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(StorageError, match=r"runs/fit.* cannot be written or read: Not a directory"), disk_errors():
        (tmp_path / "runs" / "fit").mkdir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_told(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(StorageError, match="cannot be written or read: Permission denied"), disk_errors():
        (tmp_path / "runs").mkdir()


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), disk_errors():
        (tmp_path / "gone").read_text()
    with pytest.raises(ZeroDivisionError), disk_errors():
        raise ZeroDivisionError
