import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file

from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import DataError
from crossmodal.storage import hash_file


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tensors.safetensors"
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)
    ClipTensors.save(path, ["b", "a", "c"], {"logits": rows, "faces": rows[:, None]}, train_actors=["01"], n=7)
    return path


def test_rows_by_clip(path):
    tensors = ClipTensors(path)
    assert tensors.clips == ["b", "a", "c"]
    assert tensors.shapes == {"logits": (4,), "faces": (1, 4)}
    np.testing.assert_array_equal(tensors["a"]["logits"], [4, 5, 6, 7])
    np.testing.assert_array_equal(tensors["c"]["faces"], [[8, 9, 10, 11]])
    assert "a" in tensors
    assert "d" not in tensors
    assert tensors.about == {"train_actors": ["01"], "n": 7, "clips": ["b", "a", "c"]}
    assert tensors.digest == hash_file(path)
    copy = pickle.loads(pickle.dumps(tensors))  # of an open file
    np.testing.assert_array_equal(copy["b"]["logits"], tensors["b"]["logits"])


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8]),
        hnp.array_shapes(max_dims=4, max_side=4),
        elements={"min_value": 0, "max_value": 100},
    )
)
def test_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tensors") / "tensors.safetensors"
    clips = [f"clip {row}" for row in range(len(rows))]
    for stored in (rows, rows[::-1]):  # the second is not contiguous
        ClipTensors.save(path, clips, {"x": stored})
        tensors = ClipTensors(path)
        for clip, row in zip(clips, stored, strict=True):
            assert tensors[clip]["x"].dtype == rows.dtype
            np.testing.assert_array_equal(tensors[clip]["x"], row)


@given(st.data())
def test_any_flipped_bit_is_detected(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("tensors") / "tensors.safetensors"
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    ClipTensors.save(path, ["a", "b"], {"x": rows, "empty": rows[:, :0]}, source="a table", excluded=[("c", "gone")])
    assert ClipTensors.are_whole(path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert not ClipTensors.are_whole(path)


@pytest.mark.parametrize("content", [None, b"", b"not safetensors", b"\xff" * 64, {}, {"about": "{}"}, {"about": "[]"}])
def test_missing_damaged_or_other_file(tmp_path, content):
    path = tmp_path / "bad.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file({"x": np.zeros(3, np.float32)}, path, content)
    assert not ClipTensors.are_whole(path)
    with pytest.raises(DataError, match=r"bad\.safetensors"):
        ClipTensors(path)
