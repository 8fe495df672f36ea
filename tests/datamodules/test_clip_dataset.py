import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.datamodules import ClipDataset, collate_clips
from crossmodal.datamodules.sampler import EpochShuffle, Shard, UnpaddedDistributedSampler
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.clip_tensors import ClipTensors
from crossmodal.errors import ConfigError, DataError

LABELS = ("neutral", "calm", "happy")


@pytest.fixture
def stored(tmp_path):
    """Return three clips, the last unlabelled, with waveforms of 5, 3 and 4 samples, faces and stored tensors."""
    clips = [Clip("a", "01", "happy"), Clip("b", "02", "neutral"), Clip("c", "02", None)]
    waveforms, faces = {}, {}
    for clip, size in zip(clips, (5, 3, 4), strict=True):
        waveforms[clip.clip] = tmp_path / f"{clip.clip}.npy"
        np.save(waveforms[clip.clip], np.linspace(0.1, 0.5, size, dtype=np.float32))
        faces[clip.clip] = tmp_path / f"{clip.clip}-faces.npy"
        np.save(faces[clip.clip], np.full((2, 3, 4, 4), 10 * size, np.uint8))
    tensors = {"teacher_embedding": np.eye(3, 5, dtype=np.float32), "teacher_logits": np.ones((3, 3), np.float32)}
    ClipTensors.save(tmp_path / "t.safetensors", ["c", "a", "b"], tensors)
    return clips, waveforms, faces, ClipTensors(tmp_path / "t.safetensors")


def test_an_item_has_only_the_requested_data(stored):
    clips, waveforms, faces, tensors = stored
    assert ClipDataset(clips, LABELS)[0] == {"clip": "a", "label": 2}
    assert ClipDataset(clips, LABELS, waveforms=waveforms)[0].keys() == {"clip", "label", "waveform"}
    assert ClipDataset(clips, LABELS, faces=faces)[0].keys() == {"clip", "label", "faces"}
    item = ClipDataset(clips, LABELS, tensors=tensors)[0]
    assert item.keys() == {"clip", "label", "teacher_embedding", "teacher_logits"}
    torch.testing.assert_close(item["teacher_embedding"], torch.eye(3, 5)[1])


def test_a_batch_has_zero_padded_waveforms_and_lengths(stored):
    clips, waveforms, faces, tensors = stored
    dataset = ClipDataset(clips, LABELS, waveforms, faces, tensors)
    batch = collate_clips([dataset[index] for index in range(len(dataset))])
    assert batch["clip"] == ["a", "b", "c"]
    assert (batch["label"].dtype, batch["label"].tolist()) == (torch.int64, [2, 0, -1])
    assert (batch["waveform"].dtype, batch["waveform"].shape) == (torch.float32, (3, 1, 5))
    assert (batch["waveform_length"].dtype, batch["waveform_length"].tolist()) == (torch.int64, [5, 3, 4])
    for row, length in enumerate([5, 3, 4]):
        torch.testing.assert_close(batch["waveform"][row, 0, :length], torch.linspace(0.1, 0.5, length))
        assert not batch["waveform"][row, 0, length:].any()
    assert (batch["faces"].dtype, batch["faces"].shape) == (torch.uint8, (3, 2, 3, 4, 4))
    assert batch["faces"][:, 0, 0, 0, 0].tolist() == [50, 30, 40]
    assert (batch["teacher_embedding"].dtype, batch["teacher_embedding"].shape) == (torch.float32, (3, 5))
    assert batch["teacher_logits"].shape == (3, 3)


def test_a_missing_array_is_a_data_error(stored):
    clips, waveforms, _, _ = stored
    waveforms["b"].unlink()
    with pytest.raises(DataError, match=r"b\.npy"):
        _ = ClipDataset(clips, LABELS, waveforms)[1]


def test_a_dataset_keeps_no_arrays(tmp_path):
    path = tmp_path / "long.npy"
    np.save(path, np.zeros(1_000_000, np.float32))
    clips = [Clip(f"{index:03d}", "01", "calm") for index in range(100)]
    dataset = ClipDataset(clips, LABELS, {clip.clip: path for clip in clips})
    for index in range(3):
        assert len(dataset[index]["waveform"]) == 1_000_000
    assert len(pickle.dumps(dataset)) < 20_000


@given(size=st.integers(1, 200), batch_size=st.integers(1, 40), seed=st.integers(0, 1000), epoch=st.integers(0, 1000))
def test_order_depends_on_seed_and_epoch_and_has_full_batches(size, batch_size, seed, epoch):
    first, second = (EpochShuffle(range(size), seed, batch_size) for _ in range(2))
    list(second)  # earlier epochs have no effect
    for shuffle in (first, second):
        shuffle.set_epoch(epoch)
    torch.rand(3)  # neither has the global generator
    order = list(first)
    assert order == list(second)
    assert len(order) == len(set(order)) == len(first)
    assert len(order) == (size if size < batch_size else size - size % batch_size)


@given(size=st.integers(1, 200), processes=st.integers(1, 4), share=st.integers(1, 9), epoch=st.integers(0, 9))
def test_a_step_does_not_depend_on_the_number_of_processes(size, processes, share, epoch):
    batch_size = processes * share
    alone = EpochShuffle(range(size), 3, batch_size)
    alone.set_epoch(epoch)
    if size < processes:
        with pytest.raises(ConfigError, match=f"{size} .* {processes} processes"):
            EpochShuffle(range(size), 3, batch_size, Shard(0, processes))
        return
    parts = [EpochShuffle(range(size), 3, batch_size, Shard(rank, processes)) for rank in range(processes)]
    for part in parts:
        part.set_epoch(epoch)
    assert len({len(part) for part in parts}) == 1
    if size < batch_size:  # one smaller batch with a divisible number of clips
        assert sorted(itertools.chain(*parts)) == sorted(list(alone)[: size // processes * processes])
        return
    steps = zip(*(batched(list(part), share) for part in parts), strict=True)
    together = [[*itertools.chain(*step)] for step in steps]
    assert together == batched(list(alone), batch_size)


@given(size=st.integers(0, 100), processes=st.integers(1, 5))
def test_every_validation_clip_is_in_one_process(size, processes):
    if 0 < size < processes:
        with pytest.raises(ConfigError, match=f"{size} .* {processes} processes"):
            UnpaddedDistributedSampler(range(size), Shard(0, processes))
        return
    parts = [UnpaddedDistributedSampler(range(size), Shard(rank, processes)) for rank in range(processes)]
    assert sorted(itertools.chain(*parts)) == list(range(size))
    assert [len(part) for part in parts] == [len(list(part)) for part in parts]


def test_an_indivisible_batch_size_is_a_config_error():
    with pytest.raises(ConfigError, match=r"10 .* 4 processes.* 12"):
        EpochShuffle(range(50), 0, 10, Shard(0, 4))


def batched(order, size):
    return [order[start : start + size] for start in range(0, len(order), size)]


def test_batches_are_aligned_in_memory_like_torch_tensors(stored):
    """Otherwise the alignment, and so the last bit of results, would differ between processes."""
    clips, waveforms, faces, tensors = stored
    for _ in range(20):
        batch = collate_clips([ClipDataset(clips, LABELS, waveforms, faces, tensors)[index] for index in range(3)])
        assert all(value.data_ptr() % 64 == 0 for value in batch.values() if isinstance(value, torch.Tensor))
