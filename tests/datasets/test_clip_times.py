from dataclasses import replace

import numpy as np
import pytest
import soundfile

from crossmodal.datasets import FaceCrops, prepare_corpus
from crossmodal.datasets.cache import VERSION
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.clip_waveform import read_clip_waveform
from crossmodal.datasets.faces.crops import clip_instants
from crossmodal.datasets.ravdess import FACE_BOX
from crossmodal.errors import MediaError
from crossmodal.media import read_waveform
from crossmodal.storage import content_key, hash_file

RATE = 48_000


@pytest.fixture(scope="module")
def wav(tmp_path_factory):
    """Return the path of three seconds of a rising tone, so that all segments differ."""
    path = tmp_path_factory.mktemp("window") / "rising.wav"
    time = np.arange(3 * RATE) / RATE
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * (200 + 150 * time) * time), RATE, subtype="PCM_16")
    return path


def clip(path, start=0.0, duration=None, **files):
    return Clip("one", "Ada", "sad", audio=path, audio_start=start, video_start=start, duration=duration, **files)


class TestSound:
    @pytest.mark.parametrize("start, duration", [(0.0, 1.0), (0.7, 0.5), (1.5, 1.5), (2.0, 0.013)])
    def test_segment_equals_that_of_the_whole_file(self, wav, start, duration):
        piece = read_clip_waveform(clip(wav, start, duration), wav)
        assert piece.dtype == np.float32
        assert len(piece) == round(16_000 * duration)
        whole = read_waveform(wav)[round(16_000 * start) :][: len(piece)]
        inside = slice(40, -40) if len(piece) > 400 else slice(60, -60)  # without the edge effects of the resampler
        np.testing.assert_allclose(piece[inside], whole[inside], atol=2e-3)

    @pytest.mark.parametrize(
        "start, duration, message",
        [
            (2.5, 1.0, r"3\.00 s.* 3\.50 s"),
            (3.5, 1.0, r"3\.00 s.* 4\.50 s"),
            (3.0, 0.05, r"3\.00 s.* 3\.05 s"),
            (3.0 - 1 / RATE, 0.05, "sound"),  # shorter than a sample at 16 kHz
        ],
    )
    def test_file_that_ends_before_the_clip(self, wav, tmp_path, start, duration, message):
        with pytest.raises(MediaError, match=message):
            read_clip_waveform(clip(wav, start, duration), wav)
        assert len(read_clip_waveform(clip(wav, 2.0, 1.04), wav)) == 16_000  # rounded times are tolerated
        cut = tmp_path / "cut.wav"
        cut.write_bytes(wav.read_bytes()[:-200])
        with pytest.raises(MediaError, match="truncated"):
            read_clip_waveform(clip(cut, 0.5, 1.0), cut)

    def test_clip_without_an_end(self, wav, tmp_path):
        np.testing.assert_array_equal(read_clip_waveform(clip(wav, 1.0), wav), read_waveform(wav, start=1.0))
        path = tmp_path / "long.flac"
        soundfile.write(path, np.zeros(1_801 * 1_000, np.int16), 1_000)
        with pytest.raises(MediaError, match="1800 s"):
            read_clip_waveform(clip(path), path)
        assert len(read_clip_waveform(clip(path, 1_700.0, 2.0), path)) == 32_000


class TestPictures:
    @pytest.fixture
    def video(self, tiny_videos):
        return next(iter(sorted(tiny_videos.rglob("*.mp4"))))  # 12 video frames, 0.4004 s

    def test_instants_are_the_middles_of_equal_segments(self, video):
        assert clip_instants(clip(None), video, 4) == pytest.approx([0.05005, 0.15015, 0.25025, 0.35035], abs=1e-4)
        assert clip_instants(clip(None, 0.1, 0.2), video, 2) == pytest.approx([0.15, 0.25])

    @pytest.mark.parametrize("start, duration", [(0.1, 2.0), (0.5, None), (0.6, 0.1)])
    def test_video_that_ends_before_the_clip(self, video, start, duration):
        with pytest.raises(MediaError, match=r"0\.40 s"):
            clip_instants(clip(None, start, duration), video, 4)


def test_segments_have_their_own_arrays_and_whole_clips_keep_their_keys(tiny_videos, tmp_path):
    wav = next(iter(sorted(tiny_videos.rglob("03-*.wav"))))
    video = wav.with_name(f"01{wav.stem[2:]}.mp4")
    begin, end = (clip(wav, start, 0.2, video=video) for start in (0.0, 0.2))
    clips = [replace(clip(wav, video=video), clip="whole"), replace(begin, clip="begin"), replace(end, clip="end")]
    corpus = prepare_corpus(clips, crops=FaceCrops(2, 16, FACE_BOX), folder=tmp_path, num_processes=1)
    assert corpus.excluded == []
    assert len({*corpus.waveforms.values()}) == len({*corpus.faces.values()}) == 3
    sizes = {name: len(np.load(path)) for name, path in corpus.waveforms.items()}
    assert (sizes["begin"], sizes["end"]) == (3200, 3200)
    inputs = {"source": hash_file(wav), "version": VERSION, "start": 0.0, "sample_rate": 16_000}
    assert corpus.waveforms["whole"].stem == content_key(**inputs)
    begin, end = (np.load(corpus.faces[name]).astype(float) for name in ("begin", "end"))
    assert np.abs(begin - end).max() > 20  # the bar in the picture moves
