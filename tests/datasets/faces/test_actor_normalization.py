import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.datasets.faces.actor_normalization import center_by_actor

ACTORS = {"a1": "01", "b1": "02", "a2": "01", "b2": "02", "c1": "03"}


def centred(folder, values, actors=ACTORS):
    ClipTensors.save(folder / "raw.safetensors", list(ACTORS), {"face_embeddings": values}, source="a test")
    tensors = center_by_actor(ClipTensors(folder / "raw.safetensors"), actors, folder)
    return tensors, np.stack([tensors[clip]["face_embeddings"] for clip in tensors.clips])


def test_mean_of_each_actor_is_subtracted(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    tensors, result = centred(tmp_path, values)
    expected = values.copy()
    expected[[0, 2]] -= values[[0, 2]].reshape(4, 3).mean(axis=0)
    expected[[1, 3]] -= values[[1, 3]].reshape(4, 3).mean(axis=0)
    expected[4] -= values[4].mean(axis=0)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert tensors.about["source"] == "a test"
    values[[1, 3, 4]] *= 7  # other actors
    np.testing.assert_array_equal(centred(tmp_path, values)[1][[0, 2]], result[[0, 2]])


@settings(max_examples=20)
@given(arrays(np.float32, (3,), elements=st.floats(-100, 100, width=16)))
def test_offset_of_an_actor_is_removed(tmp_path_factory, look):
    values = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    _, plain = centred(tmp_path_factory.mktemp("plain"), values)
    values[[0, 2]] += look
    _, moved = centred(tmp_path_factory.mktemp("moved"), values)
    np.testing.assert_allclose(moved, plain, atol=1e-3)


def test_result_is_cached_and_clips_without_an_actor_are_dropped(tmp_path):
    values = np.ones((5, 1, 2), np.float32)
    actors = {clip: actor for clip, actor in ACTORS.items() if clip != "c1"}
    tensors, _ = centred(tmp_path, values, actors)
    assert tensors.clips == ["a1", "b1", "a2", "b2"]
    written = tensors.path.stat().st_mtime_ns
    assert centred(tmp_path, values, actors)[0].path == tensors.path
    assert tensors.path.stat().st_mtime_ns == written
