"""The page in a real browser: upload, recording, result, download, keyboard, and who is asked for what."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crossmodal.inference import EmotionRecognizer
from crossmodal.inference.demo.listening import ACTED
from tests.inference.demo.test_command import WATCHED

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="neither Chromium nor Chrome is installed")]

HOSTILE = "${alert(1)} {{value}} <img src=x onerror=alert(2)>.wav"
FOCUS = """() => {
    const element = document.activeElement, style = getComputedStyle(element.closest("label") ?? element);
    return [element.tagName, element.ariaLabel || element.innerText || "", style.outlineStyle];
}"""


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    """A voice of 6 s: a buzz whose pitch and loudness change."""
    seconds = np.arange(6 * 48_000) / 48_000
    pitch = 120 + 60 * (seconds > 3) + 20 * np.sin(3 * seconds)
    samples = 0.3 * np.sign(np.sin(2 * np.pi * np.cumsum(pitch) / 48_000)) * (0.2 + 0.8 * (seconds > 3))
    path = tmp_path_factory.mktemp("voice") / "voice.wav"
    soundfile.write(path, samples, 48_000)
    return path


@pytest.fixture(scope="module")
def address(model_folder, tmp_path_factory):
    """The page, in a process that tells whatever it asks of another machine."""
    pytest.importorskip("gradio", reason="the page is served with the extra `demo`")
    log = tmp_path_factory.mktemp("log") / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WATCHED, "demo", str(model_folder), "--control", str(model_folder), "--port", "0"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    yield found[0]
    process.terminate()
    process.wait(20)
    assert log.read_text().splitlines()[1:] == []


@pytest.fixture(scope="module")
def browser(voice):
    """A browser whose microphone hears the voice again and again."""
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    arguments += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven with the extra `dev`")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER, args=[*arguments, f"--use-file-for-fake-audio-capture={voice}"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """The page, opened; at the end, that nothing was asked of anyone else and that no script failed."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    asked, wrong = [], []
    devtools = context.new_cdp_session(page)
    devtools.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    devtools.on("Network.webSocketCreated", lambda event: asked.append(event["url"]))
    devtools.send("Network.enable")
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.goto(address)
    page.wait_for_selector(".cm-record")
    page.wait_for_function("document.querySelector('.cm-status')")
    page.wait_for_timeout(300)
    yield page
    context.close()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((f"{address}/", "data:", "blob:"))] == []
    assert wrong == []


def upload(page, path):
    page.set_input_files(".cm-picker input", path)
    page.get_by_role("heading", name=Path(path).name).wait_for(timeout=20_000)


def test_a_file_is_heard_drawn_played_and_downloaded(page, voice, model_folder):
    assert page.get_by_text(ACTED).is_visible()
    upload(page, str(voice))
    recognizer = EmotionRecognizer.from_pretrained(model_folder)
    expected, timeline = recognizer(voice), recognizer.timeline(voice)
    assert f"the model hears {expected.label}" in page.inner_text(".cm-status")
    assert page.locator(".cm-model").count() == 2
    with page.expect_download() as download:
        page.get_by_text("Download the result").click()
    assert download.value.suggested_filename == "voice.emotions.json"
    read = json.loads(Path(download.value.path()).read_text())
    for model in read["models"]:
        assert model["prediction"]["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)
        assert [part["label"] for part in model["timeline"]["segments"]] == [part.label for part in timeline.segments]


def test_the_cursor_moves_with_the_sound_and_the_emotion_of_the_moment_stands_out(page, voice, model_folder):
    upload(page, str(voice))
    segments = EmotionRecognizer.from_pretrained(model_folder).timeline(voice).segments
    seen = []
    page.evaluate("document.querySelector('audio').play()")
    while len(seen) < 12 and not page.evaluate("document.querySelector('audio').currentTime > 4.5"):
        page.wait_for_timeout(250)
        seen.append(
            page.evaluate(
                """() => [document.querySelector("audio").currentTime,
                Number(document.querySelector(".cm-result").style.getPropertyValue("--at")),
                document.querySelector(".cm-cursor").getBoundingClientRect().left,
                document.querySelector(".cm-label").innerText,
                [...document.querySelectorAll(".cm-model:first-child .cm-current")].map((row) => row.dataset.label)]"""
            )
        )
    page.evaluate("document.querySelector('audio').pause()")
    times, places, lefts, labels, highlighted = zip(*seen, strict=True)
    assert times[-1] > times[0] + 1
    assert list(lefts) == sorted(set(lefts))
    assert places == pytest.approx([instant / 6 for instant in times], abs=0.05)
    for instant, label, rows in zip(times, labels, highlighted, strict=True):
        near = {part.label for part in segments if part.start - 0.2 <= instant <= part.end + 0.2}
        assert label in near
        assert rows == [label]


def test_a_click_into_a_picture_moves_the_sound(page, voice):
    upload(page, str(voice))
    track = page.locator(".cm-track").first.bounding_box()
    page.mouse.click(track["x"] + 0.75 * track["width"], track["y"] + 20)
    page.wait_for_timeout(300)
    assert page.evaluate("document.querySelector('audio').currentTime") == pytest.approx(4.5, abs=0.1)
    cursor = page.locator(".cm-cursor").first.bounding_box()
    assert cursor["x"] + 1 == pytest.approx(track["x"] + 0.75 * track["width"], abs=4)


def test_the_microphone_is_heard(page):
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2500)
    assert page.locator(".cm-record").get_attribute("aria-pressed") == "true"
    assert float(page.evaluate("document.querySelector('.cm-record').style.getPropertyValue('--level')")) > 0.3
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("heading", name="microphone").wait_for(timeout=20_000)
    assert 1.5 < float(page.locator(".cm-result").get_attribute("data-duration")) < 4
    assert page.locator(".cm-record").inner_text().strip() == "Record"


def test_everything_is_done_by_keyboard(page, voice):
    def tab_to(name, most=25):
        for _ in range(most):
            page.keyboard.press("Tab")
            tag, text, outline = page.evaluate(FOCUS)
            if name in text:
                assert outline == "solid", f"nobody sees that {tag} {text!r} has the focus"
                return
        raise AssertionError(f"{name} cannot be reached")

    tab_to("Choose a recording")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(str(voice))
    page.get_by_role("heading", name="voice.wav").wait_for(timeout=20_000)
    tab_to("Record")
    tab_to("The recording")
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('audio').currentTime > 0.3")
    page.keyboard.press("Space")
    tab_to("As a list")
    page.keyboard.press("Enter")
    tab_to(" s: ")
    page.keyboard.press("Enter")
    page.wait_for_function("!document.querySelector('audio').paused")
    tab_to("Download the result")
    with page.expect_download():
        page.keyboard.press("Enter")


def test_an_error_is_one_sentence_and_the_next_recording_is_heard(page, voice, tmp_path):
    (tmp_path / "text.wav").write_text("this is no sound")
    page.set_input_files(".cm-picker input", str(tmp_path / "text.wav"))
    alert = page.get_by_role("alert")
    alert.wait_for(timeout=20_000)
    assert "text.wav" in alert.inner_text()
    assert not page.get_by_text("Download the result").is_visible()
    upload(page, str(voice))
    assert page.get_by_role("alert").count() == 0


def test_what_is_too_large_is_not_even_sent(page):
    page.evaluate(
        """() => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(50_000_001)], "large.wav"));
            document.querySelector(".cm-drop").dispatchEvent(new DragEvent("drop", { dataTransfer: files }));
        }"""
    )
    assert page.inner_text(".cm-status") == "large.wav is larger than the 50 MB that this page takes."


def test_a_dropped_file_is_heard_and_its_name_is_no_code(page, voice, tmp_path):
    soundfile.write(tmp_path / "short.wav", soundfile.read(voice)[0][:24_000:3], 16_000)
    data = page.evaluate_handle(
        """([bytes, name]) => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], name));
            return files;
        }""",
        [list((tmp_path / "short.wav").read_bytes()), HOSTILE],
    )
    page.dispatch_event(".cm-drop", "drop", {"dataTransfer": data})
    heading = page.locator(".cm-result h2")
    heading.wait_for(timeout=20_000)
    assert "alert" in heading.inner_text()
    assert page.locator("img[src=x]").count() == 0  # and the fixture has seen no dialog


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_it_can_be_read_at_any_width_in_light_and_dark(page, voice, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.reload()
    page.wait_for_selector(".cm-record")
    page.wait_for_timeout(300)
    upload(page, str(voice))
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    poor = page.evaluate(
        """() => {
            const rgb = (text) => {  // whatever the notation, as the browser paints it
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
            return [...document.querySelectorAll(".cm *")]
                .filter((e) => e.offsetParent && written(e))
                .map((e) => [light(getComputedStyle(e).color), light(behind(e)), e.innerText])
                .filter(([one, other]) => Math.max(one, other) / Math.min(one, other) < 4.5);
        }"""
    )
    assert poor == []


def test_where_no_answer_comes_it_is_told(browser, address, voice):
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector(".cm-record")
    page.wait_for_timeout(300)
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "the queue is full"}))
    page.set_input_files(".cm-picker input", str(voice))
    page.get_by_text("There is no answer: too many are waiting").wait_for(timeout=20_000)
    page.close()
