"""The page in a real browser: upload, recording, live emotion, comparison, download, keyboard, token, requests."""

import contextlib
import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crossmodal.inference import EmotionRecognizer
from tests.apps.serve.process import WATCHED, started

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="neither Chromium nor Chrome is installed")]

HOSTILE = "${alert(1)} {{value}} <img src=x onerror=alert(2)>.wav"
TOKEN = "s3cret"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run"),
    *(f"--disable-{service}" for service in ("background-networking", "component-update", "sync")),
    *(f"--use-fake-{part}-for-media-stream" for part in ("device", "ui")),
]
FOCUS = """() => {
    const element = document.activeElement, style = getComputedStyle(element.closest("label") ?? element);
    return [element.tagName, element.ariaLabel || element.innerText || "", style.outlineStyle];
}"""
DROP = """([bytes, name]) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(bytes)], name));
    return files;
}"""
POOR_CONTRAST = """() => {
    const rgb = (text) => {  // in any notation, as the browser paints it
        const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        context.fillStyle = text;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (text) => {
        const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = rgb(text).map((c) => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const behind = (element) => {
        for (; element; element = element.parentElement) {
            const color = getComputedStyle(element).backgroundColor;
            if (!color.startsWith("rgba(") || !color.endsWith(", 0)")) return color;
        }
        return "white";
    };
    const written = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    return [...document.querySelectorAll("body *")]
        .filter((e) => e.offsetParent && written(e))
        .map((e) => [light(getComputedStyle(e).color), light(behind(e)), e.innerText])
        .filter(([one, other]) => Math.max(one, other) / Math.min(one, other) < 4.5);
}"""
STATE = """() => [
    document.querySelector("audio").currentTime,
    Number(document.querySelector("#result").style.getPropertyValue("--at")),
    document.querySelector(".cursor").getBoundingClientRect().left,
    document.querySelector("#models .now strong").innerText,
    [...document.querySelectorAll("#models .card:first-child .current")].map((row) => row.dataset.label),
]"""


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    """A voice of 6 s: a buzz with changes of pitch and loudness."""
    seconds = np.arange(6 * 48_000) / 48_000
    pitch = 120 + 60 * (seconds > 3) + 20 * np.sin(3 * seconds)
    samples = 0.3 * np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / 48_000)) * (0.2 + 0.8 * (seconds > 3))
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    soundfile.write(path, samples, 48_000)
    return path


@contextlib.contextmanager
def running(*arguments, **environment):
    """Run a server that prints every connection to another machine, and yield its address."""
    with started("-c", WATCHED, "serve", *arguments, "--port", "0", **environment) as server:
        yield f"http://127.0.0.1:{server.port}"
        assert server.stop() == (0, "")


@pytest.fixture(scope="module")
def address(model_folder):
    with running(model_folder, "--control", model_folder, "--max_megabytes", "2") as address:
        yield address


@pytest.fixture(scope="module")
def browser(voice):
    """A browser with a microphone that repeats the voice."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven with the extra `dev`")
    with sync_api.sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={voice}"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=flags)
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, address, **options):
    """Open the page; at the end, no script has failed and no other host was contacted."""
    context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options))
    page = context.new_page()
    requests, errors = [], []
    devtools = context.new_cdp_session(page)
    devtools.on("Network.requestWillBeSent", lambda event: requests.append(event["request"]["url"]))
    devtools.on("Network.webSocketCreated", lambda event: requests.append(event["url"].replace("ws:", "http:")))
    devtools.send("Network.enable")
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.goto(address)
    yield page
    context.close()
    assert len(requests) > 8
    assert [url for url in requests if not url.startswith((f"{address}/", "data:", "blob:"))] == []
    # The browser itself logs every response with an error status.
    assert [error for error in errors if "Failed to load resource" not in error] == []


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        page.wait_for_selector("main:not([hidden])")
        yield page


def upload(page, path):
    page.set_input_files("#file", path)
    page.get_by_role("heading", name=Path(path).name).wait_for(timeout=20_000)
    page.wait_for_selector(".waveform")


def wait_until(page, condition):
    """Poll from here: the page's policy forbids the scripts by which Playwright polls."""
    deadline = time.monotonic() + 10
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(50)


def test_a_recording_is_uploaded_compared_and_downloaded(page, voice, model_folder):
    assert page.get_by_text("not what a person feels").is_visible()
    upload(page, str(voice))
    recognizer = EmotionRecognizer.from_pretrained(model_folder)
    expected, timeline = recognizer(voice), recognizer.timeline(voice)
    assert f"the model says {expected.label}" in page.inner_text("#status")
    assert page.locator("#models h3").all_inner_texts() == ["Model", "Control"]
    assert "agree over 100" in page.inner_text("#agreement")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    assert download.value.suggested_filename == "voice.emotions.json"
    content = json.loads(Path(download.value.path()).read_text())
    assert [model["role"] for model in content["models"]] == ["model", "control"]
    for model in content["models"]:
        assert model["prediction"]["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)
        assert [part["label"] for part in model["timeline"]["segments"]] == [part.label for part in timeline.segments]


def test_the_rows_have_the_colours_of_the_plots_and_the_mean_probabilities(page, voice, model_folder):
    from crossmodal.inference.colours import EMOTION_COLOURS
    from crossmodal.inference.timeline import means_over_time

    upload(page, str(voice))
    timeline = EmotionRecognizer.from_pretrained(model_folder).timeline(voice)
    rows = page.locator("#models .card:first-child .emotion").evaluate_all(
        "rows => rows.map((row) => [row.dataset.label, row.style.getPropertyValue('--colour')])"
    )
    assert dict(rows) == EMOTION_COLOURS
    edges, means = means_over_time(timeline.windows, timeline.labels)
    for time_shown in (0.0, 2.7, 5.9):
        page.evaluate(f"document.querySelector('audio').currentTime = {time_shown}")
        page.get_by_text(f"At {time_shown:.1f}").first.wait_for()
        cell = int(np.searchsorted(edges, time_shown, side="right")) - 1
        values = page.locator("#models .card:first-child .emotion .aside").all_inner_texts()
        shown = [float(value.removesuffix("\N{NO-BREAK SPACE}%")) for value in values]
        assert shown == pytest.approx(100 * means[cell, :-1], abs=0.51)


def test_the_cursor_follows_the_sound_and_the_current_emotion_is_highlighted(page, voice, model_folder):
    upload(page, str(voice))
    segments = EmotionRecognizer.from_pretrained(model_folder).timeline(voice).segments
    states = []
    page.evaluate("document.querySelector('audio').play()")
    while len(states) < 12 and not page.evaluate("document.querySelector('audio').currentTime > 4.5"):
        page.wait_for_timeout(250)
        states.append(page.evaluate(STATE))
    page.evaluate("document.querySelector('audio').pause()")
    times, places, lefts, labels, highlighted = zip(*states, strict=True)
    assert times[-1] > times[0] + 1
    assert list(lefts) == sorted(set(lefts))
    assert places == pytest.approx([instant / 6 for instant in times], abs=0.05)
    for instant, label, rows in zip(times, labels, highlighted, strict=True):
        assert label in {part.label for part in segments if part.start - 0.2 <= instant <= part.end + 0.2}
        assert rows == [label]


def test_a_click_on_a_picture_moves_the_sound(page, voice):
    upload(page, str(voice))
    track = page.locator(".track").first.bounding_box()
    page.mouse.click(track["x"] + 0.75 * track["width"], track["y"] + 20)
    page.wait_for_timeout(300)
    assert page.evaluate("document.querySelector('audio').currentTime") == pytest.approx(4.5, abs=0.1)
    cursor = page.locator(".cursor").first.bounding_box()
    assert cursor["x"] + 1 == pytest.approx(track["x"] + 0.75 * track["width"], abs=4)


def test_the_microphone_shows_live_emotions_and_then_its_timeline(page):
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_selector("#live .current", timeout=10_000)
    assert page.locator("#record").get_attribute("aria-pressed") == "true"
    assert float(page.evaluate("document.querySelector('#record').style.getPropertyValue('--level')")) > 0.3
    label = page.inner_text("#live .now strong")
    values = page.locator("#live .aside").all_inner_texts()
    assert sum(float(value.removesuffix("\N{NO-BREAK SPACE}%")) for value in values) == pytest.approx(100, abs=4)
    assert page.locator("#live .history .part").last.get_attribute("title") == label
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("heading", name="microphone.wav").wait_for(timeout=20_000)
    assert not page.locator("#live").is_visible()
    duration = float(re.search(r"([\d.]+)\s", page.inner_text("#result h2 small"))[1])
    assert 2.5 < duration < 8
    assert page.locator("#record").inner_text().strip() == "Record"


def test_a_recording_stops_at_the_size_limit(browser, model_folder):
    with running(model_folder, "--max_megabytes", "0.15") as address, opened(browser, address) as page:
        page.wait_for_selector("main:not([hidden])")
        page.get_by_role("button", name="Record", exact=True).click()
        page.get_by_role("heading", name="microphone.wav").wait_for(timeout=20_000)
        assert page.locator("#models .card").count() == 1


def test_everything_works_with_the_keyboard(page, voice):
    def tab_to(name, most=25):
        for _ in range(most):
            page.keyboard.press("Tab")
            tag, text, outline = page.evaluate(FOCUS)
            if name in text:
                assert outline == "solid", f"the focus on {tag} {text!r} is invisible"
                return
        raise AssertionError(f"{name} cannot be reached")

    # Set before the first key: Playwright does not wait until the browser intercepts choosers.
    page.on("filechooser", lambda chooser: chooser.set_files(str(voice)))
    tab_to("Choose a recording")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="voice.wav").wait_for(timeout=20_000)
    tab_to("Record")
    tab_to("Download JSON")
    with page.expect_download():
        page.keyboard.press("Enter")
    tab_to("The recording")
    page.keyboard.press("Space")
    wait_until(page, "document.querySelector('audio').currentTime > 0.3")
    page.keyboard.press("Space")
    tab_to("As a list")
    page.keyboard.press("Enter")
    tab_to(" s: ")
    page.keyboard.press("Enter")
    wait_until(page, "!document.querySelector('audio').paused")
    page.locator("#record").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop (1 s)").wait_for(timeout=10_000)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="microphone.wav").wait_for(timeout=20_000)


def test_an_error_is_one_sentence_and_the_next_recording_works(page, voice, tmp_path):
    (tmp_path / "text.wav").write_text("this is not sound")
    page.set_input_files("#file", str(tmp_path / "text.wav"))
    alert = page.locator("#error:not([hidden])")
    alert.wait_for(timeout=20_000)
    assert re.fullmatch(r"text\.wav: [^.]*not a sound or video file[^.]*\.", alert.inner_text())
    assert not page.locator("#result").is_visible()
    upload(page, str(voice))
    assert not page.locator("#error").is_visible()


def test_a_file_that_is_too_large_is_not_sent(page):
    data = page.evaluate_handle(DROP, [[0] * 2_000_001, "large.wav"])
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    page.get_by_text("large.wav is larger than 2 MB.").wait_for()


def test_a_file_is_dropped_and_its_name_is_not_executed(page, voice, tmp_path):
    soundfile.write(tmp_path / "short.wav", soundfile.read(voice)[0][:24_000:3], 16_000)
    data = page.evaluate_handle(DROP, [list((tmp_path / "short.wav").read_bytes()), HOSTILE])
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    heading = page.locator("#result h2")
    heading.wait_for(timeout=20_000)
    assert "alert" in heading.inner_text()
    assert page.locator("img[src=x]").count() == 0  # and the fixture sees no dialog


def test_silence_is_shown_as_silence(page, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(64_000), 16_000)
    upload(page, str(tmp_path / "silence.wav"))
    assert page.locator("#models .whole strong").all_inner_texts() == ["silence", "silence"]
    assert page.locator("#models .part.silence").count() == 2


def test_a_format_that_the_browser_cannot_play_still_has_its_timeline(page, voice, tmp_path):
    samples, rate = soundfile.read(voice)
    soundfile.write(tmp_path / "voice.aiff", samples, rate)
    page.set_input_files("#file", str(tmp_path / "voice.aiff"))
    page.get_by_text("cannot play the format").wait_for(timeout=20_000)
    assert not page.locator("audio").is_visible()
    track = page.locator("#models .track").first.bounding_box()
    page.mouse.click(track["x"] + 0.5 * track["width"], track["y"] + 10)
    page.get_by_text("At 3.0").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 375])
def test_it_is_legible_at_any_width_in_light_and_dark(browser, address, voice, scheme, width):
    with opened(browser, address, viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
        page.wait_for_selector("main:not([hidden])")
        upload(page, str(voice))
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.evaluate(POOR_CONTRAST) == []


def test_a_server_that_is_busy_or_has_stopped_is_an_error_message(page, voice):
    error = {"error": {"code": "busy", "reason": "64 uploads are in progress"}}
    page.route("**/v1/predict*", lambda route: route.fulfill(status=503, json=error))
    page.set_input_files("#file", str(voice))
    page.get_by_text("64 uploads are in progress").wait_for(timeout=20_000)
    page.route("**/v1/predict*", lambda route: route.abort())
    page.set_input_files("#file", str(voice))
    page.get_by_text("the server does not answer").wait_for(timeout=20_000)


def test_the_page_asks_for_the_token(browser, model_folder, voice):
    with running(model_folder, CROSSMODAL_TOKEN=TOKEN) as address, opened(browser, address) as page:
        page.wait_for_selector("#token-form:not([hidden])")
        assert not page.locator("main").is_visible()
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("This token is wrong.").wait_for()
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("main:not([hidden])")
        upload(page, str(voice))
        page.get_by_role("button", name="Record", exact=True).click()
        page.wait_for_selector("#live .current", timeout=10_000)  # the WebSocket has the token, too
        page.get_by_role("button", name="Stop").click()
        page.reload()
        page.wait_for_selector("main:not([hidden])")  # the tab remembers the token


def test_the_description_of_the_interface_is_shown(page):
    page.get_by_role("link", name="API").click()
    page.get_by_text("/v1/predict").wait_for(timeout=20_000)
