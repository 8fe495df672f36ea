"""Manifests of published corpora, created from their original folder layouts."""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crossmodal.datasets.clip import ExcludedClip
from crossmodal.datasets.ravdess import index_ravdess
from crossmodal.errors import CorpusNotFoundError
from crossmodal.storage import paths_below

Row = dict[str, object]
_VIDEO_SUFFIXES = (".flv", ".mp4", ".avi", ".mkv", ".mov", ".webm")

_CREMAD_NAME = re.compile(r"(?P<speaker>\d{4})_[A-Z]{3}_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_[A-Z]{1,2}")
# Labels are named as in RAVDESS, so that models and corpora can be compared.
_CREMAD_LABELS = {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
_MELD_LABELS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprised",
}
# The table and the video folder of each split.
_MELD_PARTS = {
    "train": ("train_sent_emo.csv", "train_splits"),
    "val": ("dev_sent_emo.csv", "dev_splits_complete"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test"),
}
_MELD_COLUMNS = ("Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")


@dataclass
class Listing:
    """Result of a recipe."""

    rows: list[Row] = field(default_factory=list)  # of a manifest, with paths that can be opened
    excluded: list[ExcludedClip] = field(default_factory=list)  # unusable files and rows
    notes: list[str] = field(default_factory=list)  # for users of the corpus

    def exclude(self, what: object, reason: str) -> None:
        """Add an unusable file or row."""
        self.excluded.append(ExcludedClip(str(what), reason))


def list_cremad(root: Path) -> Listing:
    """List CREMA-D: ``AudioWAV/1001_DFA_ANG_XX.wav`` and ``VideoFlash/1001_DFA_ANG_XX.flv``.

    A file name consists of speaker, sentence, emotion and level. 7,442 clips, 91 speakers, six emotions. The sex of the
    speakers is read from ``VideoDemographics.csv``. Cao et al. (2014), IEEE Transactions on Affective Computing 5(4).
    """
    listing, sexes = Listing(), _cremad_sexes(root)
    sounds, videos = (_by_stem(root, suffixes, listing) for suffixes in ((".wav",), _VIDEO_SUFFIXES))
    for stem in sorted(sounds.keys() | videos.keys()):
        name = _CREMAD_NAME.fullmatch(stem)
        if name is None:
            listing.exclude(stem, "not a CREMA-D name, such as 1001_DFA_ANG_XX")
            continue
        label = _CREMAD_LABELS[name["emotion"]]
        files = {"audio": sounds.get(stem, ""), "video": videos.get(stem, "")}
        known = {"label": label, "speaker": name["speaker"], "sex": sexes.get(name["speaker"], "")}
        listing.rows.append({"clip": stem, **files, **known})
    if not videos:
        listing.notes.append("There are no videos, so only audio models can be trained (fit --stages control).")
    return listing


def list_meld(root: Path) -> Listing:
    """List MELD: ``train_sent_emo.csv`` with ``train_splits/dia0_utt0.mp4``, and similar files for dev and test.

    13,708 utterances of the series Friends, seven emotions, with its own split. Poria et al. (2019), ACL,
    arXiv:1810.02508.
    """
    listing = Listing()
    paths = paths_below(root)
    for part, (table, folder) in _MELD_PARTS.items():
        found = [path for path in paths if path.name == table]
        if not found:
            listing.notes.append(f"There is no {table}: the split {part} is skipped.")
            continue
        videos = next((path for path in paths if path.name == folder), root / folder)
        for row in _read_meld_table(found[0]):
            _add_meld_row(listing, part, row, videos)
    parts: dict[object, set[object]] = {}
    for known in listing.rows:
        parts.setdefault(known["speaker"], set()).add(known["split"])
    if shared := sum(len(names) > 1 for names in parts.values()):
        listing.notes.append(
            f"{shared} speaker(s) are in more than one part of the published split. fit rejects it by default. "
            "--data.allow_speaker_leakage true accepts it and marks every result. --data.protocol grouped makes folds "
            "that share no speaker name, but names such as 'All' stand for several people."
        )
    return listing


def list_ravdess(root: Path) -> Listing:
    """List RAVDESS, speech and song, in any layout that `index_ravdess` supports."""
    index = index_ravdess(root, "both")
    rows: list[Row] = [
        {
            "clip": clip.clip,
            "audio": clip.audio or "",
            "video": clip.video or "",
            "label": clip.label or "",
            "speaker": clip.actor,
            "sex": clip.sex or "",
            "audio_delay": clip.audio_start or "",
        }
        for clip in index.clips
    ]
    return Listing(rows, index.excluded)


# For each corpus the function that lists its clips, and the expected files for messages.
RECIPES: dict[str, tuple[Callable[[Path], Listing], str]] = {
    "cremad": (list_cremad, "AudioWAV/1001_DFA_ANG_XX.wav and VideoFlash/1001_DFA_ANG_XX.flv"),
    "meld": (list_meld, "train_sent_emo.csv with train_splits/dia0_utt0.mp4, and similar files for dev and test"),
    "ravdess": (list_ravdess, "03-01-06-01-02-01-12.wav and 01-01-06-01-02-01-12.mp4"),
}


def list_corpus(corpus: str, root: Path) -> Listing:
    """List one of `RECIPES` in a folder; raise CorpusNotFoundError if there is no clip of the corpus."""
    if not root.is_dir():
        raise CorpusNotFoundError(f"Folder {root} does not exist.")
    list_clips, layout = RECIPES[corpus]
    listing = list_clips(root)
    if not listing.rows:
        first = "".join(f" {clip.what}: {clip.reason}." for clip in listing.excluded[:1])
        raise CorpusNotFoundError(
            f"{root} has no clip of {corpus}. Expected {layout}, in any sub-folder. {len(listing.excluded)} file(s) or "
            f"row(s) were excluded.{first}"
        )
    return listing


def _by_stem(root: Path, suffixes: tuple[str, ...], listing: Listing) -> dict[str, Path]:
    """Return files with the given suffixes by stem; of duplicates, the first one is used."""
    found: dict[str, Path] = {}
    for path in (path for path in paths_below(root) if path.suffix.lower() in suffixes):
        if path.stat().st_size <= 1024 and path.read_bytes().startswith(b"version https://git-lfs.github.com/spec/"):
            listing.exclude(path, "a Git LFS pointer instead of the file: run git lfs pull")
        elif found.setdefault(path.stem, path) != path:
            listing.exclude(path, f"a second copy of {found[path.stem]}")
    return found


def _cremad_sexes(root: Path) -> dict[str, str]:
    """Return the sex of each speaker by the corpus's table; empty without it."""
    path = next((path for path in paths_below(root) if path.name == "VideoDemographics.csv"), None)
    if path is None:
        return {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = [(row.get("ActorID") or "", (row.get("Sex") or "").lower()) for row in csv.DictReader(file)]
    return {speaker: sex for speaker, sex in rows if sex in ("female", "male")}


def _read_meld_table(path: Path) -> Iterator[dict[str, str]]:
    # Some transcripts have quotation marks in a Windows encoding; transcripts are not used.
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        if missing := set(_MELD_COLUMNS) - set(reader.fieldnames or ()):
            raise CorpusNotFoundError(f"{path} is not a table of MELD: it has no {', '.join(sorted(missing))}.")
        yield from reader


def _add_meld_row(listing: Listing, part: str, row: dict[str, str], videos: Path) -> None:
    dialogue, utterance, speaker, emotion = (
        (row[name] or "").strip() for name in ("Dialogue_ID", "Utterance_ID", "Speaker", "Emotion")
    )
    name = f"dia{dialogue}_utt{utterance}"
    video = videos / f"{name}.mp4"
    if not video.is_file():
        listing.exclude(f"{part} {name}", f"there is no {video}")
    elif emotion.lower() not in _MELD_LABELS:
        listing.exclude(f"{part} {name}", f"its emotion is {emotion!r}")
    else:
        known = {"label": _MELD_LABELS[emotion.lower()], "speaker": " ".join(speaker.split()), "split": part}
        listing.rows.append({"clip": f"{part}_{name}", "audio": "", "video": video, **known})
