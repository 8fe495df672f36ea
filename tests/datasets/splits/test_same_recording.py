import numpy as np
import pytest

from crossmodal.datasets.clip import Clip
from crossmodal.datasets.splits.same_recording import check_recordings
from crossmodal.datasets.stored_array import write_array
from crossmodal.errors import LeakageError

NOISE = np.random.default_rng(0).normal(size=(8, 30)).astype(np.float32)


@pytest.fixture
def check(tmp_path):
    """Return a function that checks clips, given as (speaker, split, array); None is the same path as the last one."""

    def run(*clips, is_ravdess=False):
        split, paths = {"train": [], "val": [], "test": []}, {}
        for number, (speaker, name, array) in enumerate(clips):
            path = tmp_path / f"{number}.npy"
            if array is None:
                path = paths[f"c{number - 1}"]
            else:
                write_array(path, np.asarray(array))
            paths[f"c{number}"] = path
            split[name].append(Clip(f"c{number}", speaker, "sad"))
        check_recordings(split, paths, is_ravdess)

    return run


@pytest.mark.parametrize("speaker, split", [("Bo", "train"), ("Bo", "test"), ("Ada", "val")])
@pytest.mark.parametrize("again", [NOISE.copy(), None], ids=["copy", "same array"])
def test_recording_of_two_speakers_or_splits_is_refused(check, speaker, split, again):
    with pytest.raises(LeakageError, match=rf"c0 \(speaker Ada, train\) and c1 \(speaker {speaker}, {split}\)"):
        check(("Ada", "train", NOISE), (speaker, split, again), ("Cy", "test", NOISE[::-1].copy()))


def test_recording_twice_under_one_speaker_and_split(check):
    check(("Ada", "train", NOISE), ("Ada", "train", NOISE), ("Ada", "train", None), ("Bo", "test", NOISE + 1))


def test_takes_that_ravdess_published_twice_are_allowed_under_one_actor_only(check):
    check(("07", "train", NOISE), ("07", "test", NOISE), is_ravdess=True)  # as with the protocol random
    with pytest.raises(LeakageError, match="c1"):
        check(("07", "train", NOISE), ("08", "train", NOISE), is_ravdess=True)


@pytest.mark.parametrize("array", [np.zeros(30, np.float32), np.repeat(NOISE[:1], 8, axis=0), NOISE[:0]])
def test_silence_and_still_pictures_are_not_compared(check, array):
    check(("Ada", "train", array), ("Bo", "test", array))


def test_other_content_with_the_same_checksum_is_another_recording(check, monkeypatch):
    monkeypatch.setattr("crossmodal.datasets.stored_array.zlib.crc32", lambda content: 7)
    check(("Ada", "train", NOISE), ("Bo", "test", NOISE + 1))
    with pytest.raises(LeakageError):
        check(("Ada", "train", NOISE), ("Bo", "test", NOISE))
