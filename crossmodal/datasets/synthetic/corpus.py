"""Built-in synthetic corpus with the names, folders and formats of RAVDESS."""

import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
import soundfile

from crossmodal.datasets.ravdess import MP4_SOUND_DELAY, Channel, media_files, published_names
from crossmodal.datasets.synthetic.action_units import action_units
from crossmodal.datasets.synthetic.face import Look, draw_face
from crossmodal.datasets.synthetic.performance import SAMPLE_RATE, VIDEO_FRAME, Floats, Performance
from crossmodal.datasets.synthetic.voice import synthesize_voice
from crossmodal.errors import ConfigError, DataError
from crossmodal.process_pool import Failure, map_in_processes
from crossmodal.storage import atomic_path, write_json

SYNTHETIC_MARKER = "synthetic.json"
"""Name of the file that marks a folder as synthetic and stores its settings."""

# Increase when the same seed gives different clips; folders of other versions are rejected.
VERSION = 3
FRAME_RATE = Fraction(30_000, 1001)  # video frames per second


class _Job(NamedTuple):
    """A clip to create, with its missing files by RAVDESS modality."""

    performance: Performance
    files: dict[int, Path]
    seed: int
    resolution: tuple[int, int]


def synthesize(
    root: Path,
    *,
    actors: int = 16,
    channel: Channel = "speech",
    repetitions: int = 1,
    resolution: tuple[int, int] = (320, 180),
    video_only: bool = False,
    seed: int = 0,
    num_processes: int | None = None,
) -> Path:
    """Create a synthetic corpus, or its missing clips.

    A clip depends only on its name and the seed. A later call can therefore add actors, channels and repetitions, or
    resume after an interruption.

    Args:
        root: Target folder, created if necessary. The layout is that of RAVDESS's extracted zips.
        actors: Number of actors, 1 to 24.
        channel: ``speech``, ``song`` or ``both``.
        repetitions: Number of repetitions, 1 or 2; RAVDESS has 2.
        resolution: Width and height of the videos in pixels, both even; RAVDESS has 1280 and 720.
        video_only: True to also write the 02 mp4s, whose sound is silence.
        seed: Seed, which determines actors and clips.
        num_processes: Number of processes; default one per core. They are spawned: a script that calls this needs
            ``if __name__ == "__main__":``.

    Returns:
        The folder.

    Raises:
        ConfigError: If an argument is out of range, or the folder has real recordings or a synthetic corpus with
            another seed, resolution or version.
    """
    root = Path(root)
    allowed = {"actors": range(1, 25), "channel": ("speech", "song", "both"), "repetitions": (1, 2)}
    for name, value in {"actors": actors, "channel": channel, "repetitions": repetitions}.items():
        if value not in allowed[name]:
            raise ConfigError(f"{name}={value!r}: choose one of {', '.join(map(str, allowed[name]))}.")
    if min(resolution) < 32 or any(side % 2 for side in resolution):
        raise ConfigError(f"resolution={resolution}: choose an even width and height of at least 32 pixels, for H.264.")
    if num_processes is not None and num_processes < 1:
        raise ConfigError(f"num_processes={num_processes}: choose 1 or more, or None for one per core.")
    _mark(root, {"kind": "synthetic", "version": VERSION, "seed": seed, "resolution": list(resolution)})
    jobs, modalities = [], (1, 2, 3) if video_only else (1, 3)
    for performance in list_performances(actors, channel, repetitions):
        files = {modality: _path(root, modality, performance) for modality in modalities}
        if missing := {modality: path for modality, path in files.items() if not path.exists()}:
            jobs.append(_Job(performance, missing, seed, resolution))
    outcomes = map_in_processes(_make_clip, jobs, description="Synthetic corpus", num_processes=num_processes)
    for job, outcome in outcomes:
        if isinstance(outcome, Failure):
            raise DataError(f"Synthetic clip {job.performance}: {outcome.reason}. Rerun the same command to resume.")
    return root


def list_performances(actors: int, channel: Channel, repetitions: int) -> list[Performance]:
    """Return the clips of a corpus by actor: 30 of speech and 22 of song per repetition."""
    names = [name for name in published_names(channel) if name.modality == "03"]
    clips = [Performance(*(int(field) for field in name[1:])) for name in names]
    clips = [clip for clip in clips if clip.actor <= actors and clip.repetition <= repetitions]
    return sorted(clips, key=lambda clip: (clip.channel, clip.actor))


def _mark(root: Path, settings: dict[str, Any]) -> None:
    """Write the marker of a folder; raise ConfigError if the folder has other content."""
    marker = root / SYNTHETIC_MARKER
    if marker.exists():
        found = json.loads(marker.read_text(encoding="utf-8"))
        differing = {name: found.get(name) for name, value in settings.items() if found.get(name) != value}
        if differing:
            raise ConfigError(
                f"{root} has a synthetic corpus with other settings: {differing} instead of {settings}. Choose another "
                "folder, or remove this one."
            )
        return
    if root.is_dir() and (recordings := media_files(root)):
        raise ConfigError(
            f"{root} has real recordings, such as {recordings[0].name}. Choose another folder, so that real and "
            "synthetic recordings are not mixed."
        )
    write_json(marker, settings)


def _path(root: Path, modality: int, performance: Performance) -> Path:
    channel, actor = ("Song" if performance.sung else "Speech"), f"{performance.actor:02d}"
    if modality == 3:
        archive, suffix = f"Audio_{channel}_Actors_01-24", "wav"
    else:
        archive, suffix = f"Video_{channel}_Actor_{actor}", "mp4"
    return root / archive / f"Actor_{actor}" / f"{modality:02d}-{performance}.{suffix}"


def _make_clip(job: _Job) -> None:
    waveform = synthesize_voice(job.performance, job.seed)
    for modality, path in job.files.items():
        with atomic_path(path) as temporary:
            if modality == 3:
                soundfile.write(temporary, waveform, SAMPLE_RATE, format="WAV", subtype="PCM_16")
                continue
            tracks = action_units(job.performance, job.seed, _loudness(waveform))
            pictures = draw_face(Look(job.performance.actor, job.seed), tracks, job.resolution)
            delay = round(MP4_SOUND_DELAY * SAMPLE_RATE)
            sound = np.concatenate([np.zeros(delay, np.float32), waveform[:-delay]])
            _write_mp4(temporary, pictures, job.resolution, sound if modality == 1 else np.zeros_like(sound))


def _loudness(waveform: Floats) -> Floats:
    """Return the perceived loudness during each video frame, from 0 to 1."""
    frames = round(len(waveform) / (VIDEO_FRAME * SAMPLE_RATE))
    power = [float(np.mean(part**2)) for part in np.array_split(waveform, frames)]
    smooth = np.convolve(power, (0.25, 0.5, 0.25), mode="same")
    return (smooth / max(smooth.max(), 1e-12)) ** 0.35


def _write_mp4(
    path: Path, pictures: Iterable[npt.NDArray[np.uint8]], resolution: tuple[int, int], sound: Floats
) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        # With several threads, the output of x264 would depend on the number of cores.
        options = {"preset": "ultrafast", "crf": "21", "threads": "1"}
        video = container.add_stream("libx264", rate=FRAME_RATE, options=options)
        video.width, video.height = resolution
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options={"aac_coder": "fast"})
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(sound[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
