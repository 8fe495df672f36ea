"""What is answered, on the recognizer of a real tiny model and on a fake one that is quicker."""

import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from crossmodal import __version__
from crossmodal.inference import EmotionRecognizer
from crossmodal.inference.serve import answers
from crossmodal.inference.serve.app import create_app
from crossmodal.inference.serve.service import Work
from tests.inference.fake_model import LABELS, fake_recognizer
from tests.inference.serve.client import FORM, ask, encoded, field, form, post, serving, voice, wav
from tests.inference.serve.test_formats import through_ffmpeg

RECORDINGS = {
    "wav": wav(1.2),
    "48 kHz stereo": wav(1.2, 48_000, channels=2),
    "float wav": encoded(voice(1.2), subtype="FLOAT"),
    "flac": encoded(voice(1.2), format="FLAC"),
    "ogg": encoded(voice(1.2), format="OGG", subtype="VORBIS"),
    "mp3": encoded(voice(1.2), format="MP3", subtype="MPEG_LAYER_III"),
    "mp4": through_ffmpeg("mp4", 1.2),
    "webm": through_ffmpeg("webm", 1.2),
    "a quarter of a second": wav(0.25),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_as_body_or_in_a_form_is_heard_as_the_recognizer_hears_it(name, port, heard):
    content = RECORDINGS[name]
    expected = heard(content).as_dict()
    for answer in (post(port, content), post(port, form(content), headers=FORM)):
        assert answer.status == 200, answer.body
        assert answer.json == expected
        answers.PredictionAnswer.model_validate(answer.json)


@pytest.mark.parametrize(
    "query, arguments", [("timeline=true", {}), ("timeline=1&window=0.5&hop=0.25", {"window": 0.5, "hop": 0.25})]
)
def test_a_timeline_is_that_of_the_recognizer(query, arguments, port, heard):
    content = encoded(np.concatenate([voice(4.0), np.zeros((32_000, 1)), voice(1.0, pitch=900)]))
    answer = post(port, content, f"/v1/predict?{query}")
    assert answer.status == 200, answer.body
    assert answer.json == heard.timeline(content, **arguments).as_dict()
    answers.TimelineAnswer.model_validate(answer.json)


def test_silence_is_said_to_be_so(port):
    answer = post(port, encoded(np.zeros(16_000, np.int16)))
    assert (answer.status, answer.json) == (200, {"label": "silence", "score": 1.0, "probabilities": {}})


def test_a_real_model_answers_as_in_python(recognizer: EmotionRecognizer, tiny_ravdess):
    wavs = sorted(tiny_ravdess.rglob("*.wav"))[:5]
    with serving(create_app(recognizer, work=Work(decoders=1))) as port:
        for path in wavs:
            answer = post(port, form(path.read_bytes(), path.name), headers=FORM).json
            expected = recognizer(path)
            assert answer["label"] == expected.label
            assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)


def test_requests_that_arrive_together_are_one_batch_and_get_their_own_answers():
    recognizer = fake_recognizer()
    contents = [wav(0.5 + 0.01 * index, pitch=100 + 20 * index) for index in range(24)]
    expected = [recognizer(content).as_dict() for content in contents]
    recognizer.model.batches.clear()
    with (
        serving(create_app(recognizer, work=Work(batch_size=8, batch_wait=0.1))) as port,
        ThreadPoolExecutor(24) as clients,
    ):
        found = list(clients.map(lambda content: post(port, content), contents))
    assert [answer.json for answer in found] == expected
    sizes = [size for size, _ in recognizer.model.batches]
    assert sum(sizes) == 24
    assert max(sizes) == 8
    assert len(sizes) < 12


def test_the_model_is_described_without_where_it_was_made(summary, port):
    recognizer = fake_recognizer()
    recognizer.config |= {"corpus": summary["corpus"], "protocol": "seq6", "fold": 0, "actors_seen": ["05", "09"]}
    with serving(create_app(recognizer, work=Work(decoders=1))) as described:
        said = ask(described, "/v1/model").json
    answers.ModelAnswer.model_validate(said)
    assert said["labels"] == list(LABELS)
    assert said["sample_rate"] == 16_000
    assert said["backend"] == "onnx"
    assert said["limits"]["upload_bytes"] == 32_000_000
    assert said["limits"]["seconds"] == 120
    assert said["limits"]["timeline_seconds"] == 300
    assert said["trained_on"] == {"corpus": "ravdess", "protocol": "seq6", "fold": 0, "actors_seen": ["05", "09"]}
    assert said["licence"] == "cc-by-nc-sa-4.0"
    assert said["versions"] == {"crossmodal": __version__}
    unknown = ask(port, "/v1/model").json
    assert (unknown["trained_on"], unknown["licence"]) == ({"corpus": "unknown"}, "unknown")


def test_it_says_that_it_is_well(port):
    answer = ask(port, "/healthz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


def test_it_says_that_it_is_not_well(monkeypatch):
    monkeypatch.setattr("crossmodal.inference.serve.service.Service.is_well", False)
    with serving(create_app(fake_recognizer(), work=Work(decoders=1))) as port:
        answer = ask(port, "/healthz")
        assert (answer.status, answer.code) == (503, "not_well")


def test_every_answer_is_numbered(port):
    numbers = {ask(port, path).headers["x-request-id"] for path in ("/healthz", "/healthz", "/v1/model", "/gone")}
    assert len(numbers) == 4


class TestWhatCannotBeAsked:
    @pytest.mark.parametrize("path", ["/gone", "/v1", "/docs", "/v1/predict/etc/passwd"])
    def test_a_path_that_is_not_there(self, path, port):
        answer = ask(port, path)
        assert (answer.status, answer.code) == (404, "not_found")

    def test_a_method_that_is_not_meant(self, port):
        answer = ask(port, "/v1/predict")
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"

    @pytest.mark.parametrize(
        "query",
        [
            "timeline=perhaps",
            "timeline=true&window=long",
            "timeline=true&window=0.05",
            "timeline=true&window=31",
            "timeline=true&window=nan",
            "timeline=true&hop=0.01",
            "timeline=true&hop=inf",
            "timeline=true&hop=4",
            "timeline=true&window=30&hop=2",
        ],
    )
    def test_a_parameter_that_cannot_be(self, query, port):
        answer = post(port, wav(), f"/v1/predict?{query}")
        assert (answer.status, answer.code) == (422, "bad_parameter")
        assert re.match("timeline|window|hop", answer.json["error"]["reason"])

    def test_a_path_or_an_address_in_place_of_sound(self, port):
        more = field("url", b"http://127.0.0.1/clip.wav") + field("path", b"/etc/passwd")
        last = b"------------a-boundary--\r\n"
        answer = post(port, more + last, "/v1/predict?path=/etc/passwd&url=http://127.0.0.1/x.wav", FORM)
        assert (answer.status, answer.code) == (422, "no_file")
        assert post(port, b"http://127.0.0.1/clip.wav").code == "not_sound"


class TestDescription:
    def test_openapi_names_every_path_and_the_form_of_every_refusal(self, port):
        schema = ask(port, "/openapi.json").json
        assert schema["info"]["version"] == __version__
        assert schema["paths"].keys() == {"/healthz", "/v1/model", "/v1/predict"}
        predict = schema["paths"]["/v1/predict"]["post"]
        assert [parameter["name"] for parameter in predict["parameters"]] == ["timeline", "window", "hop"]
        assert predict["requestBody"]["content"].keys() == {"multipart/form-data", "application/octet-stream"}
        assert predict["responses"].keys() == {"200", "401", "408", "413", "415", "422", "503"}
        for status in ("413", "415", "422", "503"):
            form = predict["responses"][status]["content"]["application/json"]["schema"]
            assert form == {"$ref": "#/components/schemas/ErrorAnswer"}

    def test_the_page_names_every_path_and_loads_nothing(self, port):
        answer = ask(port, "/")
        assert answer.headers["content-type"].startswith("text/html")
        page = answer.body.decode()
        for path in ("GET /healthz", "GET /v1/model", "POST /v1/predict", "WebSocket /v1/stream"):
            assert path in page
        assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|\bsrc=", page)
        assert set(re.findall(r'href="([^"]*)"', page)) == {"openapi.json"}

    def test_what_the_page_shows_of_the_schema_is_text_and_no_markup(self):
        from crossmodal.inference.serve.page import api_page

        operation = {"summary": "<b>", "responses": {"200": {"description": "<i>"}}}
        page = api_page(
            {"info": {"title": "<u>", "version": "1", "description": "&"}, "paths": {"/<p>": {"get": operation}}}
        )
        assert not re.search("<b>|<i>|<u>|/<p>", page)
        assert "&amp;" in page
