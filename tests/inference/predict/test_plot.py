import numpy as np
import pytest
import soundfile
from matplotlib import image
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from crossmodal.errors import ConfigError, MediaError
from crossmodal.inference import SILENCE, Prediction, Segment, Window
from crossmodal.inference.colours import colours_of
from crossmodal.inference.predict.plot import _draw_time, _fitting, plot_timeline
from crossmodal.inference.timeline import make_timeline
from tests.inference.conftest import LABELS


def prediction(emotion: str) -> Prediction:
    others = 0.3 / (len(LABELS) - 1)
    return Prediction(emotion, {label: 0.7 if label == emotion else others for label in LABELS})


@pytest.fixture
def samples():
    return np.random.default_rng(0).uniform(-0.5, 0.5, 10 * 16_000).astype(np.float32)


@pytest.fixture
def timeline():
    spans = [(0.0, 4.0, prediction("angry")), (4.0, 7.0, Prediction(SILENCE, {})), (7.0, 10.0, prediction("sad"))]
    return make_timeline([Window(*span) for span in spans], 10.0, LABELS)


def near(pixels, colour):
    return np.abs(pixels[..., :3] - np.array(to_rgb(colour))).max(axis=-1) < 0.02


def test_each_segment_is_a_band_of_its_colour(samples, timeline, tmp_path):
    plot_timeline(samples, timeline, tmp_path / "out.png", title="a voice")
    pixels = image.imread(tmp_path / "out.png")
    assert pixels.shape[0] > 600
    assert pixels.shape[1] > 1200
    colours = colours_of(LABELS)
    angry, sad = (near(pixels, colours[label]) for label in ("angry", "sad"))
    band = angry.sum(axis=1).argmax()  # the row with most pixels of this colour
    first, last = np.flatnonzero(angry[band])[[0, -1]]
    assert np.flatnonzero(sad[band]).min() > last
    assert (last - first) / np.ptp(np.flatnonzero(sad[band])) == pytest.approx(4 / 3, rel=0.05)
    assert near(pixels, colours[SILENCE])[band, last + 5 : np.flatnonzero(sad[band]).min() - 5].mean() > 0.7


@pytest.mark.parametrize("name, begins", [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")])
def test_the_suffix_selects_the_format(samples, timeline, tmp_path, name, begins):
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    plot_timeline(tmp_path / "a.wav", timeline, tmp_path / "deeper" / name)
    assert (tmp_path / "deeper" / name).read_bytes().startswith(begins)


def test_another_format_is_rejected(samples, timeline, tmp_path):
    with pytest.raises(ConfigError, match=r"a\.gif"):
        plot_timeline(samples, timeline, tmp_path / "a.gif")


def test_a_missing_recording_leaves_no_file(timeline, tmp_path):
    with pytest.raises(MediaError, match="gone"):
        plot_timeline(tmp_path / "gone.wav", timeline, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "seconds, expected", [(40, ("angry 0.70", 0)), (7, ("angry", 0)), (3, ("angry", 90)), (0.5, ("", 0))]
)
def test_names_are_written_where_they_fit(seconds, expected):
    assert _fitting(Segment(0.0, seconds, "angry", 0.7), 100.0) == expected
    assert _fitting(Segment(0.0, 100.0, SILENCE, 1.0), 100.0) == ("silence", 0)  # without a score


@pytest.mark.parametrize("duration, ticks", [(95, 7), (3600, 12), (90_000, 7)])
def test_ticks_are_at_round_times(duration, ticks):
    axis = Figure().subplots()
    _draw_time(axis, duration)
    assert len(axis.get_xticks()) == ticks
    assert all(tick % 15 == 0 for tick in axis.get_xticks())
