import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from crossmodal.inference.demo.drawing import HEIGHT, WIDTH, spectrogram_png, steps_path, ticks, waveform_path
from crossmodal.inference.predict.overview import look_over


def points(path):
    numbers = np.array([float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path)])
    return numbers.reshape(-1, 2)


@given(hnp.arrays(np.float32, st.integers(1600, 5000), elements=st.floats(-1, 1, width=32)))
def test_a_waveform_stays_in_its_picture_and_fills_it(waveform):
    x, y = points(waveform_path(look_over(waveform, 16_000), len(waveform) / 16_000)).T
    assert x.min() >= 0
    assert x.max() <= WIDTH
    assert y.min() >= 0
    assert y.max() <= HEIGHT
    if np.abs(waveform).max() > 1e-6:
        assert min(y.min(), HEIGHT - y.max()) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("seconds", [1, 30, 300])
def test_a_waveform_is_drawn_where_it_is(seconds):
    waveform = np.zeros(16_000 * seconds, np.float32)
    waveform[int(0.75 * len(waveform)) :][:100] = 0.5
    x, y = points(waveform_path(look_over(waveform, 16_000), seconds)).T
    assert x[y < 1] == pytest.approx(0.754 * WIDTH, abs=6)
    assert len(x) <= 2000  # however long it is


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_steps_have_their_heights(values):
    edges = np.cumsum([0, *(0.5 + value for value in values)])
    path = steps_path(edges, values)
    assert [float(y) for y in re.findall(r"V([\d.]+)", path)] == pytest.approx(
        [*(HEIGHT * (1 - value) for value in values), HEIGHT], abs=0.06
    )
    assert [float(x) for x in re.findall(r"H([\d.]+)", path)] == pytest.approx(WIDTH * edges[1:] / edges[-1], abs=0.06)


def decoded(address):
    head, _, data = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"), float)


@pytest.mark.parametrize("seconds", [0.2, 3, 120])
def test_a_tone_is_a_bright_line_and_low_frequencies_are_below(seconds):
    time = np.arange(round(16_000 * seconds)) / 16_000
    picture = decoded(spectrogram_png(look_over(np.sin(2 * np.pi * 1000 * time).astype(np.float32), 16_000)))
    assert picture.shape[1] <= 1000
    assert picture.mean(axis=1).argmax() / len(picture) == pytest.approx(7 / 8, abs=0.02)


def test_a_click_is_a_bright_line_at_its_instant():
    waveform = np.zeros(48_000, np.float32)
    waveform[36_000] = 1.0
    picture = decoded(spectrogram_png(look_over(waveform, 16_000)))
    assert picture.mean(axis=0).argmax() / picture.shape[1] == pytest.approx(0.75, abs=0.01)


@given(st.floats(0.1, 4000))
def test_ticks_are_few_and_inside(duration):
    marks = ticks(duration)
    assert marks[0] == 0
    assert 2 <= len(marks) <= 8
    assert marks == sorted(set(marks))
    assert marks[-1] < duration
