import pytest

from crossmodal.apps.serve.app import create_app
from crossmodal.apps.serve.limits import Limits
from tests.apps.serve.client import serving
from tests.inference.fake_model import fake_recognizer

SECRET = "s3cret-t0ken"
SMALL = Limits(
    upload_bytes=400_000,
    held_bytes=600_000,
    seconds=4.0,
    channels=2,
    read_seconds=1.0,
    decode_seconds=5.0,
    requests=4,
    streams=2,
    idle_seconds=1.0,
    decoders=1,
)


@pytest.fixture(scope="session")
def shared():
    """The recognizer of the server that all tests share."""
    return fake_recognizer()


@pytest.fixture(scope="session")
def port(shared):
    """The port of a server with the default limits."""
    with serving(create_app(shared)) as port:
        yield port


@pytest.fixture(scope="session")
def small_port():
    """The port of a server with small limits."""
    with serving(create_app(fake_recognizer(), limits=SMALL)) as port:
        yield port


@pytest.fixture
def failing_port():
    """The port of a server whose model fails."""
    recognizer = fake_recognizer()

    def fail(waveforms):
        raise ValueError("my-diary")

    recognizer.predict_batch = fail
    with serving(create_app(recognizer, limits=Limits(decoders=1))) as port:
        yield port


@pytest.fixture(scope="session")
def guarded():
    """The port of a server with a token."""
    with serving(create_app(fake_recognizer(), token=SECRET, limits=Limits(decoders=1))) as port:
        yield port
