import json
import shutil
from pathlib import Path

import pytest

from crossmodal.datasets import cache
from crossmodal.datasets.cache import prepare_corpus
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.quarantine import QUARANTINE_FILE, Quarantine, Quarantined


@pytest.fixture
def clips(tiny_ravdess, tmp_path) -> list[Clip]:
    """Return clips of one good wav and two damaged ones."""
    good = sorted(tiny_ravdess.rglob("*.wav"))[0]
    paths = [tmp_path / f"{name}.wav" for name in ("good", "text", "cut")]
    shutil.copy(good, paths[0])
    paths[1].write_text("a text")
    paths[2].write_bytes(good.read_bytes()[:5000])
    return [Clip(path.stem, "01", "sad", audio=path) for path in paths]


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "cache"


def listed(folder: Path) -> dict[str, dict]:
    return {Path(entry["file"]).name: entry for entry in json.loads((folder / QUARANTINE_FILE).read_text())}


def test_known_damaged_files_are_only_decoded_with_retry_or_after_a_temporary_failure(clips, folder, monkeypatch):
    first = prepare_corpus(clips, folder=folder)
    entries = listed(folder)
    assert entries.keys() == {"text.wav", "cut.wav"}
    assert {entry["wanted"] for entry in entries.values()} == {"waveforms"}
    reasons = {entry["file"]: entry["reason"] for entry in entries.values()}
    assert {aside.what: aside.reason for aside in first.excluded} == reasons
    decoded = []
    monkeypatch.setattr(cache, "map_in_processes", lambda work, jobs, **kwargs: decoded.extend(jobs) or [])
    again = prepare_corpus(clips, folder=folder)
    assert decoded == []
    assert (again.excluded, again.clips, again.reused) == (first.excluded, first.clips, 1)
    path = folder / QUARANTINE_FILE
    for retry in (True, False):
        prepare_corpus(clips, folder=folder, retry=retry)
        assert {job.clip.clip for job in decoded} == {"text", "cut"}
        decoded.clear()
        path.write_text(json.dumps([entry | {"lasting": False} for entry in entries.values()]))


def test_repaired_and_removed_files_are_dropped(clips, folder):
    prepare_corpus(clips, folder=folder)
    shutil.copy(clips[0].audio, clips[1].audio)
    corpus = prepare_corpus(clips[:2], folder=folder)
    assert (len(corpus.clips), corpus.excluded) == (2, [])
    assert listed(folder).keys() == {"cut.wav"}
    clips[2].audio.unlink()
    prepare_corpus(clips[:2], folder=folder)
    assert listed(folder) == {}


def test_concurrent_runs_share_a_list(tmp_path):
    def entry(name: str) -> Quarantined:
        file = tmp_path / name
        file.touch()
        return Quarantined(str(file), "faces", "no face", True, "0", f"key of {name}")

    one, other = Quarantine(tmp_path / "cache"), Quarantine(tmp_path / "cache")
    one.update([entry("a")], set(), {})
    other.update([entry("b")], set(), {})
    assert Quarantine(tmp_path / "cache").reasons == {"key of a": "no face", "key of b": "no face"}


ENTRY = {"file": "a", "wanted": "faces", "reason": "cut", "lasting": True, "sha256": "0", "key": "k"}
PARTLY_VALID = json.dumps([ENTRY, ENTRY | {"key": []}])


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": 1}', "5", '[{"file": 1}]', PARTLY_VALID])
def test_invalid_entries_are_ignored_and_rebuilt(clips, folder, content):
    folder.mkdir()
    (folder / QUARANTINE_FILE).write_text(content)
    assert Quarantine(folder).reasons == ({"k": "cut"} if content == PARTLY_VALID else {})
    prepare_corpus(clips, folder=folder)
    assert listed(folder).keys() == {"text.wav", "cut.wav"}
