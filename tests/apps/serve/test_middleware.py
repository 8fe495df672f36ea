import logging
import re
import time
from unittest.mock import Mock

import pytest

from crossmodal.apps.serve.authentication import Token
from crossmodal.apps.serve.limits import RequestError
from crossmodal.apps.serve.middleware import LOG
from tests.apps.serve import conftest
from tests.apps.serve.client import FORM, ask, form, post, wav
from tests.apps.serve.conftest import SECRET

BEARER = {"Authorization": f"Bearer {SECRET}"}
LINE = re.compile(r"[0-9a-f]{12} (GET|POST|WEBSOCKET|\(unknown\)) (/[\w./]*|\(unknown\)) \d{3} \d+\.\d{3} s")


@pytest.fixture
def log(caplog):
    """Return a function that waits for a number of log lines: a line follows its response."""
    time.sleep(0.3)  # the last line of the test before is no line of this one
    caplog.set_level(logging.INFO, LOG.name)

    def lines(count):
        deadline = time.monotonic() + 10
        while True:
            found = [record.getMessage() for record in caplog.records if record.name == LOG.name]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    return lines


class TestToken:
    @pytest.mark.parametrize(
        "shown",
        ["", SECRET, f"Basic {SECRET}", "Bearer", "Bearer ", f"Bearer {SECRET}x", f"Bearer {SECRET[:-1]}", "Bearer é"],
    )
    def test_a_missing_or_wrong_token_is_rejected(self, shown, guarded):
        headers = {"Authorization": shown.encode()} if shown else {}
        for answer in (post(guarded, wav(), headers=headers), ask(guarded, "/v1/model", headers=headers)):
            assert (answer.status, answer.code) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert SECRET not in answer.body.decode()

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_the_right_token_is_accepted(self, scheme, guarded):
        headers = {"Authorization": f"{scheme} {SECRET}"}
        assert ask(guarded, "/v1/model", headers=headers).status == 200
        assert post(guarded, wav(), headers=headers).status == 200

    @pytest.mark.parametrize(
        "path", ["/", "/page/app.js", "/docs", "/static-offline-docs/swagger-ui.css", "/healthz", "/openapi.json"]
    )
    def test_public_paths_need_no_token(self, path, guarded):
        assert ask(guarded, path).status == 200

    def test_it_is_compared_in_constant_time(self, monkeypatch):
        compare = Mock(return_value=False)
        monkeypatch.setattr("crossmodal.apps.serve.authentication.hmac.compare_digest", compare)
        with pytest.raises(RequestError, match="unauthorized"):
            Token("right").check("right")
        compare.assert_called_once_with(b"right", b"right")


class TestOrigin:
    def test_only_pages_of_the_same_site_are_accepted(self, port):
        assert post(port, wav(), headers={"Origin": f"http://127.0.0.1:{port}"}).status == 200
        for origin in ("https://example.org", "null", f"http://localhost:{port}"):
            answer = post(port, wav(), headers={"Origin": origin})
            assert (answer.status, answer.code) == (403, "foreign_origin")


class TestLog:
    def test_a_line_has_the_request_and_its_status(self, port, log):
        answer = post(port, wav())
        ask(port, "/healthz")
        first, second = log(2)
        assert LINE.fullmatch(first)
        assert first.startswith(f"{answer.headers['x-request-id']} POST /v1/predict 200 ")
        assert " GET /healthz 200 " in second

    def test_it_contains_nothing_of_a_request(self, port, log):
        post(port, form(wav(), "my-diary.wav"), "/v1/predict?note=my-diary", headers=FORM)
        post(port, form(wav()[:-50], "my-diary.wav"), headers=FORM)
        post(port, b"my-diary")
        post(port, wav(), "/v1/predict?timeline=my-diary", {"User-Agent": "my-diary", "X-Request-ID": "my-diary"})
        ask(port, "/my-diary")
        ask(port, "/page/my-diary")
        ask(port, "/healthz", "PROPFIND")
        lines = log(7)
        assert len(lines) == 7
        assert all(LINE.fullmatch(line) for line in lines)
        assert not re.search("my-diary|PROPFIND", "".join(lines))
        assert "calm" not in "".join(lines)

    def test_an_internal_error_is_logged_with_its_location(self, failing_port, log):
        answer = post(failing_port, wav())
        assert (answer.status, answer.code) == (500, "internal_error")
        assert "my-diary" not in answer.body.decode()
        assert answer.headers["x-request-id"] in answer.json["error"]["reason"]
        failure, line = log(2)
        assert re.fullmatch(rf"[0-9a-f]{{12}} failed: ValueError at {re.escape(conftest.__file__)}:\d+", failure)
        assert line.startswith(answer.headers["x-request-id"])
        assert ask(failing_port, "/healthz").status == 200
