"""RAVDESS: parsing of file names, and an index over a folder in any of the common layouts.

Livingstone & Russo (2018), PLoS ONE 13(5): e0196391; Zenodo record 1188976, CC BY-NC-SA 4.0.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from crossmodal.datasets.clip import Clip, ExcludedClip
from crossmodal.errors import CorpusNotFoundError
from crossmodal.storage import is_metadata, paths_below

Channel = Literal["speech", "song", "both"]

MODALITIES = {"01": "audio-video", "02": "video", "03": "audio"}
CHANNELS = {"01": "speech", "02": "song"}
_NAMES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
EMOTIONS = {f"{number:02d}": name for number, name in enumerate(_NAMES, 1)}
MEDIA_SUFFIXES = {".wav", ".mp4"}
NOT_SUNG = 18  # the actor without song recordings
# Kinds of files with sound and with a face, best first. An 01 wav was extracted from the 01 mp4 by another program.
_SOUNDS, _FACES = ("03.wav", "03.mp4", "01.mp4", "01.wav"), ("01.mp4", "02.mp4")

# The sound of an 01 mp4 is that of the 03 wav, delayed by 1600 samples at 48 kHz. Its container delays the video by the
# same time, but decoders show the video from 0, so video times match the wav.
MP4_SOUND_DELAY = 1 / 30  # seconds

# The framing is the same in every clip: the square from (360, 40) to (920, 600) of 1280x720 contains the head from the
# hair line to the chin, with room for motion.
FACE_BOX = (360 / 1280, 40 / 720, 920 / 1280, 600 / 720)


class RavdessName(NamedTuple):
    """The seven fields of a RAVDESS file name, each as its two digits."""

    modality: str
    channel: str
    emotion: str
    intensity: str
    statement: str
    repetition: str
    actor: str

    @property
    def clip(self) -> str:
        """The last six fields, which identify the performance in any modality."""
        return "-".join(self[1:])


_FIELDS: dict[str, Iterable[str]] = {
    "modality": MODALITIES,
    "channel": CHANNELS,
    "emotion": EMOTIONS,
    "intensity": ("01", "02"),
    "statement": ("01", "02"),
    "repetition": ("01", "02"),
    "actor": [f"{actor:02d}" for actor in range(1, 25)],
}


def parse_name(name: str) -> RavdessName:
    """Parse a RAVDESS file name, with or without folder and suffix.

    Raises:
        ValueError: If it is not a RAVDESS name. The message names the invalid field.

    Examples:
        >>> parse_name("Actor_12/03-01-06-01-02-01-12.wav").clip
        '01-06-01-02-01-12'
    """
    fields = Path(name).stem.split("-")
    if len(fields) != len(_FIELDS):
        raise ValueError(f"not a RAVDESS name: {len(_FIELDS)} fields separated by '-' expected, {len(fields)} found")
    for (field, allowed), value in zip(_FIELDS.items(), fields, strict=True):
        if value not in allowed:
            raise ValueError(f"not a RAVDESS name: {field} {value!r} does not exist")
    return RavdessName(*fields)


@dataclass(frozen=True)
class RavdessIndex:
    """Content of a folder: clips sorted by name, and excluded files."""

    clips: list[Clip]
    excluded: list[ExcludedClip]


def index_ravdess(root: str | Path, channel: Channel = "speech") -> RavdessIndex:
    """Find the clips in a RAVDESS folder: the extracted zips of Zenodo, ``Actor_NN`` folders, or one flat folder.

    Files are paired by clip. The sound comes from the 03 wav, else from the 01 mp4, else from an 01 wav that was
    extracted from it. The face comes from the 01 mp4, else from the 02 mp4, which shows the same performance. The
    folder is searched recursively.

    Raises:
        CorpusNotFoundError: If the folder does not exist or has no RAVDESS file of this channel.
    """
    root = Path(root)
    if not root.is_dir():
        raise CorpusNotFoundError(
            f"Folder {root} does not exist. Set --data.root to the folder with the extracted RAVDESS files, or omit it "
            "to use the built-in synthetic corpus. To download RAVDESS: crossmodal data download DIR"
        )
    files, excluded = _files_by_clip(root, channel)
    if not files:
        raise CorpusNotFoundError(_nothing_found(root, channel, excluded))
    clips = [_pair(by_kind) for _, by_kind in sorted(files.items())]
    for clip in clips:
        unused = [files[clip.clip].get(kind) for kind in ("03.mp4", "01.wav")]
        reason = f"not used: the sound of this clip is read from {clip.audio}"
        excluded += [ExcludedClip(str(path), reason) for path in unused if path and path != clip.audio]
    return RavdessIndex(clips, excluded)


def media_files(root: Path) -> list[Path]:
    """Return every wav and mp4 below a folder, sorted."""
    return [path for path in paths_below(root) if path.suffix.lower() in MEDIA_SUFFIXES]


def published_names(channel: Channel = "both") -> list[RavdessName]:
    """Return the names of all files of RAVDESS: 7356 with both channels, 3036 of song."""
    codes = [code for code, name in CHANNELS.items() if channel in ("both", name)]
    two = ("01", "02")
    combinations = itertools.product(MODALITIES, codes, EMOTIONS, two, two, two, _FIELDS["actor"])
    return sorted(name for name in itertools.starmap(RavdessName, combinations) if _exists(name))


def _exists(name: RavdessName) -> bool:
    emotion = EMOTIONS[name.emotion]
    is_sung = CHANNELS[name.channel] == "song"
    is_missing = is_sung and (emotion in ("disgust", "surprised") or int(name.actor) == NOT_SUNG)
    return not is_missing and (emotion, name.intensity) != ("neutral", "02")


def _files_by_clip(root: Path, channel: Channel) -> tuple[dict[str, dict[str, Path]], list[ExcludedClip]]:
    """Group the media files below `root` by clip, then by kind, such as ``03.wav``; also return the excluded files."""
    files: dict[str, dict[str, Path]] = defaultdict(dict)
    excluded = []
    for path in media_files(root):
        try:
            name = parse_name(path.name)
        except ValueError as error:
            excluded.append(ExcludedClip(str(path), str(error)))
            continue
        if channel not in ("both", CHANNELS[name.channel]):
            continue
        kind = f"{name.modality}{path.suffix.lower()}"
        if kind == "02.wav":
            excluded.append(
                ExcludedClip(str(path), "modality 02 has no sound: a wav is neither its voice nor its face")
            )
        elif (first := files[name.clip].setdefault(kind, path)) != path:
            excluded.append(ExcludedClip(str(path), f"a second copy of {first}"))
    return files, excluded


def _pair(files: dict[str, Path]) -> Clip:
    name = parse_name(next(iter(files.values())).name)
    sound = next((kind for kind in _SOUNDS if kind in files), "")
    return Clip(
        clip=name.clip,
        actor=name.actor,
        label=EMOTIONS[name.emotion],
        channel=CHANNELS[name.channel],
        audio=files.get(sound),
        video=next((files[kind] for kind in _FACES if kind in files), None),
        audio_start=0.0 if sound.startswith("03") else MP4_SOUND_DELAY,
        sex="male" if int(name.actor) % 2 else "female",
    )


def _nothing_found(root: Path, channel: Channel, excluded: list[ExcludedClip]) -> str:
    zips = sorted(path.name for path in root.glob("*.zip") if not is_metadata(path.name))
    which = "RAVDESS" if channel == "both" else f"RAVDESS {channel}"
    message = f"No {which} clip in {root.resolve()}: no .wav or .mp4 has a name like 03-01-06-01-02-01-12.wav."
    if zips:
        message += f" It has {len(zips)} zip file(s), such as {zips[0]}: extract them there."
    elif excluded:
        message += f" {len(excluded)} file(s) were excluded, such as {excluded[0].what}: {excluded[0].reason}."
    return f"{message} To download RAVDESS from https://zenodo.org/records/1188976: crossmodal data download {root}"
