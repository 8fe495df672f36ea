"""Limits apply while reading and decoding, whatever a client declares."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from crossmodal.apps.serve.app import create_app
from crossmodal.apps.serve.limits import Limits
from tests.apps.serve.client import BOUNDARY, FORM, encoded, field, form, post, serving, talk, voice, wav
from tests.apps.serve.conftest import SMALL
from tests.inference.fake_model import fake_recognizer

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: here\r\n"
TOO_LARGE = 5 * SMALL.upload_bytes
CHUNKS = [b"x" * 50_000] * 40  # without a declared length


def refused(answer):
    return answer.status, answer.code


class TestBytes:
    @pytest.mark.parametrize(
        "content, headers",
        [
            (bytes(TOO_LARGE), {}),
            (form(bytes(TOO_LARGE)), FORM),
            (form(wav(), more=field(value=bytes(TOO_LARGE))), FORM),
            (CHUNKS, {}),
            ([form(b"")[: -len(BOUNDARY) - 8], *CHUNKS], FORM),
        ],
        ids=["body", "file", "field", "chunked body", "chunked form"],
    )
    def test_an_upload_that_is_too_large(self, content, headers, small_port):
        assert refused(post(small_port, content, headers=headers)) == (413, "upload_too_large")

    def test_a_large_declared_length_is_rejected_before_the_body_is_sent(self, small_port):
        answer = talk(small_port, HEAD + b"Content-Length: 99999999999\r\n\r\n")
        assert b" 413 " in answer and b"upload_too_large" in answer

    @pytest.mark.parametrize("lie", [b"100", b"-5", b"many", b"1e3", b"0x10"])
    def test_an_invalid_declared_length(self, lie, small_port):
        """The 100 bytes are a truncated file; the rest is neither part of this request nor another one."""
        answer = talk(small_port, HEAD + b"Content-Length: " + lie + b"\r\n\r\n" + wav(3.0))
        assert answer.startswith((b"HTTP/1.1 422 ", b"HTTP/1.1 400 ") if lie == b"100" else b"HTTP/1.1 400 ")

    def test_an_endless_body_is_rejected_while_it_is_sent(self, small_port):
        with socket.create_connection(("127.0.0.1", small_port), timeout=10) as connection:
            connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            chunk = b"%x\r\n" % 50_000 + b"x" * 50_000 + b"\r\n"
            for _ in range(20):
                connection.sendall(chunk)
            assert b" 413 " in connection.recv(65536)

    def test_an_upload_just_below_the_limit_is_accepted(self, small_port):
        content = wav(3.0, 48_000)[: SMALL.upload_bytes]
        assert len(content) < SMALL.upload_bytes < len(content) + len(wav(1.2, 48_000))
        assert post(small_port, content).status == 200

    def test_all_uploads_together_are_limited(self, small_port):
        """Two incomplete uploads fill most of the memory; a third one is rejected."""
        half = SMALL.upload_bytes - 50_000
        slow = [socket.create_connection(("127.0.0.1", small_port), timeout=10) for _ in range(2)]
        try:
            for connection, size in zip(slow, (half, SMALL.held_bytes - half - 10_000), strict=True):
                connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (size + 1) + bytes(size))
            time.sleep(0.2)
            answer = post(small_port, bytes(100_000))
            assert refused(answer) == (503, "busy")
            assert answer.headers["retry-after"] == "1"
        finally:
            for connection in slow:
                connection.close()
        time.sleep(0.2)
        assert post(small_port, wav()).status == 200


class TestForm:
    def test_other_fields_are_ignored(self, small_port):
        assert post(small_port, form(wav(), more=field()), headers=FORM).status == 200

    @pytest.mark.parametrize(
        "content, code",
        [
            (form(b""), "empty"),
            (field() + f"--{BOUNDARY}--\r\n".encode(), "no_file"),
            (form(wav())[: -len(BOUNDARY) - 8] + b"\r\n" + form(wav()), "bad_form"),
            (b"no form at all", "bad_form"),
            (b"".join(field(f"field{index}") for index in range(99)) + form(wav()), "bad_form"),
        ],
        ids=["empty", "no file", "two files", "no form", "too many fields"],
    )
    def test_a_form_without_exactly_one_file(self, content, code, small_port):
        assert refused(post(small_port, content, headers=FORM)) == (422, code)

    def test_an_empty_body_and_a_form_without_its_boundary(self, small_port):
        assert refused(post(small_port, b"")) == (422, "empty")
        headers = {"Content-Type": "multipart/form-data"}
        assert refused(post(small_port, form(wav()), headers=headers)) == (422, "bad_form")


class TestSound:
    @pytest.mark.parametrize(
        "content, status, code",
        [
            (wav(4.5), 413, "too_long"),
            (encoded(voice(60.0), format="OGG", subtype="VORBIS"), 413, "too_long"),
            (wav(channels=3), 422, "too_many_channels"),
            (wav(rate=3_000), 422, "bad_sample_rate"),
            (wav(rate=384_000), 422, "bad_sample_rate"),
            (wav(0.05), 422, "cannot_be_decoded"),
            (wav()[:-1000], 422, "cannot_be_decoded"),
            (b"PK\x03\x04" + bytes(1000), 415, "not_sound"),
        ],
        ids=["long", "long when decoded", "channels", "low rate", "high rate", "short", "cut", "zip"],
    )
    def test_a_recording_that_exceeds_a_limit_or_is_not_sound(self, content, status, code, small_port):
        assert refused(post(small_port, content)) == (status, code)
        assert refused(post(small_port, form(content), headers=FORM)) == (status, code)

    def test_names_and_content_types_are_ignored(self, small_port):
        assert post(small_port, form(wav(), "clip.zip"), headers=FORM).status == 200
        assert post(small_port, wav(), headers={"Content-Type": "text/plain"}).status == 200
        assert refused(post(small_port, form(b"text", "clip.wav"), headers=FORM)) == (415, "not_sound")
        assert refused(post(small_port, b"text", headers={"Content-Type": "audio/wav"})) == (415, "not_sound")

    def test_a_reason_contains_no_path_and_no_object(self, small_port):
        for content in (wav()[:-1000], b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(100), b"OggS" + bytes(100)):
            reason = post(small_port, content).json["error"]["reason"]
            assert " at 0x" not in reason
            assert "bytes:" not in reason


class TestTime:
    def test_an_incomplete_upload_times_out(self, small_port):
        answer = talk(small_port, HEAD + b"Content-Length: 1000\r\n\r\n" + bytes(10))
        assert b" 408 " in answer and b"upload_too_slow" in answer

    def test_a_client_that_disconnects_frees_its_place(self, small_port):
        for _ in range(3 * SMALL.requests):
            with socket.create_connection(("127.0.0.1", small_port)) as connection:
                connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + bytes(10))
        time.sleep(0.3)
        assert post(small_port, wav()).status == 200


class TestConcurrency:
    def test_requests_above_the_limit_get_503_and_the_others_are_answered(self):
        recognizer = fake_recognizer()
        predict, proceed = recognizer.predict_batch, threading.Event()
        recognizer.predict_batch = lambda waveforms: proceed.wait(20) and predict(waveforms)
        app = create_app(recognizer, limits=Limits(requests=4))
        with serving(app) as port, ThreadPoolExecutor(12) as clients:
            waiting = [clients.submit(post, port, wav()) for _ in range(12)]
            while sum(one.done() for one in waiting) < 8:
                time.sleep(0.01)
            proceed.set()
            found = [one.result() for one in waiting]
            again = post(port, wav())
        busy = [(*refused(answer), answer.headers["retry-after"]) for answer in found if answer.status != 200]
        assert busy == [(503, "busy", "1")] * 8
        assert len({str(answer.json) for answer in found if answer.status == 200}) == 1
        assert again.status == 200

    def test_a_timeline_does_not_delay_a_label(self):
        recognizer = fake_recognizer()
        proceed = threading.Event()
        timeline = recognizer.timeline
        recognizer.timeline = lambda *args, **kwargs: proceed.wait(20) and timeline(*args, **kwargs)
        with serving(create_app(recognizer)) as port, ThreadPoolExecutor(1) as client:
            long = client.submit(post, port, wav(), "/v1/predict?timeline=true")
            time.sleep(0.2)
            assert post(port, wav()).status == 200
            assert not long.done()
            proceed.set()
            assert long.result().status == 200
