import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from crossmodal.inference.demo.listening import ACTED, Limits, listen
from crossmodal.inference.demo.page import error_html, footer_html, header_html, picker_html, result_html
from crossmodal.inference.prediction import SILENCE
from crossmodal.inference.timeline import means_over_time

HOSTILE = "<script>alert(1)</script>\"'&${alert(2)}{{value}}`.wav"
VOID = {"img", "input", "meta", "link", "br"}


class Page(HTMLParser):
    """The elements of a page, (tag, attributes, text), and whether each is closed where it should be."""

    def __init__(self, html):
        super().__init__()
        self.elements, self._open = [], []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self._open.append((tag, len(self.elements) - 1))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_startendtag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_data(self, data):
        for _, place in self._open:
            self.elements[place][2] += data

    def of_class(self, name):
        return [element for element in self.elements if name in (element[1].get("class") or "").split()]


@pytest.fixture
def listened(recordings, listeners):
    return listen(recordings / "voice.wav", listeners, longest=60)


def test_it_says_in_one_sentence_what_acted_emotion_is_not(listeners):
    (note,) = Page(header_html(listeners)).of_class("cm-note")
    assert note[2] == ACTED
    assert ACTED.count(".") == 1
    assert "Acted emotion in a laboratory is not a person's feelings" in ACTED


def test_its_limits_and_what_becomes_of_a_recording_are_told(listeners):
    html = picker_html(Limits(seconds=90, megabytes=2.5))
    assert "up to 90 seconds and 2.5 MB" in html
    assert 'data-bytes="2500000"' in html
    assert "up to 5 minutes and 50 MB" in picker_html(Limits())
    assert "one channel, 16 kHz" in footer_html(listeners)


def test_the_numbers_are_those_of_the_timeline(listened):
    models = Page(result_html(listened, "sound.wav")).of_class("cm-model")
    assert len(models) == 2
    for (_, attributes, _), heard in zip(models, listened.heard, strict=True):
        drawn = json.loads(attributes["data-timeline"])
        edges, means = means_over_time(heard.timeline.windows, heard.timeline.labels)
        assert drawn["edges"] == pytest.approx(edges, abs=1e-3)
        np.testing.assert_allclose(drawn["means"], means, atol=1e-3)
        assert drawn["segments"] == [[part.start, part.end, part.label] for part in heard.timeline.segments]


def test_each_emotion_has_its_name_and_what_it_is_at_the_start(listened):
    page = Page(result_html(listened, "sound.wav"))
    rows, values = page.of_class("cm-emotion"), page.of_class("cm-value")
    assert [row[1]["data-label"] for row in rows] == [label for one in listened.heard for label in one.timeline.labels]
    for row in rows:
        assert row[1]["data-label"] in row[2]  # in words, beside the colour
    first = [one.timeline.windows[0].prediction.probabilities for one in listened.heard]
    expected = [100 * probability for probabilities in first for probability in probabilities.values()]
    shown = [float(value[2].removesuffix("\N{NO-BREAK SPACE}%")) for value in values]
    assert shown == pytest.approx(expected, abs=0.51)


def test_the_ribbon_covers_all_and_names_each_part(listened):
    page = Page(result_html(listened, "sound.wav"))
    parts, segments = page.of_class("cm-part"), [part for one in listened.heard for part in one.timeline.segments]
    assert [part[2] for part in parts] == [segment.label for segment in segments]
    widths = [float(re.search(r"width:([\d.]+)%", part[1]["style"])[1]) for part in parts]
    assert sum(widths) == pytest.approx(200, abs=0.01)
    assert SILENCE in [part[2] for part in page.of_class("cm-silence")]


def test_the_list_says_the_same_in_words(listened):
    lines = [element for element in Page(result_html(listened, "sound.wav")).of_class("cm-play")]
    segments = [part for one in listened.heard for part in one.timeline.segments]
    assert [float(line[1]["data-seek"]) for line in lines] == [segment.start for segment in segments]
    for line, segment in zip(lines, segments, strict=True):
        assert line[2].startswith(f"{segment.start:.1f} to {segment.end:.1f} s: {segment.label}")


def test_model_and_control_stand_side_by_side(listened):
    html = result_html(listened, "sound.wav")
    texts = [text for tag, _, text in Page(html).elements if tag == "h3"]
    assert texts == ["The model", "Its control"]
    share = listened.as_dict()["agreement"]
    assert f"Both say the same over {100 * share:.0f}\N{NO-BREAK SPACE}% of the recording." in html
    alone = result_html(replace(listened, heard=listened.heard[:1]), "sound.wav")
    assert "Its control" not in alone
    assert "Both say" not in alone


def test_what_is_told_to_who_does_not_see_it(listened):
    html = result_html(listened, "sound.wav")
    said = Page(html).of_class("cm-result")[0][1]["data-said"]
    first = listened.heard[0].prediction
    told = f"the model hears {first.label} {100 * first.score:.0f} %; its control hears "
    assert said.replace("\N{NO-BREAK SPACE}", " ").startswith(f"voice.wav, 13.0 s: {told}")


def test_a_long_recording_is_told_by_what_most_of_it_is(listened):
    heard = replace(listened.heard[0], prediction=None)
    html = result_html(replace(listened, heard=(heard,)), "sound.wav")
    seconds = {}
    for part in heard.timeline.segments:
        seconds[part.label] = seconds.get(part.label, 0) + part.end - part.start
    label, most = max(seconds.items(), key=lambda item: item[1])
    assert f"<strong>{label}, {100 * most / 13:.0f}\N{NO-BREAK SPACE}% of the time</strong>" in html


def renamed(heard, names):
    """The same with other labels."""

    def predicted(prediction):
        probabilities = {names[label]: value for label, value in prediction.probabilities.items()}
        return replace(prediction, label=names[prediction.label], probabilities=probabilities)

    timeline = heard.timeline
    windows = tuple(replace(window, prediction=predicted(window.prediction)) for window in timeline.windows)
    segments = tuple(replace(part, label=names[part.label]) for part in timeline.segments)
    labels = tuple(names[label] for label in timeline.labels)
    timeline = replace(timeline, windows=windows, segments=segments, labels=labels)
    return replace(heard, timeline=timeline, prediction=predicted(heard.prediction))


def test_what_others_named_is_text_and_never_code(listened):
    heard = listened.heard[0]
    names = {label: f"{label} {HOSTILE}" for label in heard.timeline.labels} | {SILENCE: SILENCE}
    heard = renamed(replace(heard, listener=replace(heard.listener, name=HOSTILE)), names)
    page = Page(result_html(replace(listened, file=HOSTILE, heard=(heard,)), f"file={HOSTILE}"))
    assert "script" not in {tag for tag, _, _ in page.elements}
    texts = {tag: text for tag, _, text in page.elements}
    assert texts["h2"].startswith(HOSTILE)
    assert HOSTILE in page.of_class("cm-about")[0][2]
    assert [row[1]["data-label"] for row in page.of_class("cm-emotion")] == list(heard.timeline.labels)
    assert {part[2] for part in page.of_class("cm-part")} <= set(names.values())
    (sound,) = [attributes for tag, attributes, _ in page.elements if tag == "audio"]
    assert sound["src"] == f"file={HOSTILE}"
    segments = json.loads(page.of_class("cm-model")[0][1]["data-timeline"])["segments"]
    assert {label for _, _, label in segments} <= set(names.values())


def test_an_error_is_one_sentence_of_text():
    (error,) = Page(error_html(f"{HOSTILE} is no sound.")).elements
    assert error == ["p", {"class": "cm-error", "role": "alert"}, f"{HOSTILE} is no sound."]


def test_every_picture_has_words_and_every_control_a_name(listened):
    for tag, attributes, text in Page(result_html(listened, "sound.wav")).elements:
        if tag == "img":
            assert attributes["alt"] == "Spectrogram, 0 to 8 kHz"
        if tag == "svg":
            assert attributes["aria-hidden"] == "true"
        if tag == "audio":
            assert attributes["aria-label"]
            assert "controls" in attributes
        if tag in ("button", "summary", "h2", "h3"):
            assert text.strip()


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"corpus": {"kind": "synthetic"}}, "says nothing about people"),
        ({"speaker_dependent": True}, "say nothing about strangers"),
        ({"corpus": {"kind": "ravdess"}, "channel": "song"}, "trained on RAVDESS song."),
        ({"model": {"front_end": "mfcc", "encoder": "lstm"}}, "runs/mine/model, mfcc, lstm."),
    ],
)
def test_what_must_be_known_of_a_model_is_told(listened, config, told):
    listened.heard[0].listener.recognizer.config |= config
    assert told in Page(result_html(listened, "sound.wav")).of_class("cm-about")[0][2]


def test_two_models_that_are_no_pair_are_said_to_be_none(listeners):
    assert Page(header_html(listeners)).of_class("cm-warning") == []
    listeners[1].recognizer.config["fold"] = 2
    (warning,) = Page(header_html(listeners)).of_class("cm-warning")
    assert "they differ in fold" in warning[2]
