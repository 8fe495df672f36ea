import contextlib
import itertools
import json
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.apps.serve import schemas
from tests.apps.serve.client import post, voice, wav
from tests.apps.serve.conftest import SECRET, SMALL
from tests.inference.fake_model import LABELS

HELLO = {"sample_rate": 16_000, "format": "float32", "window": 0.5, "hop": 0.25}


@contextlib.contextmanager
def stream(port, hello=HELLO, **options):
    """A connection that has sent its first message."""
    with connect(f"ws://127.0.0.1:{port}/v1/stream", proxy=None, **options) as connection:
        connection.send(hello if isinstance(hello, str | bytes) else json.dumps(hello))
        yield connection


def rest(connection):
    """All remaining messages until the server disconnects."""
    messages = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            messages.append(json.loads(connection.recv()))
    return messages


def refusal(connection):
    """The error code of the last message, and the close code."""
    messages = rest(connection)
    assert messages[-1]["error"].keys() == {"code", "reason"}
    return messages[-1]["error"]["code"], connection.close_code


def send_chunks(port, hello, chunks):
    """Send chunks, and return the windows and the last message."""
    with stream(port, hello) as connection:
        assert json.loads(connection.recv()) == {"ready": True, "labels": list(LABELS)}
        for chunk in chunks:
            connection.send(chunk)
        connection.send('{"end": true}')
        *windows, last = rest(connection)
    assert connection.close_code == 1000
    for window in windows:
        schemas.WindowResponse.model_validate(window)
    return windows, last


def cut(content: bytes, places) -> list[bytes]:
    places = sorted({0, len(content), *(place % len(content) for place in places)})
    return [content[first:end] for first, end in itertools.pairwise(places)]


SOUND = voice(1.9)[:, 0].astype(np.float32)
SOUND[8_000:20_000] = 0  # something to be silent about


@given(st.lists(st.integers(0, 10**6), max_size=8))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_windows_do_not_depend_on_the_chunks(port, shared, places):
    """A chunk may end in the middle of a sample."""
    expected = shared.stream(16_000, window=0.5, hop=0.25)
    windows = [*expected.feed(SOUND), *expected.finish()]
    found, last = send_chunks(port, HELLO, cut(SOUND.tobytes(), places))
    assert found == [window.as_dict() for window in windows]
    assert {window["label"] for window in found} > {"silence"}
    assert last == {"end": True, "duration": expected.duration}


@pytest.mark.parametrize("format", ["float32", "int16"])
@pytest.mark.parametrize("rate, channels", [(48_000, 2), (8_000, 1), (44_100, 1)])
def test_formats_rates_and_channels(format, rate, channels, port, shared):
    samples = voice(1.3, rate, channels=channels)
    samples[:, -1] *= 0.5
    given_samples = (samples * 32767).astype("<i2") if format == "int16" else samples.astype("<f4")
    expected = shared.stream(rate, window=0.5, hop=0.5)
    windows = [*expected.feed(given_samples.T), *expected.finish()]
    hello = {"sample_rate": rate, "format": format, "channels": channels, "window": 0.5, "hop": 0.5}
    content = given_samples.tobytes()
    found, _ = send_chunks(port, hello, cut(content, range(0, len(content), 10_007)))
    assert [(window["start"], window["end"]) for window in found] == [(one.start, one.end) for one in windows]
    for window, one in zip(found, windows, strict=True):
        assert window["probabilities"] == pytest.approx(one.prediction.probabilities, abs=1e-5)


def test_windows_are_sent_while_the_stream_is_open(port):
    with stream(port) as connection:
        connection.recv()
        connection.send(SOUND[:8_000].tobytes())
        assert json.loads(connection.recv(timeout=5))["end"] == 0.5
        connection.send(SOUND[8_000:12_000].tobytes())
        assert json.loads(connection.recv(timeout=5))["end"] == 0.75


def test_the_default_window_is_three_seconds(port):
    sound = voice(4.0)[:, 0].astype(np.float32)
    found, _ = send_chunks(port, {"sample_rate": 16_000, "format": "float32"}, [sound.tobytes()])
    assert [(window["start"], window["end"]) for window in found] == [(0.0, 3.0), (0.5, 3.5), (1.0, 4.0)]


class TestErrors:
    @pytest.mark.parametrize(
        "hello, code",
        [
            *((hello, "bad_hello") for hello in ("no json", b"bytes", "[]", {}, HELLO | {"url": "http://127.0.0.1/"})),
            *((HELLO | one, "bad_hello") for one in ({"format": "mp3"}, {"sample_rate": "fast"})),
            *((HELLO | {"sample_rate": rate}, "bad_sample_rate") for rate in (0, 10**9)),
            *((HELLO | {"channels": channels}, "too_many_channels") for channels in (0, 9)),
            *((HELLO | one, "bad_parameter") for one in ({"window": 0}, {"window": 1e9}, {"hop": 0.001})),
            ('{"sample_rate": 16000, "format": "int16", "hop": NaN}', "bad_parameter"),
        ],
        ids=str,
    )
    def test_an_invalid_first_message(self, hello, code, port):
        with stream(port, hello) as connection:
            assert refusal(connection) == (code, 1007)

    @pytest.mark.parametrize("message", ["hello", "{}", '{"end": false}', "[1]"])
    def test_an_unexpected_text_message(self, message, port):
        with stream(port) as connection:
            connection.recv()
            connection.send(message)
            assert refusal(connection) == ("bad_message", 1007)

    @pytest.mark.parametrize(
        "message", [*(np.full(100, sample, "f4").tobytes() for sample in (np.nan, np.inf, 1e30)), '{"end": true}']
    )
    def test_invalid_or_no_samples(self, message, port):
        with stream(port) as connection:
            connection.recv()
            connection.send(message)
            assert refusal(connection) == ("bad_samples", 1007)

    @pytest.mark.parametrize("message", [bytes(1_100_000), [bytes(300_000)] * 4], ids=["whole", "in fragments"])
    def test_a_message_that_is_too_large(self, message, port):
        with stream(port) as connection:
            connection.recv()
            with contextlib.suppress(ConnectionClosed):
                connection.send(message)
            assert rest(connection) == []
            assert connection.close_code == 1009

    def test_an_idle_stream_is_closed(self, small_port):
        with stream(small_port) as connection:
            connection.recv()
            start = time.perf_counter()
            assert refusal(connection) == ("idle", 1008)
            assert 0.5 < time.perf_counter() - start < 5
        with connect(f"ws://127.0.0.1:{small_port}/v1/stream", proxy=None) as connection:  # no first message
            assert refusal(connection) == ("idle", 1008)

    def test_an_unknown_websocket_path(self, port):
        with pytest.raises(InvalidStatus) as raised, connect(f"ws://127.0.0.1:{port}/v1/gone", proxy=None):
            pass
        assert raised.value.response.status_code in (403, 404)


def test_the_number_of_streams_is_limited(small_port):
    with contextlib.ExitStack() as stack:
        for _ in range(SMALL.streams):
            stack.enter_context(stream(small_port)).recv()
        with stream(small_port) as one_more:
            assert refusal(one_more) == ("busy", 1013)
    time.sleep(0.2)
    send_chunks(small_port, HELLO, [SOUND.tobytes()])
    assert post(small_port, wav()).status == 200


def test_an_internal_error_is_logged_without_content(failing_port, caplog):
    caplog.set_level("INFO", "crossmodal.serve")
    with stream(failing_port) as connection:
        connection.recv()
        connection.send(SOUND.tobytes())
        assert rest(connection) == []
        assert connection.close_code == 1011
    assert post(failing_port, b"not sound").status == 415
    messages = [record.getMessage() for record in caplog.records if record.name == "crossmodal.serve"]
    # Another test's server may say late what it answered.
    (failed,) = (place for place, line in enumerate(messages) if "failed: ValueError at " in line)
    number = messages[failed].split()[0]
    assert any(line.startswith(f"{number} WEBSOCKET /v1/stream 101 ") for line in messages[failed:])
    assert "my-diary" not in caplog.text


class TestToken:
    def test_in_the_header_or_in_the_first_message(self, guarded):
        with stream(guarded, additional_headers={"Authorization": f"Bearer {SECRET}"}) as connection:
            assert "ready" in connection.recv()
        send_chunks(guarded, HELLO | {"token": SECRET}, [SOUND.tobytes()])

    def test_a_wrong_header_is_rejected_before_the_connection_is_accepted(self, guarded):
        hello = HELLO | {"token": SECRET}
        wrong = {"Authorization": "Bearer wrong"}
        with pytest.raises(InvalidStatus) as raised, stream(guarded, hello, additional_headers=wrong):
            pass
        assert raised.value.response.status_code == 401
        assert json.loads(raised.value.response.body)["error"]["code"] == "unauthorized"

    @pytest.mark.parametrize("more", [{}, {"token": "wrong"}, {"token": ""}], ids=str)
    def test_a_missing_or_wrong_token_in_the_first_message(self, more, guarded):
        with stream(guarded, HELLO | more) as connection:
            assert refusal(connection) == ("unauthorized", 1008)


def test_a_page_of_another_site_cannot_connect(port):
    with pytest.raises(InvalidStatus) as raised, stream(port, origin="https://example.org"):
        pass
    assert raised.value.response.status_code == 403
    with stream(port, origin=f"http://127.0.0.1:{port}") as connection:
        assert "ready" in connection.recv()
