import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.errors import ConfigError, MediaError
from crossmodal.inference.demo import listening
from crossmodal.inference.demo.listening import ACTED, Listener, agreement, check_pair, differences, listen
from crossmodal.inference.prediction import Segment, Timeline
from tests.inference.fake_model import fake_recognizer


def line(*parts, duration=None):
    """A timeline of segments: (end, label), from 0."""
    starts = [0.0, *(end for end, _ in parts)]
    segments = tuple(Segment(start, end, label, 1.0) for start, (end, label) in zip(starts, parts, strict=False))
    return Timeline((), segments, duration or starts[-1], ("calm", "angry"))


@st.composite
def lines(draw):
    bounds = sorted(draw(st.sets(st.integers(1, 99), max_size=8)))
    return line(*((bound / 10, draw(st.sampled_from(["calm", "angry", "silence"]))) for bound in [*bounds, 100]))


def test_the_numbers_are_the_recognizers(recognizer, tiny_ravdess):
    wav = sorted(tiny_ravdess.rglob("*.wav"))[3]
    (heard,) = listen(wav, [Listener("model", "m", recognizer)], longest=10).heard
    expected, over_time = recognizer(wav), recognizer.timeline(wav)
    assert heard.prediction.label == expected.label
    assert heard.prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    for mine, theirs in zip(heard.timeline.windows, over_time.windows, strict=True):
        assert (mine.start, mine.end) == (theirs.start, theirs.end)
        assert mine.prediction.probabilities == pytest.approx(theirs.prediction.probabilities, abs=1e-4)
    assert [part.label for part in heard.timeline.segments] == [part.label for part in over_time.segments]


def test_every_model_listens_to_the_same_and_keeps_its_name(recordings, listeners):
    listened = listen(recordings / "voice.wav", listeners, longest=60)
    assert (listened.file, listened.duration) == ("voice.wav", 13.0)
    one, other = listened.heard
    assert [heard.listener.role for heard in listened.heard] == ["model", "control"]
    for mine, theirs in zip(one.timeline.windows, other.timeline.windows, strict=True):
        assert list(mine.prediction.probabilities.values()) == pytest.approx(
            list(theirs.prediction.probabilities.values())[::-1]
        )


def test_what_is_downloaded_is_all_of_it(recordings, listeners):
    listened = listen(recordings / "voice.wav", listeners, longest=60)
    read = json.loads(json.dumps(listened.as_dict()))
    assert (read["file"], read["duration"], read["note"]) == ("voice.wav", 13.0, ACTED)
    assert [(one["role"], one["name"]) for one in read["models"]] == [
        ("model", "runs/mine/model"),
        ("control", "mine/control_model"),
    ]
    for written, heard in zip(read["models"], listened.heard, strict=True):
        assert written["prediction"] == heard.prediction.as_dict()
        assert written["timeline"] == json.loads(json.dumps(heard.timeline.as_dict()))
    assert 0 <= read["agreement"] < 1
    assert "agreement" not in listen(recordings / "voice.wav", listeners[:1], longest=60).as_dict()


def test_what_is_too_long_for_one_label_has_a_timeline_alone(recordings, listeners, monkeypatch):
    monkeypatch.setattr(listening, "LONGEST", 12.9)
    heard = listen(recordings / "voice.wav", listeners, longest=60).heard
    assert [one.prediction for one in heard] == [None, None]
    assert heard[0].timeline.duration == 13.0


@pytest.mark.parametrize(
    ("file", "longest", "reason"),
    [
        ("voice.wav", 12, "lasts more than 12 s, the most that this page takes"),
        ("silence.wav", 60, "there is nothing to hear: no moment of it is louder than -60 dB"),
        ("click.wav", 60, r"lasts 0\.050 s, too short"),
        ("text.wav", 60, "not a sound file"),
        ("gone.wav", 60, "exist"),
    ],
)
def test_what_cannot_be_heard_is_said_to_be(recordings, listeners, file, longest, reason):
    with pytest.raises(MediaError, match=reason):
        listen(recordings / file, listeners, longest)


@given(lines(), lines())
def test_agreement_is_the_share_of_instants_with_the_same_label(one, other):
    instants = np.arange(0.05, 10, 0.1)  # in the middle of what the generator can tell apart

    def said(timeline):
        return [next(part.label for part in timeline.segments if instant < part.end) for instant in instants]

    share = np.mean([mine == theirs for mine, theirs in zip(said(one), said(other), strict=True)])
    assert agreement(one, other) == pytest.approx(share, abs=1e-9)
    assert agreement(one, other) == agreement(other, one)
    assert agreement(one, one) == pytest.approx(1)


def test_models_of_other_emotions_are_no_pair(listeners):
    check_pair(listeners)
    check_pair(listeners[:1])
    other = fake_recognizer()
    other.labels = ("calm", "bored", "sad")
    with pytest.raises(
        ConfigError, match="runs/mine/model knows calm, angry, sad, its control x knows calm, bored, sad"
    ):
        check_pair([listeners[0], Listener("control", "x", other)])


def test_a_control_of_another_run_is_told(listeners):
    assert differences(listeners[:1]) == differences(listeners) == []
    listeners[1].recognizer.config |= {"fold": 3, "actors_seen": ["01"], "model": {"encoder": "tdnn"}}
    assert differences(listeners) == ["training actors", "fold", "network"]
