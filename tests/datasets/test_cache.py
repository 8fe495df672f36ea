import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crossmodal import media, process_pool, storage
from crossmodal.datasets import cache
from crossmodal.datasets.cache import FaceCrops, prepare_corpus
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.ravdess import FACE_BOX, index_ravdess
from crossmodal.datasets.stored_array import read_array
from tests.datasets.arrays import arrays
from tests.datasets.hanging_jobs import CrashingJob, HangingJob

CROPS = FaceCrops(num_video_frames=4, face_size=32, box=FACE_BOX)


@pytest.fixture(scope="module")
def videos(tiny_videos, tmp_path_factory):
    """Return two clips with sound and face, their cache folder and the prepared corpus."""
    root = tmp_path_factory.mktemp("two")
    for path in sorted(tiny_videos.rglob("*-0[12]-01-01-01-01.*")):
        shutil.copy2(path, root)
    folder = root / "cache"
    clips = index_ravdess(root).clips
    assert len(clips) == 2
    return clips, folder, prepare_corpus(clips, crops=CROPS, folder=folder)


def test_arrays_equal_media_with_face_crops_at_the_middles_of_equal_segments(videos):
    clips, _, corpus = videos
    duration = 12 * 1001 / 30_000
    seconds = [duration * (piece + 0.5) / 4 for piece in range(4)]
    for clip in clips:
        waveform, faces = read_array(corpus.waveforms[clip.clip]), read_array(corpus.faces[clip.clip])
        assert isinstance(waveform, np.memmap) and not waveform.flags.writeable
        assert (waveform.dtype, faces.shape, faces.dtype) == (np.float32, (4, 3, 32, 32), np.uint8)
        np.testing.assert_array_equal(waveform, media.read_waveform(clip.audio))
        expected = media.read_video_frames(clip.video, seconds, box=FACE_BOX, size=32, decoder="pyav")
        np.testing.assert_array_equal(faces, expected)
        assert not np.array_equal(faces[0], faces[-1])


def test_sound_of_a_video_is_aligned_to_the_wav(videos, tmp_path):
    clips, _, corpus = videos
    shutil.copy(clips[0].video, tmp_path)
    (alone,) = index_ravdess(tmp_path).clips
    waveform = read_array(prepare_corpus([alone], folder=tmp_path / "cache").waveforms[alone.clip])
    wav = read_array(corpus.waveforms[alone.clip])
    size = min(len(waveform), len(wav))
    correlation = np.correlate(waveform[:size], wav[:size], "full")
    assert abs(int(np.argmax(correlation)) - (size - 1)) <= 1  # AAC is lossy; the uncorrected delay is 533 samples


def test_second_call_decodes_nothing(videos, monkeypatch):
    clips, folder, first = videos
    assert (first.made, first.reused, first.excluded) == (4, 0, [])

    def refuse(*args, **kwargs):
        raise AssertionError("nothing is to be decoded")

    monkeypatch.setattr(process_pool, "ProcessPool", refuse)
    monkeypatch.setattr(cache, "progress_bar", refuse)
    again = prepare_corpus(clips, crops=CROPS, folder=folder)
    assert (again.made, again.reused) == (0, 4)
    assert (again.clips, again.waveforms, again.faces) == (first.clips, first.waveforms, first.faces)


def test_other_settings_do_not_reuse_arrays(videos):
    clips, folder, first = videos
    other = dataclasses.replace(CROPS, num_video_frames=2)
    corpus = prepare_corpus(clips[:1], audio=False, crops=other, folder=folder)
    assert corpus.made == 1
    assert corpus.waveforms == {}
    assert read_array(corpus.faces[clips[0].clip]).shape == (2, 3, 32, 32)
    assert read_array(first.faces[clips[0].clip]).shape == (4, 3, 32, 32)


def test_changed_source_is_decoded_again(tiny_ravdess, tmp_path):
    path = Path(shutil.copy(next(tiny_ravdess.rglob("*.wav")), tmp_path))
    clips = index_ravdess(tmp_path).clips
    before = prepare_corpus(clips, folder=tmp_path / "cache")
    samples, sample_rate = soundfile.read(path)
    soundfile.write(path, samples[::-1], sample_rate)
    after = prepare_corpus(clips, folder=tmp_path / "cache")
    assert after.made == 1
    old, new = (read_array(corpus.waveforms[clips[0].clip]) for corpus in (before, after))
    np.testing.assert_array_equal(new, media.read_waveform(path))
    assert not np.array_equal(new, old)


def test_truncated_arrays_are_rebuilt(videos, tmp_path):
    clips, _, first = videos
    folder = tmp_path / "cache"
    paths = prepare_corpus(clips, folder=folder).waveforms
    expected = arrays(folder)
    for clip, size in zip(clips, [0, 5000], strict=True):
        path = paths[clip.clip]
        whole = path.read_bytes()
        assert len(whole) > size
        path.write_bytes(whole[:size])
        assert read_array(path) is None
    assert prepare_corpus(clips, folder=folder).made == 2
    assert arrays(folder) == expected
    assert paths[clips[0].clip].read_bytes() == first.waveforms[clips[0].clip].read_bytes()


def test_damaged_files_are_excluded_with_a_reason(videos, tmp_path):
    good, _, _ = videos
    for path in (path for clip in good for path in (clip.audio, clip.video)):
        shutil.copy(path, tmp_path)
    wav, mp4 = good[0].audio.read_bytes(), good[0].video.read_bytes()
    bad = {
        "03-01-03-01-01-01-01.wav": (wav[: len(wav) // 2], "truncated"),
        "01-01-04-01-01-01-01.mp4": (b"", "empty"),
        "01-01-05-01-01-01-01.mp4": (b"this is a text, not a video\n" * 50, "not a sound"),
        "01-01-06-01-01-01-01.mp4": (mp4[: len(mp4) // 2], "truncated"),
        "01-01-07-01-01-01-01.mp4": (wav, ""),  # a wav that was renamed
    }
    for name, (content, _) in bad.items():
        (tmp_path / name).write_bytes(content)
        other = f"03{name[2:-4]}.wav" if name.endswith(".mp4") else f"01{name[2:-4]}.mp4"
        shutil.copy(good[0].audio if name.endswith(".mp4") else good[0].video, tmp_path / other)
    clips = index_ravdess(tmp_path).clips
    assert len(clips) == 7
    corpus = prepare_corpus(clips, crops=CROPS, folder=tmp_path / "cache")
    assert [clip.clip for clip in corpus.clips] == [clip.clip for clip in good]
    reasons = {Path(aside.what).name: aside.reason for aside in corpus.excluded}
    assert reasons.keys() == bad.keys()
    for name, (_, reason) in bad.items():
        assert reason in reasons[name]
    # The partners of damaged files are copies of the good ones; face arrays also depend on the sound.
    assert corpus.made == 5
    for clip in corpus.clips:
        assert read_array(corpus.waveforms[clip.clip]) is not None
        assert read_array(corpus.faces[clip.clip]) is not None


def test_files_with_the_same_content_are_decoded_once(videos, tmp_path):
    (good, _), _, _ = videos
    names = [f"03-01-0{emotion}-01-01-01-01.wav" for emotion in range(1, 5)]
    for name in names:
        (tmp_path / name).write_bytes(good.audio.read_bytes() if name in names[:2] else b"")
    gone = Clip("gone", "01", "sad", audio=tmp_path / "gone.wav")
    corpus = prepare_corpus([*index_ravdess(tmp_path).clips, gone], folder=tmp_path / "cache")
    assert [clip.audio.name for clip in corpus.clips] == names[:2]
    reasons = {Path(aside.what).name: aside.reason for aside in corpus.excluded}
    assert reasons.keys() == {*names[2:], "gone.wav"}
    assert "No such file" in reasons["gone.wav"]
    assert corpus.made == len(arrays(tmp_path / "cache")) == 1


@pytest.fixture
def job(videos, tmp_path):
    return cache._Job(videos[0][0], tmp_path / "waveforms" / "00" / "a.npy")


def test_failed_write_leaves_no_array(job, monkeypatch):
    def write_half(file, array):
        file.write(b"\x93NUMPY")
        raise OSError("No space left on device")

    monkeypatch.setattr(cache.np, "save", write_half)
    with pytest.raises(OSError, match="No space left"):
        cache._make(job)
    assert list(job.target.parent.iterdir()) == []


@pytest.mark.parametrize("has_locks", [True, False])
def test_leftovers_of_a_killed_writer_are_removed_with_lock_support(job, monkeypatch, has_locks):
    def refuse(self, *args, **kwargs):
        raise OSError(37, "No locks available")

    if not has_locks:
        monkeypatch.setattr(storage.FileLock, "acquire", refuse)
    left, other = (job.target.parent / f".{name}.npy.xyz.tmp" for name in "ab")
    job.target.parent.mkdir(parents=True)
    for path in (left, other):
        path.write_bytes(b"half")
    assert (cache._make(job), cache._make(job)) == ("made", "found")
    assert (left.exists(), other.exists()) == (not has_locks, True)


def test_hanging_and_crashing_decoders_do_not_affect_other_files(videos, tmp_path, monkeypatch, child_processes):
    clip = videos[0][0]
    monkeypatch.setattr(process_pool, "TIME_LIMIT", 2.0)
    kinds = {"hanging": HangingJob, "crashing": CrashingJob, "good": cache._Job}
    jobs = [kind(clip, tmp_path / "waveforms" / "00" / f"{name}.npy") for name, kind in kinds.items()]
    made, damaged = cache._make_all(jobs, 2)
    assert (made, damaged.keys()) == (1, {job.target for job in jobs[:2]})
    for job, word in zip(jobs[:2], ("2 s", "crashed"), strict=True):
        assert word in damaged[job.target].reason
        assert not damaged[job.target].lasting
    np.testing.assert_array_equal(read_array(jobs[2].target), media.read_waveform(clip.audio))
