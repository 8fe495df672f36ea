from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.apps.serve.client import FORM, ask, form, post, wav
from tests.apps.serve.hostile import hostile_uploads
from tests.apps.serve.process import served

CLIENTS = 8
ALLOWED = {200, 413, 415, 422}
MOST_GROWTH = 100  # MB, of the server and its decoders together


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
@pytest.mark.parametrize("count", [80, pytest.param(1_000, marks=pytest.mark.slow)])
def test_hostile_uploads_are_rejected_and_the_server_keeps_running(count):
    """The server answers several clients at a time, stays healthy and stays small."""
    with served() as server, ThreadPoolExecutor(CLIENTS) as clients:
        good = post(server.port, wav())
        for _ in range(4):
            post(server.port, wav(60.0))  # what memory an honest minute takes
        before, decoders = server.resident(), server.children()

        def send(numbered):
            number, (name, content) = numbered
            if number % 10 == 5 and "bomb" not in name:
                return name, post(server.port, content, "/v1/predict?timeline=true")
            if number % 2:
                return name, post(server.port, content)
            return name, post(server.port, form(content, "clip.wav"), headers=FORM)

        found = list(clients.map(send, enumerate(hostile_uploads(count))))
        assert {name: answer.body for name, answer in found if answer.status not in ALLOWED} == {}
        codes = {name: answer.code for name, answer in found if answer.status != 200}
        assert ask(server.port, "/healthz").status == 200
        assert post(server.port, wav()).json == good.json
        assert server.resident() - before < MOST_GROWTH
        assert len(server.children()) == len(decoders)
        assert server.stop() == (0, "")
        assert "failed" not in server.log()
        assert len(server.log().splitlines()) == count + 7
    for name in ("zip bomb", "gzip bomb", "hls playlist", "ffconcat", "pickle"):
        assert codes[name] == "not_sound"
    for name in ("flac bomb", "ogg bomb", "mp3 bomb", "mp4 bomb", "webm bomb"):
        assert codes[name] == "too_long"
    for name in ("1,152,000,000 bytes", "all nan", "all inf", "no samples", "0 Hz", "65,535 channels", "one sample"):
        assert codes[name] == "cannot_be_decoded"
    assert codes["1,000 channels"] in ("too_many_channels", "cannot_be_decoded")
