"""Responses with a real tiny model, and with a fast fake model."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.client import connect

from crossmodal import __version__
from crossmodal.apps.serve.app import _PAGE as PAGE
from crossmodal.apps.serve.app import create_app
from crossmodal.apps.serve.limits import Limits
from crossmodal.errors import ConfigError
from crossmodal.inference import EmotionRecognizer
from crossmodal.inference.colours import colours_of
from tests.apps.serve import schemas
from tests.apps.serve.client import FORM, ask, encoded, field, form, post, serving, voice, wav
from tests.apps.serve.test_sniff import through_ffmpeg
from tests.inference.fake_model import LABELS, fake_recognizer

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
    "silence": encoded(np.zeros(16_000, np.int16)),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_as_body_or_in_a_form_has_the_prediction_of_the_recognizer(name, port, shared):
    content = RECORDINGS[name]
    expected = shared(content).as_dict()
    for answer in (post(port, content), post(port, form(content), headers=FORM)):
        assert answer.status == 200, answer.body
        assert answer.json == expected
        schemas.PredictionResponse.model_validate(answer.json)


@pytest.mark.parametrize(
    "query, arguments", [("timeline=true", {}), ("timeline=1&window=0.5&hop=0.25", {"window": 0.5, "hop": 0.25})]
)
def test_a_timeline_is_that_of_the_recognizer(query, arguments, port, shared):
    content = encoded(np.concatenate([voice(4.0), np.zeros((32_000, 1)), voice(1.0, pitch=900)]))
    answer = post(port, content, f"/v1/predict?{query}")
    assert answer.status == 200, answer.body
    assert answer.json == shared.timeline(content, **arguments).as_dict()
    schemas.TimelineResponse.model_validate(answer.json)


def test_a_real_model_answers_as_in_python(recognizer: EmotionRecognizer, tiny_ravdess):
    wavs = sorted(tiny_ravdess.rglob("*.wav"))[:5]
    with serving(create_app(recognizer, limits=Limits(decoders=1))) as port:
        for path in wavs:
            answer = post(port, form(path.read_bytes(), path.name), headers=FORM).json
            expected = recognizer(path)
            assert answer["label"] == expected.label
            assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)


def test_requests_that_arrive_during_a_batch_are_the_next_one_and_get_their_own_answers():
    recognizer = fake_recognizer()
    contents = [wav(0.5 + 0.01 * index, pitch=100 + 20 * index) for index in range(24)]
    expected = [recognizer(content).as_dict() for content in contents]
    recognizer.model.batches.clear()
    predict = recognizer.predict_batch
    recognizer.predict_batch = lambda waveforms: time.sleep(0.3) or predict(waveforms)
    app = create_app(recognizer, limits=Limits(batch_size=8))
    with serving(app) as port, ThreadPoolExecutor(24) as clients:
        found = list(clients.map(lambda content: post(port, content), contents))
    assert [answer.json for answer in found] == expected
    sizes = [size for size, _ in recognizer.model.batches]
    assert (sum(sizes), max(sizes)) == (24, 8)
    assert len(sizes) < 12


def test_the_model_is_described_without_paths(summary, port):
    recognizer = fake_recognizer()
    recognizer.config |= {"corpus": summary["corpus"], "protocol": "seq6", "fold": 0, "actors_seen": ["05", "09"]}
    with serving(create_app(recognizer, limits=Limits(decoders=1))) as described:
        answer = ask(described, "/v1/model").json
    schemas.ModelResponse.model_validate(answer)
    expected = {"labels": list(LABELS), "sample_rate": 16_000, "backend": "onnx", "colours": colours_of(LABELS)}
    expected |= {"licence": "cc-by-nc-sa-4.0", "versions": {"crossmodal": __version__}}
    assert answer.items() >= expected.items()
    assert answer["limits"].items() >= {"upload_bytes": 32_000_000, "seconds": 120, "timeline_seconds": 300}.items()
    assert answer["trained_on"] == {"corpus": "ravdess", "protocol": "seq6", "fold": 0, "actors_seen": ["05", "09"]}
    unknown = ask(port, "/v1/model").json
    assert (unknown["trained_on"], unknown["licence"]) == ({"corpus": "unknown"}, "other")


def test_model_of_the_synthetic_corpus_warns_in_every_answer(port):
    recognizer = fake_recognizer()
    recognizer.config["corpus"] = {"kind": "synthetic"}
    with serving(create_app(recognizer, control=fake_recognizer(), limits=Limits(decoders=1))) as synthetic:
        about = ask(synthetic, "/v1/model").json
        answers = [post(synthetic, wav(), f"/v1/predict{query}").json for query in ("", "?timeline=true")]
        control = post(synthetic, wav(), "/v1/predict?model=control").json
        with connect(f"ws://127.0.0.1:{synthetic}/v1/stream", proxy=None) as stream:
            stream.send('{"sample_rate": 16000, "format": "int16"}')
            ready = json.loads(stream.recv())
    assert "synthetic" in recognizer.warning
    assert {one["warning"] for one in (about, ready, *answers)} == {recognizer.warning}
    schemas.ModelResponse.model_validate(about)
    schemas.PredictionResponse.model_validate(answers[0])
    schemas.TimelineResponse.model_validate(answers[1])
    assert "warning" not in control
    assert ask(port, "/v1/model").json["warning"] is None


@pytest.mark.parametrize("query", ["", "?timeline=true"])
def test_answer_says_what_was_not_read(port, query):
    answer = post(port, wav() + wav(), f"/v1/predict{query}").json
    assert answer["warning"].startswith(f"{len(wav()):,} bytes follow")
    assert "warning" not in post(port, wav(), f"/v1/predict{query}").json


def test_health(port, monkeypatch):
    assert ask(port, "/healthz").json == {"status": "ok"}
    monkeypatch.setattr("crossmodal.apps.serve.service.Service.is_healthy", False)
    answer = ask(port, "/healthz")
    assert (answer.status, answer.code) == (503, "unhealthy")


class TestInvalidRequests:
    @pytest.mark.parametrize(
        "path", ["/gone", "/v1", "/redoc", "/page/gone.js", "/page/../app.py", "/v1/predict/etc/passwd"]
    )
    def test_an_unknown_path(self, path, port):
        answer = ask(port, path)
        assert (answer.status, answer.code) == (404, "not_found")

    def test_a_method_that_is_not_allowed(self, port):
        answer = ask(port, "/v1/predict")
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"

    @pytest.mark.parametrize(
        "query",
        ["timeline=perhaps", "model=teacher", "window=30&hop=2"]
        + [f"window={value}" for value in ("long", 0.05, 31, "nan")]
        + [f"hop={value}" for value in (0.01, "inf", 4)],
    )
    def test_an_invalid_parameter(self, query, port):
        more = "" if query.startswith("timeline") else "&timeline=true"
        answer = post(port, wav(), f"/v1/predict?{query}{more}")
        assert (answer.status, answer.code) == (422, "bad_parameter")
        assert re.match("timeline|window|hop|model", answer.json["error"]["reason"])

    def test_a_path_or_a_url_in_place_of_sound(self, port):
        more = field("url", b"http://127.0.0.1/clip.wav") + field("path", b"/etc/passwd")
        last = b"------------a-boundary--\r\n"
        answer = post(port, more + last, "/v1/predict?path=/etc/passwd&url=http://127.0.0.1/x.wav", FORM)
        assert (answer.status, answer.code) == (422, "no_file")
        assert post(port, b"http://127.0.0.1/clip.wav").code == "not_sound"


class TestDescription:
    def test_openapi_has_every_path_and_every_error(self, port):
        schema = ask(port, "/openapi.json").json
        assert schema["info"]["version"] == __version__
        assert schema["paths"].keys() == {"/healthz", "/v1/model", "/v1/predict"}
        predict = schema["paths"]["/v1/predict"]["post"]
        assert [parameter["name"] for parameter in predict["parameters"]] == ["timeline", "window", "hop", "model"]
        assert predict["requestBody"]["content"].keys() == {"multipart/form-data", "application/octet-stream"}
        assert predict["responses"].keys() == {"200", "401", "408", "413", "415", "422", "503"}
        assert all(response["description"] for response in predict["responses"].values())

    def test_the_description_page_loads_files_of_this_server_only(self, port, guarded):
        for number in (port, guarded):
            answer = ask(number, "/docs")
            assert answer.headers["content-type"].startswith("text/html")
            paths = re.findall(r'(?:src|href)="([^"]+)"', answer.body.decode())
            assert len(paths) == 3
            assert all(path.startswith("/static-offline-docs/") for path in paths)
            assert {ask(number, path).status for path in paths} == {200}

    def test_the_description_asks_for_the_token_where_there_is_one(self, port, guarded):
        assert "securitySchemes" not in ask(port, "/openapi.json").json.get("components", {})
        schema = ask(guarded, "/openapi.json").json
        assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
        assert schema["paths"]["/v1/predict"]["post"]["security"] == [{"HTTPBearer": []}]


class TestPage:
    FILES = sorted(path.name for path in PAGE.iterdir())

    def test_it_is_served_at_the_root(self, port):
        assert ask(port, "/").body == (PAGE / "index.html").read_bytes()
        assert ask(port, "/").headers["content-type"].startswith("text/html")

    @pytest.mark.parametrize("name", FILES)
    def test_its_files_are_public_and_name_no_other_host(self, name, port):
        answer = ask(port, f"/page/{name}")
        assert answer.status == 200
        text = answer.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|url\(|(?:src|href)=.//", text)

    def test_it_refers_to_files_that_exist_and_stays_small(self):
        text = "".join((PAGE / name).read_text() for name in self.FILES)
        referred = {Path(path).name for path in re.findall(r'"(?:page/|\./)([\w.]+)"', text)}
        assert referred == set(self.FILES) - {"index.html"}
        assert len(text.splitlines()) <= 720

    @pytest.mark.parametrize("path", ["/", "/page/app.js", "/gone"])
    def test_the_browser_may_load_from_this_server_only(self, path, port):
        policy = ask(port, path).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; connect-src 'self';")
        assert not re.search("unsafe|http", policy)


@pytest.fixture(scope="module")
def models():
    """A model and a control with other predictions."""
    model, control = fake_recognizer(), fake_recognizer()
    predict = control.model.probabilities
    control.model.probabilities = lambda *inputs: predict(*inputs)[:, ::-1]
    control.config |= {"fold": 3, "model": {"encoder": "tdnn"}}
    return model, control


@pytest.fixture(scope="module")
def pair_port(models):
    with serving(create_app(models[0], control=models[1], limits=Limits(decoders=1))) as port:
        yield port


class TestControl:
    @pytest.mark.parametrize("timeline", [False, True])
    def test_each_of_the_two_models_can_be_selected(self, timeline, models, pair_port):
        content = wav(2.0)
        for name, recognizer in zip(("model", "control"), models, strict=True):
            answer = post(pair_port, content, f"/v1/predict?model={name}&timeline={timeline}")
            expected = recognizer.timeline(content) if timeline else recognizer(content)
            assert answer.json == expected.as_dict()
        assert models[0](content) != models[1](content)

    def test_it_is_described_with_its_differences(self, pair_port):
        answer = ask(pair_port, "/v1/model").json
        schemas.ModelResponse.model_validate(answer)
        assert answer["control"]["encoder"] == "tdnn"
        assert answer["control"]["differences"] == ["fold", "network"]

    def test_a_server_without_one_says_so(self, port):
        answer = post(port, wav(), "/v1/predict?model=control")
        assert (answer.status, answer.code) == (422, "no_control")
        assert ask(port, "/v1/model").json["control"] is None

    def test_other_labels_or_another_rate_are_an_error(self):
        other = fake_recognizer()
        other.labels = ("calm", "bored", "sad")
        with pytest.raises(ConfigError, match="bored"):
            create_app(fake_recognizer(), control=other)
        with pytest.raises(ConfigError, match="8000"):
            create_app(fake_recognizer(), control=fake_recognizer(8_000))
