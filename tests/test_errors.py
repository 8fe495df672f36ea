import inspect
import pickle
from pathlib import Path

import pytest

from crossmodal import errors
from crossmodal.errors import CrossmodalError, DataError, MediaError, MissingExtraError

EVERY = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]


@pytest.mark.parametrize("error", EVERY)
def test_every_error_is_ours_and_stands_in_the_tree(error):
    assert issubclass(error, CrossmodalError)
    assert error.__name__ in errors.__doc__


def test_a_media_error_names_its_file_and_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(MediaError("a.wav", "the file is cut")))
    assert isinstance(error, DataError)
    assert (error.path, error.reason) == (Path("a.wav"), "the file is cut")
    assert str(error) == "a.wav: the file is cut"


def test_a_missing_extra_is_an_import_error():
    assert issubclass(MissingExtraError, ImportError)
