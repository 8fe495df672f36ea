import threading
import time

import numpy as np
import pytest
import torch

from crossmodal.datamodules import ClipDataset, collate_clips
from crossmodal.datamodules.sampler import EpochShuffle, Shard
from crossmodal.datamodules.thread_loader import ThreadLoader
from crossmodal.datasets.clip import Clip
from crossmodal.errors import DataError


class Numbers:
    """Items with varying reading times; records the threads that read them."""

    def __init__(self, size, damaged=()):
        self.size, self.damaged, self.readers = size, damaged, set()

    def __len__(self):
        return self.size

    def view(self, index):
        self.readers.add(threading.current_thread().name)
        time.sleep(0.002 * (index * 7 % 5))
        if index in self.damaged:
            raise DataError(f"{index} is damaged")
        return {"clip": str(index), "label": index}


def loader(numbers, threads, **kwargs):
    return ThreadLoader(numbers, batch_size=3, collate_fn=collate_clips, num_threads=threads, **kwargs)


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_batches_are_in_order_for_any_number_of_threads(threads):
    numbers = Numbers(20)
    batches = list(loader(numbers, threads))
    assert [batch["label"].tolist() for batch in batches] == [
        list(range(20))[start : start + 3] for start in range(0, 20, 3)
    ]
    assert (threading.main_thread().name in numbers.readers) == (threads == 0)
    assert len(numbers.readers) <= max(threads, 1)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_reading_error_is_raised_at_its_batch(threads):
    batches = iter(loader(Numbers(20, damaged={10}), threads))
    assert [next(batches)["label"][0].item() for _ in range(3)] == [0, 3, 6]
    with pytest.raises(DataError, match="10 is damaged"):
        next(batches)


def test_stopping_early_ends_the_threads():
    numbers = Numbers(1000)
    for _ in loader(numbers, 2):
        break
    assert not any(thread.name.startswith("clips") for thread in threading.enumerate())


def test_a_single_pass_has_every_item_once_in_one_of_the_processes():
    parts = [loader(Numbers(20), 2, sampler=EpochShuffle(range(20), 0, 4, Shard(rank, 2))) for rank in range(2)]
    found = [[int(name) for batch in part.single_pass() for name in batch["clip"]] for part in parts]
    assert found == [list(range(0, 20, 2)), list(range(1, 20, 2))]


def test_reading_draws_no_random_numbers():
    torch.manual_seed(1)
    list(loader(Numbers(9), 2))
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize("threads", [0, 2])
def test_a_batch_is_a_copy(tmp_path, threads):
    np.save(tmp_path / "a.npy", np.ones(5, np.float32))
    dataset = ClipDataset([Clip("a", "01", "happy")], ("happy",), {"a": tmp_path / "a.npy"})
    for _ in range(2):
        for batch in loader(dataset, threads):
            assert batch["waveform"].sum() == 5
            batch["waveform"].zero_()
