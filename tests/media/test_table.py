from fractions import Fraction

import av
import numpy as np
import pytest

from crossmodal.errors import MediaError
from crossmodal.media import read_video_frames, read_waveform
from tests.media.table import CONTAINERS, STARTS, TRAPS, make, measure

ALIKE = {"mp4 open groups", "mp4 MPEG-4", "m4a", "mov", "avi FFV1", "asf H.264", "mkv H.265"}  # when cut or joined
JOINED_VIDEO = {"mkv", "webm", "ts", "ts MPEG-2", "mpg"}  # FFmpeg repeats the times of the second file


CASES = [(name, trap) for name in CONTAINERS for trap in TRAPS if trap in STARTS or name not in ALIKE]


@pytest.mark.parametrize(("name", "trap"), CASES)
def test_files_are_read_as_ffmpeg_reads_them(folder, name, trap):
    try:
        outcome = measure(make(folder, name, trap))
    except av.FFmpegError:  # there is nothing to compare with
        assert trap.endswith("missing")
        with pytest.raises(MediaError):
            read_waveform(folder / f"{name} {trap}.{CONTAINERS[name][0]}")
        return
    if trap in STARTS:
        assert not (outcome.refused or outcome.warned)
        assert outcome.agrees or (name == "opus" and np.ptp(outcome.begins) < 0.007)  # libopus's delay is not dropped
    elif trap == "joined" and name in JOINED_VIDEO:
        assert outcome.warned
        assert outcome.sound[1] == pytest.approx(outcome.sound[0])
        assert outcome.pictures[1] == outcome.pictures[2] == outcome.pictures[0][:40]
    else:
        assert outcome.refused or outcome.agrees
    if trap == "joined" and outcome.sound[1] < 2:
        assert outcome.warned or outcome.refused
    if name in ("mp3", "mp2", "ts", "ts MPEG-2", "mpg") and trap == "start missing":
        assert outcome.agrees  # recordings of broadcasts


def test_tiny_and_odd_pictures(tmp_path, decoder):
    rng = np.random.default_rng(0)
    for height, width in ((16, 16), (2, 2), (16, 130), (98, 34), (15, 17)):
        pictures = rng.integers(0, 255, (6, height, width, 3), np.uint8)
        path = tmp_path / f"{height}x{width}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"qp": "0", "bf": "2"})
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv444p"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        try:
            shown = read_video_frames(path, np.arange(6) / 25, decoder=decoder)
        except MediaError:
            assert decoder == "decord"
            shown = read_video_frames(path, np.arange(6) / 25, decoder="auto")
        assert np.abs(shown.transpose(0, 2, 3, 1).astype(int) - pictures).mean() < 8
        crops = read_video_frames(path, [0.1], box=(0.1, 0.1, 0.9, 0.9), size=32, decoder="auto")
        assert crops.shape == (1, 3, 32, 32)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate(tmp_path, decoder, suffix):
    times = np.array([0, 40, 60, 200, 210, 500, 900, 940, 1500]) * 30  # ticks of a phone that saves light
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"bf": "2", "g": "4", "crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 30_000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    instants = np.arange(0, 1.5, 0.017) + 0.001
    expected = np.searchsorted(times / 30_000, instants, side="right") - 1
    shown = read_video_frames(path, instants, decoder="pyav" if decoder == "pyav" else "auto")
    assert np.rint(shown.mean(axis=(1, 2, 3)) / 20).astype(int).tolist() == expected.tolist()
