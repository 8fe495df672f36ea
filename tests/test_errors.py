import inspect
import pickle
from pathlib import Path

import pytest

from crossmodal import errors
from crossmodal.errors import CrossmodalError, DataError, InstallationError, MediaError, MissingExtraError

ERRORS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_has_our_base_class(error):
    assert issubclass(error, CrossmodalError)
    assert issubclass(error, ImportError) == (error in (InstallationError, MissingExtraError))


def test_media_error_names_its_file_and_can_be_pickled():
    error = pickle.loads(pickle.dumps(MediaError("a.wav", "the file is empty")))
    assert isinstance(error, DataError)
    assert (error.path, error.reason) == (Path("a.wav"), "the file is empty")
    assert str(error) == "a.wav: the file is empty"
