import numpy as np
import pytest
import soundfile
from matplotlib import image
from matplotlib.colors import to_rgb

from crossmodal.errors import ConfigError, MediaError
from crossmodal.inference import SILENCE, Prediction, Window
from crossmodal.inference.colours import colours_of
from crossmodal.inference.predict.plot import plot_timeline
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
    assert pixels.shape[0] > 600 and pixels.shape[1] > 1200
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


def test_another_format_or_a_missing_recording_leaves_no_file(samples, timeline, tmp_path):
    with pytest.raises(ConfigError, match=r"a\.gif"):
        plot_timeline(samples, timeline, tmp_path / "a.gif")
    with pytest.raises(MediaError, match="gone"):
        plot_timeline(tmp_path / "gone.wav", timeline, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
