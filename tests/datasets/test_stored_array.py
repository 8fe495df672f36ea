import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crossmodal.datasets.stored_array import check_array, read_array, write_array
from crossmodal.errors import DataError

ANY = arrays.arrays(st.sampled_from([np.float32, np.uint8, np.int64]), arrays.array_shapes(max_dims=4, max_side=5))


@given(array=ANY)
def test_round_trip_with_numpy(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("array") / "a.npy"
    write_array(path, array)
    for found in (read_array(path), check_array(path), np.load(path)):
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@given(array=ANY.filter(lambda array: array.size), data=st.data())
def test_flipped_bits_and_truncation_are_detected(tmp_path_factory, array, data):
    path = tmp_path_factory.mktemp("array") / "a.npy"
    write_array(path, array)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
    else:
        del content[data.draw(st.integers(0, len(content))) :]
    path.write_bytes(content)
    try:
        found = check_array(path)
    except DataError as error:
        assert "rerun" in str(error)
        assert not path.exists(), "a damaged file must be removed, so that the next run rebuilds it"
    else:
        assert found.tobytes() == array.tobytes(), "only a changed checksum marker may pass"


def test_file_without_a_checksum_is_accepted(tmp_path):
    np.save(tmp_path / "theirs.npy", np.arange(5))
    assert check_array(tmp_path / "theirs.npy").tolist() == [0, 1, 2, 3, 4]


def test_missing_file(tmp_path):
    assert read_array(tmp_path / "a.npy") is None
    with pytest.raises(DataError, match=r"a\.npy"):
        check_array(tmp_path / "a.npy")
