import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crossmodal.errors import ConfigError, ModelFolderError
from crossmodal.inference import SILENCE, Prediction, Segment, Timeline, Window
from crossmodal.inference.prediction import SILENT

LABELS = ("calm", "angry", "sad")


@given(hnp.arrays(np.float32, 3, elements=st.floats(0.0009765625, 1, width=32)))
def test_probabilities_sum_to_one(numbers):
    prediction = Prediction.of_probabilities(LABELS, numbers / numbers.sum())
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert prediction.score == max(prediction.probabilities.values())
    assert prediction.label == LABELS[int((numbers / numbers.sum()).argmax())]


def test_top_k():
    prediction = Prediction("calm", {"sad": 0.1, "calm": 0.7, "angry": 0.2})
    ranked = [{"label": "calm", "score": 0.7}, {"label": "angry", "score": 0.2}, {"label": "sad", "score": 0.1}]
    assert [prediction.top_k(k) for k in (1, 3, 9)] == [ranked[:1], ranked, ranked]
    assert SILENT.top_k(3) == [{"label": SILENCE, "score": 1.0}]
    with pytest.raises(ConfigError, match="top_k"):
        prediction.top_k(0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_probabilities_are_an_error(bad):
    with pytest.raises(ModelFolderError, match="damaged"):
        Prediction.of_probabilities(LABELS, np.array([0.1, bad, 0.2]))


def test_silence_has_score_one_and_no_probabilities():
    assert SILENT.is_silence
    assert SILENT.as_dict() == {"label": SILENCE, "score": 1.0, "probabilities": {}}
    assert not Prediction("calm", {"calm": 0.7, "angry": 0.3}).is_silence


def test_a_timeline_converts_to_json():
    probabilities = {"calm": 0.75, "angry": 0.25}
    windows = (Window(0.0, 1.0, Prediction("calm", probabilities)),)
    timeline = Timeline(windows, (Segment(0.0, 1.0, "calm", 0.75),), 1.0, ("calm", "angry"))
    segment = {"start": 0.0, "end": 1.0, "label": "calm", "score": 0.75}
    windows = [segment | {"probabilities": probabilities}]
    expected = {"duration": 1.0, "labels": ["calm", "angry"], "segments": [segment], "windows": windows}
    assert json.loads(json.dumps(timeline.as_dict())) == expected
