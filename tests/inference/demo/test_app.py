import asyncio
import json
import os
import re
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from crossmodal.errors import MissingExtraError
from crossmodal.inference.demo import app
from crossmodal.inference.demo.app import create_answer, create_app
from crossmodal.inference.demo.listening import ACTED, Limits, Listener, listen
from tests.inference.fake_model import fake_recognizer

gradio_client = pytest.importorskip("gradio_client", reason="the page is served with the extra `demo`")


@pytest.fixture
def answer(listeners, tmp_path):
    return create_answer(listeners, tmp_path / "results", Limits(seconds=20))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's address, served on a port that is free, and its folder; it takes 20 s and half a megabyte."""
    import uvicorn

    folder = tmp_path_factory.mktemp("page")
    listeners = [Listener("model", "mine", fake_recognizer()), Listener("control", "other", fake_recognizer())]
    before = dict(os.environ)
    application = create_app(listeners, folder, Limits(seconds=20, megabytes=0.5))
    config = uvicorn.Config(application, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", folder
    server.should_exit = True
    thread.join(10)
    os.environ.clear()
    os.environ.update(before)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def client(page):
    client = gradio_client.Client(page[0], verbose=False, analytics_enabled=False)
    yield client
    client.close()


def fetch(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as response:
        return response.headers, response.read()


def test_a_recording_is_answered_with_a_page_and_a_file(answer, recordings, listeners):
    html, file = answer(str(recordings / "voice.wav"))
    assert file.name == "voice.emotions.json"
    listened = listen(recordings / "voice.wav", listeners, longest=20)
    assert json.loads(file.read_text()) == json.loads(json.dumps(listened.as_dict()))
    sound = Path(unquote(re.search(r'src="gradio_api/file=([^"]+)"', html)[1]))
    samples, sample_rate = soundfile.read(sound)
    assert sample_rate == 16_000
    np.testing.assert_allclose(samples, listened.waveform, atol=1e-4)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("text.wav", "text.wav cannot be heard: it is not a sound file[^.]*"),
        ("click.wav", "click.wav cannot be heard: it lasts 0.050 s, too short: a voice takes 0.1 s or more"),
        ("silence.wav", "silence.wav cannot be heard: there is nothing to hear: no moment of it is louder than -60 dB"),
        ("gone.wav", "gone.wav cannot be heard: [^.]*"),
    ],
)
def test_what_cannot_be_heard_is_answered_with_one_sentence(answer, recordings, file, sentence):
    html, download = answer(str(recordings / file))
    assert re.fullmatch(rf'<p class="cm-error" role="alert">{sentence}( of full scale)?\.</p>', html)
    assert download is None


def test_what_is_too_long_is_told(listeners, recordings, tmp_path):
    html, _ = create_answer(listeners, tmp_path, Limits(seconds=5))(str(recordings / "voice.wav"))
    assert "voice.wav cannot be heard: it lasts more than 5 s, the most that this page takes." in html


def test_nothing_at_all_is_told(answer):
    assert "choose a file or record one" in answer(None)[0]


def test_what_nobody_thought_of_is_a_sentence_here_and_a_traceback_there(listeners, recordings, tmp_path, caplog):
    def fail(*_):
        raise ZeroDivisionError("in /some/where")

    listeners[0].recognizer.model.probabilities = fail
    html, download = create_answer(listeners, tmp_path, Limits())(str(recordings / "voice.wav"))
    assert "Something went wrong with voice.wav" in html
    assert "some/where" not in html
    assert download is None
    assert "ZeroDivisionError" in caplog.text


def test_what_is_old_is_forgotten_while_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "_EVERY", 0.01)
    files = [tmp_path / where / name / "sound.wav" for where in ("uploads", "results") for name in ("old", "new")]
    broken_off = tmp_path / "uploads" / "broken_off"
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"sound")
    broken_off.write_bytes(b"so")

    async def run():
        async with app._forgetting(tmp_path):
            for file in files:
                if file.parent.name == "old":
                    os.utime(file.parent, (0, time.time() - 3700))
            os.utime(broken_off, (0, time.time() - 3700))
            await asyncio.sleep(0.1)

    asyncio.run(run())
    assert [file.exists() for file in [*files, broken_off]] == [False, True, False, True, False]


def test_a_long_name_is_cut(answer, recordings, tmp_path):
    long = tmp_path / f"{'ü' * 120}.wav"
    long.write_bytes((recordings / "voice.wav").read_bytes())
    assert answer(str(long))[1].name == f"{'ü' * 50}.emotions.json"


def test_without_gradio_the_extra_is_named(monkeypatch, listeners, tmp_path):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "as it was")
    with pytest.raises(MissingExtraError, match=r"pip install 'crossmodal\[demo\]'"):
        create_app(listeners, tmp_path, Limits())


def test_it_loads_nothing_from_anyone_else(page):
    headers, html = fetch(page[0])

    tags = re.findall(r"<(?:script|img|link|iframe|source)\b[^>]*>", html.decode())
    addresses = re.findall(r'(?:src|href)="([^"]+)"', "".join(tags))
    elsewhere = [address for address in addresses if re.match(r"(https?:)?//", address)]
    assert addresses
    assert [address for address in elsewhere if not address.startswith(page[0])] == []
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert b"fonts.googleapis" not in html


def test_gradio_tells_nobody_and_keeps_no_history(page):
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] in ("1", "True")
    config = json.loads(fetch(f"{page[0]}/config")[1])
    assert config["analytics_enabled"] is False
    assert config["footer_links"] == []
    assert not config.get("run_history")
    assert config.get("space_id") is None


def test_the_page_says_what_it_is_not(page):
    config = json.loads(fetch(f"{page[0]}/config")[1])
    values = [unescape(str(part["props"].get("value"))) for part in config["components"]]
    assert any(ACTED in value for value in values)


def test_what_a_program_gets_is_what_the_page_shows(client, page, recordings):
    html, file = client.predict(gradio_client.handle_file(recordings / "voice.wav"), api_name="/recognize")
    read = json.loads(Path(file["value"] if isinstance(file, dict) else file).read_text())
    expected = fake_recognizer()(recordings / "voice.wav")
    for model in read["models"]:
        assert model["prediction"]["label"] == expected.label
        assert model["prediction"]["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)
    assert read["agreement"] == pytest.approx(1)
    address = re.search(r'<audio [^>]*src="([^"]+)"', html)[1]
    headers, sound = fetch(f"{page[0]}/{address}", Range="bytes=0-43")
    assert headers["content-type"] in ("audio/wav", "audio/x-wav")
    assert sound[:4] == b"RIFF"
    assert len(sound) == 44  # a part of it: the browser can move in the sound


def test_an_error_reaches_a_program_as_a_sentence(client, recordings):
    html, _ = client.predict(gradio_client.handle_file(recordings / "text.wav"), api_name="/recognize")
    assert "text.wav cannot be heard" in html


def ask_for(page, **file):
    """What the page answers to who names a file that was not uploaded."""
    asked = {"data": [{"orig_name": "secret.wav", "meta": {"_type": "gradio.FileData"}, **file}]}
    address = f"{page[0]}/gradio_api/call/recognize"
    with urllib.request.urlopen(
        urllib.request.Request(address, json.dumps(asked).encode(), {"Content-Type": "application/json"})
    ) as response:
        event = json.load(response)["event_id"]
    return fetch(f"{address}/{event}")[1].decode()


@pytest.mark.parametrize(
    "file",
    [
        {"path": "{secret}"},
        {"path": "{secret}", "is_stream": True},
        {"path": "{secret}", "url": "{secret}"},
        {"path": "file://{secret}"},
        {"path": "{page}/uploads/../../{name}/secret.wav"},
        {"path": "https://example.com/secret.wav"},
        {"path": "x", "url": "https://example.com/secret.wav"},
    ],
    ids=str,
)
def test_what_was_not_uploaded_cannot_be_asked_for(page, tmp_path, file):
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, np.sin(np.arange(16_000)), 16_000)
    fill = {"secret": secret, "page": page[1], "name": tmp_path.name}
    filled = {key: value if value is True else value.format(**fill) for key, value in file.items()}
    answer = ask_for(page, **filled)
    assert answer.startswith("event: error")
    assert not [path for path in page[1].rglob("*secret*") if path.is_file()]


def test_other_files_and_other_servers_are_not_shown(page, tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"secret")
    for address in (f"{tmp_path}/secret.wav", "https://example.com/secret.wav", "http%3A//example.com/secret.wav"):
        with pytest.raises(urllib.error.HTTPError, match=r"403|404"):
            fetch(f"{page[0]}/gradio_api/file={address}")


def test_what_is_too_large_is_not_taken(client, page, tmp_path):
    large = tmp_path / f"{uuid.uuid4()}.wav"
    soundfile.write(large, np.zeros(300_000), 16_000)
    with pytest.raises(Exception, match=r"(?i)size|large|413|limit"):
        client.predict(gradio_client.handle_file(large), api_name="/recognize")
    assert not [path for path in (page[1] / "uploads").rglob("*") if path.is_file() and path.stat().st_size > 500_000]


def test_the_scripts_and_the_style_are_in_the_package():
    for name in ("page.css", "picker.js", "player.js"):
        assert (Path(app.__file__).with_name(name)).read_text(encoding="utf-8")
