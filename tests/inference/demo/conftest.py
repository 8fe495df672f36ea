import numpy as np
import pytest
import soundfile

from crossmodal.inference.demo.listening import Listener
from tests.inference.fake_model import fake_recognizer


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """A folder: a voice that rests and comes back louder, silence, a click, and a text that is called a sound."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    quiet, loud = 0.02 * rng.standard_normal(64_000), 0.2 * rng.standard_normal(64_000)
    soundfile.write(folder / "voice.wav", np.concatenate([quiet, np.zeros(80_000), loud]), 16_000)
    soundfile.write(folder / "silence.wav", np.zeros(32_000), 16_000)
    soundfile.write(folder / "click.wav", loud[:800], 16_000)
    (folder / "text.wav").write_text("this is no sound")
    return folder


@pytest.fixture
def listeners():
    """A model and its control, which says another thing."""
    model, control = fake_recognizer(), fake_recognizer()
    control.model.probabilities = lambda *asked, ask=control.model.probabilities: ask(*asked)[:, ::-1]
    return [Listener("model", "runs/mine/model", model), Listener("control", "mine/control_model", control)]
