import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from crossmodal.cli.main import COMMANDS, main
from crossmodal.cli.serve import read_token
from crossmodal.errors import ConfigError
from crossmodal.inference import EmotionRecognizer
from tests.apps.serve.client import FORM, ask, form, post, talk, wav
from tests.apps.serve.process import ROOT, WATCHED, served, started
from tests.inference.fake_model import fake_recognizer

LINUX = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are read from Linux's /proc")


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


class TestStop:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_requests_in_progress_are_answered_and_the_status_is_0(self, number, tmp_path):
        with served(seconds=1.0, TMPDIR=str(tmp_path)) as server, ThreadPoolExecutor(3) as clients:
            under_way = [clients.submit(post, server.port, form(wav()), headers=FORM) for _ in range(3)]
            time.sleep(0.4)
            server.process.send_signal(number)
            time.sleep(0.2)
            with pytest.raises(ConnectionRefusedError):
                ask(server.port, "/healthz")
            assert [one.result().status for one in under_way] == [200, 200, 200]
            assert server.process.wait(20) == 0
            assert [line.split()[-3] for line in server.log().splitlines()] == ["200"] * 3
        assert list(tmp_path.iterdir()) == [], "no temporary file is left"

    def test_a_live_stream_is_closed_with_its_own_code(self):
        with served() as server:
            with connect(f"ws://127.0.0.1:{server.port}/v1/stream", proxy=None) as stream:
                stream.send('{"sample_rate": 16000, "format": "int16"}')
                stream.recv()
                stopped = time.monotonic()
                assert server.stop() == (0, "")
                assert time.monotonic() - stopped < 10
                with pytest.raises(ConnectionClosed):
                    stream.recv()
            assert stream.close_code == 1012

    @LINUX
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_no_decoder_outlives_the_server(self, number):
        with served() as server:
            children = server.children()
            assert len(children) == 2
            server.process.send_signal(number)
            server.process.wait(20)
            assert wait_until(lambda: all(map(is_gone, children)))

    def test_a_signal_to_the_decoders_loses_no_request(self):
        """A service manager sends SIGTERM to all processes of a service."""
        with served(seconds=0.5) as server, ThreadPoolExecutor(1) as client:
            waiting = client.submit(post, server.port, wav())
            time.sleep(0.1)
            for pid in (*server.children(), server.process.pid):
                os.kill(pid, signal.SIGTERM)
            assert waiting.result().status == 200
            assert server.process.wait(20) == 0


def test_it_prints_its_address_and_nothing_else():
    with served() as server:
        assert server.announcement == f"Serving fake (onnx) at http://127.0.0.1:{server.port} until Ctrl-C\n"
        post(server.port, form(wav(), "my-diary.wav"), headers=FORM)
        post(server.port, b"my-diary", headers=FORM)
        talk(server.port, b"NONSENSE my-diary\r\n\r\n")
        assert server.stop() == (0, "")
        assert "my-diary" not in server.log()
        lines = [line.split()[2:] for line in server.log().splitlines()]
        assert [line[-3] for line in lines if line[1] == "POST"] == ["200", "422"]
        assert len(lines) == 3, "the last one is uvicorn's: it was no HTTP"


def test_it_accepts_connections_from_this_machine_only():
    with served() as server:
        addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in addresses - {"127.0.0.1"}:
            with pytest.raises(OSError), socket.create_connection((address, server.port), timeout=2):
                pass
        assert ask(server.port, "/healthz").status == 200


def test_limits_and_token_of_the_command_line(tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    shown = {"Authorization": "Bearer s3cret"}
    arguments = ["--token_file", str(tmp_path / "token"), "--max_megabytes", "0.1", "--max_seconds", "2"]
    with served(*arguments, "--max_channels", "1", "--decoders", "1") as server:
        assert post(server.port, wav()).code == "unauthorized"
        assert post(server.port, wav(), headers=shown).status == 200
        assert post(server.port, bytes(200_000), headers=shown).code == "upload_too_large"
        assert post(server.port, wav(2.5), headers=shown).code == "too_long"
        assert post(server.port, wav(channels=2), headers=shown).code == "too_many_channels"


def test_model_of_the_synthetic_corpus_is_announced_as_such(monkeypatch, capsys):
    recognizer = fake_recognizer()
    monkeypatch.setattr("crossmodal.cli.serve._load", lambda name, backend: recognizer)
    monkeypatch.setattr("crossmodal.apps.serve.server.run_server", lambda app, listening, on_ready: 0)
    for kind, lines in (("ravdess", 0), ("synthetic", 1)):
        recognizer.config["corpus"] = {"kind": kind}
        assert main(["serve", "somewhere", "--port=0"]) == 0
        assert capsys.readouterr().err.count("trained on the synthetic corpus") == lines


class TestToken:
    def test_a_file_overrides_the_environment(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CROSSMODAL_TOKEN", "other")
        (tmp_path / "token").write_text("  s3cret\n")
        assert read_token(str(tmp_path / "token")) == "s3cret"
        assert read_token(None) == "other"
        monkeypatch.delenv("CROSSMODAL_TOKEN")
        assert read_token(None) is None

    @pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"one\ntwo", "é".encode(), b"\xff"])
    def test_an_invalid_token(self, content, tmp_path):
        (tmp_path / "token").write_bytes(content)
        with pytest.raises(ConfigError, match="token"):
            read_token(str(tmp_path / "token"))

    def test_a_missing_file_and_an_empty_variable(self, tmp_path, monkeypatch):
        monkeypatch.setenv("CROSSMODAL_TOKEN", "")
        for file, word in ((str(tmp_path / "gone"), "gone"), (None, "CROSSMODAL_TOKEN")):
            with pytest.raises(ConfigError, match=word):
                read_token(file)


class TestErrors:
    def fails(self, capsys, *arguments):
        assert main(["serve", *map(str, arguments)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("crossmodal serve: ")
        return error

    def test_a_model_whose_weights_are_damaged(self, capsys, monkeypatch):
        recognizer = fake_recognizer()
        recognizer.model.probabilities = lambda waveforms, lengths: np.full((len(waveforms), 3), np.nan)
        monkeypatch.setattr(EmotionRecognizer, "from_pretrained", lambda *args, **kwargs: recognizer)
        assert "its weights are damaged" in self.fails(capsys, "fake", "--port", 0)

    def test_a_port_in_use(self, tmp_path, capsys):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            error = self.fails(capsys, tmp_path, "--port", taken.getsockname()[1])
        assert "cannot be used" in error and "--port" in error

    @pytest.mark.parametrize("host, port", [("127.0.0.1", 70_000), ("192.0.2.1", 0), ("no.such.host.invalid", 0)])
    def test_an_address_of_another_machine(self, host, port, tmp_path, capsys):
        assert "cannot be used" in self.fails(capsys, tmp_path, "--host", host, "--port", port)

    def test_a_public_address_without_a_token_prints_a_warning(self, tmp_path, capsys):
        assert main(["serve", str(tmp_path), "--host", "0.0.0.0", "--port", "0"]) == 1
        error = capsys.readouterr().err
        assert "anyone who can reach 0.0.0.0" in error and "is not a model folder" in error

    def test_an_invalid_limit(self, tmp_path, capsys):
        options = [f"--{name}=0" for name in ("max_megabytes", "max_seconds", "max_requests", "decoders")]
        for option in (*options, *(f"--max_megabytes={number}" for number in ("nan", "inf", "-1"))):
            assert "must be above 0, not" in self.fails(capsys, tmp_path, "--port", 0, option)

    @pytest.mark.parametrize("package", ["fastapi", "fastapi_offline", "uvicorn", "python_multipart", "websockets"])
    def test_without_the_extra_it_says_what_to_install(self, package, tmp_path):
        code = f"import sys; sys.modules[{package!r}] = None; from crossmodal.cli.main import main; sys.exit(main())"
        command = [sys.executable, "-c", code, "serve", str(tmp_path), "--port", "0"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1
        assert "pip install 'crossmodal[serve]'" in done.stderr and "Traceback" not in done.stderr


def test_neither_the_server_nor_a_decoder_imports_torch():
    names = ("apps.serve.app", "apps.serve.decoder_process", "apps.serve.server", "cli.serve")
    imports = ", ".join(f"crossmodal.{name}" for name in names)
    code = f"import sys, {imports}; print({{'torch', 'torchaudio', 'lightning'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.skipif(sys.platform == "win32", reason="the browser is a shell script")
def test_demo_is_the_server_with_its_page_opened_in_the_browser(model_folder, tmp_path):
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    arguments = ["demo", model_folder, "--control", model_folder, "--port", "0"]
    with started("-c", WATCHED, *arguments, BROWSER=str(browser)) as server:
        assert wait_until(opened.exists)
        assert opened.read_text() == f"http://127.0.0.1:{server.port}"
        assert b"page/app.js" in ask(server.port, "/").body
        assert post(server.port, wav(), "/v1/predict?model=control").status == 200
        assert server.stop() == (0, ""), "nothing left the machine"


def test_demo_and_serve_differ_in_their_port_only():
    demo, serve = (vars(COMMANDS[name].parse(name, ["m"])) for name in ("demo", "serve"))
    assert (demo.pop("port"), serve.pop("port")) == (7860, 8000)
    assert demo == serve
