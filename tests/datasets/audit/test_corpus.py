import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crossmodal.cli.main import main
from crossmodal.datasets.audit.corpus import CheckReport, check_corpus
from crossmodal.datasets.download.archive import crc32_of
from crossmodal.datasets.download.lock_file import LOCK_FILE
from crossmodal.datasets.synthetic import corpus as synthetic
from crossmodal.datasets.synthetic.performance import Performance
from crossmodal.storage import write_json
from tests.media.recordings import write_video

CLIPS = [Performance(1, emotion, 1, 1, 1, 1) for emotion in range(1, 7)]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Return six clips of realistic length, each as wav, mp4 and silent mp4."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "list_performances", lambda actors, channel, repetitions: CLIPS)
        settings = {"actors": 1, "resolution": (64, 36), "video_only": True, "num_processes": 1}
        return synthetic.synthesize(tmp_path_factory.mktemp("check") / "recordings", **settings)


@pytest.fixture
def root(recordings, tmp_path) -> Path:
    return shutil.copytree(recordings, tmp_path / "root")


@pytest.fixture
def pairs(recordings, tmp_path) -> Path:
    (tmp_path / "pairs").mkdir()
    for emotion in (1, 2, 3):
        for name in (f"03-01-0{emotion}-01-01-01-01.wav", f"01-01-0{emotion}-01-01-01-01.mp4"):
            shutil.copy(find(recordings, name), tmp_path / "pairs")
    return tmp_path / "pairs"


@pytest.fixture
def wavs(pairs) -> Path:
    """Return a folder with three wavs only, for faster tests."""
    for path in pairs.glob("*.mp4"):
        path.unlink()
    return pairs


def find(root: Path, name: str) -> Path:
    (path,) = root.rglob(name)
    return path


def write_wav(path: Path, samples: np.ndarray, sample_rate: int = 48_000) -> None:
    soundfile.write(path, samples, sample_rate, subtype="PCM_16")


def check(root: Path) -> CheckReport:
    return check_corpus(root, num_processes=1)


def wrong(report: CheckReport, listed: str = "wrong") -> dict[str, tuple[str, str]]:
    return {Path(finding.file).name: (finding.kind, finding.reason) for finding in getattr(report, listed)}


def notes(report: CheckReport) -> dict[str, tuple[str, str]]:
    return wrong(report, "notes")


def flip(content: bytes, first: int, last: int) -> bytes:
    rng, changed = np.random.default_rng(0), bytearray(content)
    for position in rng.choice(np.arange(first, last), 200, replace=False):
        changed[position] ^= int(rng.integers(1, 256))
    return bytes(changed)


# Kinds of damage, with a word of the reason that is given for a wav.
DAMAGE = [
    (lambda content: content[: int(0.9 * len(content))], "truncated"),
    (lambda content: content[: int(0.6 * len(content))].ljust(len(content), b"\0"), "zero"),
    (lambda content: b"", "empty"),
    (lambda content: b"This is a text, not a recording.\n" * 100, "not a sound"),
    # Found in a compressed mp4; in a wav, only the checksum of its archive finds it.
    (lambda content: flip(content, 44, len(content)), None),  # after the first header
    (lambda content: flip(content, int(0.4 * len(content)), int(0.4 * len(content)) + 200), None),
]


class TestGood:
    def test_intact_corpus(self, recordings):
        report = check(recordings)
        assert (report.wrong, report.notes) == ([], [])
        assert len(report.files) == 18

    def test_missing_files_of_the_kinds_that_exist(self, recordings, wavs):
        assert len(check_corpus(recordings, "speech", num_processes=1).missing) == 4320 - 18
        missing = check_corpus(wavs, "both", num_processes=1).missing
        assert len(missing) == 1440 - 3
        assert {(name.channel, name.modality) for name in missing} == {("01", "03")}

    def test_stereo_and_other_rates_are_notes(self, wavs):
        stereo, slow = (find(wavs, f"03-01-0{emotion}-01-01-01-01.wav") for emotion in (1, 2))
        samples, _ = soundfile.read(stereo)
        write_wav(stereo, np.stack([samples, samples], axis=1))
        write_wav(slow, samples[::2], 24_000)
        report = check(wavs)
        assert report.wrong == []
        found = notes(report)
        assert {kind for kind, _ in found.values()} == {"format"}
        assert found[stereo.name][1].startswith("2 channels")
        assert found[slow.name][1].startswith("24,000 Hz")


class TestDamage:
    @pytest.mark.parametrize("kind", ["03-*.wav", "01-*.mp4", "02-*.mp4"])
    def test_damaged_files_are_found(self, root, kind):
        paths = dict(zip(sorted(root.rglob(kind)), DAMAGE, strict=True))
        if kind == "03-*.wav":
            paths = {path: damage for path, damage in paths.items() if damage[1]}
        for path, (damage, _) in paths.items():
            path.write_bytes(damage(path.read_bytes()))
        found = wrong(check(root))
        assert found.keys() == {path.name for path in paths}
        for path, (_, word) in paths.items():
            kind, reason = found[path.name]
            assert kind == "damaged"
            assert path.suffix == ".mp4" or word in reason

    def test_truncated_metadata_is_found(self, wavs):
        """Real wavs end with 50 kB of metadata; they must be complete."""
        path = find(wavs, "03-01-01-01-01-01-01.wav")
        wav, metadata = path.read_bytes(), b"<x:xmpmeta>written by an audio editor</x:xmpmeta>" * 1000
        chunk = b"_PMX" + len(metadata).to_bytes(4, "little") + metadata
        whole = wav[:4] + (len(wav) + len(chunk) - 8).to_bytes(4, "little") + wav[8:] + chunk
        path.write_bytes(whole)
        assert wrong(check(wavs)) == {}
        path.write_bytes(whole[:-1000])
        assert "RIFF" in wrong(check(wavs))[path.name][1]

    def test_impossible_durations(self, wavs):
        short, long = (find(wavs, f"03-01-0{emotion}-01-01-01-01.wav") for emotion in (1, 2))
        samples, _ = soundfile.read(short)
        write_wav(short, samples[:72_000])
        write_wav(long, np.tile(samples, 4))
        found = wrong(check(wavs))
        assert found[short.name][0] == found[long.name][0] == "duration"
        assert "1.50 s" in found[short.name][1]

    def test_checksums_of_the_download_take_precedence(self, wavs):
        good, bad = (find(wavs, f"03-01-0{emotion}-01-01-01-01.wav") for emotion in (1, 2))
        samples, _ = soundfile.read(good)
        samples[-40_000:] = 0  # looks like damage, but has the published checksum
        write_wav(good, samples)
        sums = {f"Actor_01/{path.name}": f"{crc32_of(path):08x} {path.stat().st_size}" for path in (good, bad)}
        content = bytearray(bad.read_bytes())
        content[50_000] ^= 1  # inaudible
        bad.write_bytes(content)
        entry = {"size": 1, "md5": "0" * 32, "crc32_and_size": sums}
        write_json(wavs / LOCK_FILE, {"archives": {"archive.zip": entry}})
        report = check(wavs)
        assert report.checksums == 2
        assert wrong(report).keys() == {bad.name}
        assert wrong(report)[bad.name][0] == "checksum"
        (wavs / LOCK_FILE).unlink()
        assert wrong(check(wavs)).keys() == {good.name}


class TestSound:
    def test_an_mp4_without_sound_is_found(self, pairs):
        path = find(pairs, "01-01-01-01-01-01-01.mp4")
        write_video(path, np.broadcast_to(np.uint8(90), (100, 36, 64, 3)))
        assert wrong(check(pairs)) == {path.name: ("sound", "it has no sound, but modality 01 includes sound")}


class TestNames:
    def test_names_that_do_not_exist_in_ravdess(self, wavs):
        wav = find(wavs, "03-01-01-01-01-01-01.wav")
        for name in ("hello.wav", "03-01-01-02-01-01-01.wav", "03-02-07-01-01-01-01.wav", "03-02-01-01-01-01-18.wav"):
            shutil.copy(wav, wavs / name)
        shutil.copy(wav, wavs / "01-01-01-01-01-02-01.wav")
        found = wrong(check(wavs))
        assert {kind for kind, _ in found.values()} == {"name"}
        assert "7 fields" in found["hello.wav"][1]
        assert "modality 01" in found["01-01-01-01-01-02-01.wav"][1]
        assert {name for name, (_, reason) in found.items() if reason == "RAVDESS has no such clip"} == {
            "03-01-01-02-01-01-01.wav",  # neutral has no strong intensity
            "03-02-07-01-01-01-01.wav",  # song has no disgust
            "03-02-01-01-01-01-18.wav",  # actor 18 did not sing
        }

    def test_copies_are_notes_and_other_files_with_the_same_name_are_errors(self, wavs):
        wav = find(wavs, "03-01-01-01-01-01-01.wav")
        (wavs / "again").mkdir()
        shutil.copy(wav, wavs / "again")
        report = check(wavs)
        assert report.wrong == []
        ((_, reason),) = notes(report).values()
        assert reason.endswith((str(wav), str(wavs / "again" / wav.name)))
        shutil.copy(wav, take := wav.with_name("03-01-01-01-01-02-01.wav"))
        kind, reason = notes(check(wavs))[take.name]  # an identical take of one emotion
        assert kind == "duplicate"
        assert wav.name in reason
        take.unlink()
        shutil.copy(wav, other := wav.with_name("03-01-01-01-01-01-02.wav"))
        assert wrong(check(wavs))[other.name][0] == "duplicate"  # one recording of two actors
        other.unlink()
        shutil.copy(find(wavs, "03-01-02-01-01-01-01.wav"), wavs / "again" / wav.name)
        (found,) = [finding for finding in check(wavs).wrong if finding.kind == "copy"]
        assert "other content" in found.reason


class TestCommand:
    def run(self, capsys, *args) -> tuple[int, str]:
        status = main(["data", "check", *map(str, args), "--num_processes", "1"])
        return status, capsys.readouterr().out

    def test_text_output(self, recordings, capsys, child_processes):
        status, output = self.run(capsys, recordings)
        assert status == 0
        assert all(words in output for words in ("6 of 60", "6 of 1,440", "02 to 24"))
        status, output = self.run(capsys, recordings, "--complete")  # requires all files of a kind
        assert status == 1
        assert "4302 published files" in output

    def test_json_output(self, root, capsys):
        gone = ("01-01-01", "02-01-01", "01-01-02", "03-01-03", "01-01-03")
        for path in [path for path in root.rglob("*-01-01-01-01.*") if path.name[:8] in gone]:
            path.unlink()
        empty = find(root, "03-01-02-01-01-01-01.wav")
        empty.write_bytes(b"")
        status, output = self.run(capsys, root, "--format", "json")
        report = json.loads(output)
        assert status == 1
        assert (report["files"], report["clips"]) == (13, 6)
        assert report["actors"] == {"01": {"speech": {"audio": 5, "audio-video": 3, "video": 5}}}
        assert report["without_sound"] == ["01-03-01-01-01-01"]
        assert report["without_face"] == ["01-01-01-01-01-01"]
        assert report["notes"] == []
        (finding,) = report["wrong"]
        assert "empty" in finding.pop("reason")
        assert finding == {"file": str(empty), "kind": "damaged"}
        assert "03-01-01-01-01-01-02" in report["missing"]


@pytest.mark.slow
def test_real_recordings_have_only_known_oddities(pytestconfig, tmp_path):
    folder = Path(pytestconfig.rootpath).parent / "shared" / "data"
    archives = ("Audio_Speech_Actors_01-16", "Audio_Song_Actors_01-06", "Video_Speech_Actor_01")
    if not all((folder / f"{name}.zip").is_file() for name in archives):
        pytest.skip("the folder of real recordings does not exist")
    for name in archives:
        with zipfile.ZipFile(folder / f"{name}.zip") as archive:
            archive.extractall(tmp_path / name)
    report = check_corpus(tmp_path)
    assert len(report.files) == 960 + 264 + 4
    assert report.wrong == []
    stereo = {"03-01-02-01-01-02-01.wav", "03-01-08-01-02-02-01.wav", "03-01-02-01-02-02-05.wav"}
    assert {name for name, (kind, _) in notes(report).items() if kind == "format"} == stereo
    ((name, (kind, reason)),) = ((name, note) for name, note in notes(report).items() if note[0] != "format")
    assert (name, kind) == ("03-01-03-01-02-02-07.wav", "duplicate")
    assert "03-01-03-01-02-01-07.wav" in reason
    rng = np.random.default_rng(0)
    wavs, mp4s = sorted(tmp_path.rglob("*.wav")), sorted(tmp_path.rglob("*.mp4"))
    damaged = set()
    for index, path in enumerate([*rng.choice(wavs, 25, replace=False), *mp4s]):
        damage, _ = DAMAGE[index % 4]
        path.write_bytes(damage(path.read_bytes()))
        damaged.add(path.name)
    assert wrong(check_corpus(tmp_path)).keys() == damaged
