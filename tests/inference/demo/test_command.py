import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from crossmodal.cli.main import main

# Whatever the process asks of another machine than this one is an address in its output.
WATCHED = """
import sys

def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        print("LEFT THE MACHINE:", arguments[1], flush=True)
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "127.0.0.1", "localhost", b"127.0.0.1"):
        print("ASKED FOR:", arguments[0], flush=True)

sys.addaudithook(watch)
from crossmodal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def served(model_folder, tmp_path_factory):
    """A page in a process of its own: its address, the process, and the folder where it may write."""
    pytest.importorskip("gradio", reason="the page is served with the extra `demo`")
    temporary = tmp_path_factory.mktemp("temporary")
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, "demo", str(model_folder), "--control", str(model_folder), "--port", "0"],
        env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    line = process.stdout.readline()
    yield line, process, temporary
    process.kill()


def test_it_says_where_it_is_answers_and_stops_when_told_to(served):
    line, process, temporary = served
    assert line.startswith("The page is at http://127.0.0.1:")
    address = line.split()[4]
    with urllib.request.urlopen(address) as response:
        assert b"What a voice model hears" in response.read()
    assert [path.name[:16] for path in temporary.iterdir()] == ["crossmodal-demo-"]
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")  # no word of another machine, and no traceback
    assert list(temporary.iterdir()) == []


def test_a_port_that_is_taken_is_one_line(model_folder, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", str(model_folder), "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("crossmodal demo: ")
    assert str(port) in said
    assert "--port" in said


@pytest.mark.parametrize("arguments", [["nowhere"], ["{model}", "--control", "nowhere"]])
def test_a_model_that_is_not_there_is_one_line(model_folder, capsys, arguments):
    assert main(["demo", *(argument.format(model=model_folder) for argument in arguments)]) == 1
    assert capsys.readouterr().err.startswith("crossmodal demo: nowhere is not a model folder")


def test_the_page_does_not_say_where_on_the_machine_a_model_lies():
    from crossmodal.inference.demo.command import short_name

    assert short_name("/home/me/runs/fit/model") == short_name(str(Path("/home/me/runs/fit/model/"))) == "fit/model"
    assert short_name("runs/fit/model") == "fit/model"
    assert short_name("someone/voice") == "someone/voice"
