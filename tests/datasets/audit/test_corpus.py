import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from crossmodal.cli.main import main
from crossmodal.datasets.audit.corpus import CheckReport, check_corpus
from crossmodal.datasets.download.lock_file import LOCK_FILE
from crossmodal.datasets.ravdess import parse_name, published_names
from crossmodal.datasets.synthetic import corpus as synthetic
from crossmodal.datasets.synthetic.performance import Performance
from crossmodal.storage import read_json, write_json

CLIPS = [Performance(1, emotion, 1, 1, 1, 1) for emotion in range(1, 7)]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """Six clips, each as wav, mp4 and silent mp4, of the lengths of real ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "list_performances", lambda actors, channel, repetitions: CLIPS)
        settings = {"actors": 1, "resolution": (64, 36), "video_only": True, "num_processes": 1}
        return synthetic.synthesize(tmp_path_factory.mktemp("check") / "recordings", **settings)


@pytest.fixture
def root(recordings, tmp_path) -> Path:
    return shutil.copytree(recordings, tmp_path / "root")


@pytest.fixture
def wavs(recordings, tmp_path) -> Path:
    """Three wavs alone: what is only of them is seen sooner."""
    (tmp_path / "wavs").mkdir()
    for emotion in (1, 2, 3):
        shutil.copy(find(recordings, f"03-01-0{emotion}-01-01-01-01.wav"), tmp_path / "wavs")
    return tmp_path / "wavs"


@pytest.fixture
def pairs(recordings, tmp_path) -> Path:
    """Three clips as wav and mp4."""
    (tmp_path / "pairs").mkdir()
    for emotion in (1, 2, 3):
        shutil.copy(find(recordings, f"03-01-0{emotion}-01-01-01-01.wav"), tmp_path / "pairs")
        shutil.copy(find(recordings, f"01-01-0{emotion}-01-01-01-01.mp4"), tmp_path / "pairs")
    return tmp_path / "pairs"


def find(root: Path, name: str) -> Path:
    (path,) = root.rglob(name)
    return path


def write_wav(path: Path, samples: np.ndarray, sample_rate: int = 48_000) -> None:
    soundfile.write(path, samples, sample_rate, subtype="PCM_16")


def check(root: Path) -> CheckReport:
    return check_corpus(root, num_processes=1)


def wrong(report: CheckReport) -> dict[str, tuple[str, str]]:
    return {Path(finding.file).name: (finding.kind, finding.reason) for finding in report.wrong}


def notes(report: CheckReport) -> dict[str, tuple[str, str]]:
    return {Path(finding.file).name: (finding.kind, finding.reason) for finding in report.notes}


def cut(content: bytes) -> bytes:
    return content[: int(0.9 * len(content))]


def zero_tail(content: bytes) -> bytes:
    keep = int(0.6 * len(content))
    return content[:keep] + bytes(len(content) - keep)


def empty(content: bytes) -> bytes:
    return b""


def text(content: bytes) -> bytes:
    return b"This is a text, and no recording.\n" * 100


def flip(content: bytes) -> bytes:
    """Change 200 bytes anywhere behind the first header."""
    rng, changed = np.random.default_rng(0), bytearray(content)
    for position in rng.choice(np.arange(44, len(content)), 200, replace=False):
        changed[position] ^= int(rng.integers(1, 256))
    return bytes(changed)


def flip_row(content: bytes) -> bytes:
    """Change 200 bytes in a row."""
    rng, changed = np.random.default_rng(1), bytearray(content)
    begin = int(0.4 * len(content))
    for position in range(begin, begin + 200):
        changed[position] ^= int(rng.integers(1, 256))
    return bytes(changed)


class TestGood:
    def test_nothing_is_wrong_and_the_sound_is_where_it_should_be(self, recordings):
        report = check(recordings)
        assert (report.wrong, report.notes) == ([], [])
        assert len(report.files) == 18
        assert report.syncs.keys() == {f"01-0{emotion}-01-01-01-01" for emotion in range(1, 7)}
        for sync in report.syncs.values():
            assert sync.lag == pytest.approx(100 / 3, abs=0.05)
            assert sync.correlation > 0.999

    def test_what_is_lacking_is_counted_by_kind(self, recordings):
        report = check_corpus(recordings, "speech", num_processes=1)
        assert len(report.lacking) == 4320 - 18
        assert report.gaps == report.lacking  # there are some of each kind
        wavs = {name: path for name, path in report.files.items() if name.modality == "03"}
        only_wavs = CheckReport(report.root, wavs, published_names("speech"), [], [], {}, 0)
        assert {name.modality for name in only_wavs.gaps} == {"03"}

    def test_stereo_and_other_rates_are_notes(self, wavs):
        path = find(wavs, "03-01-01-01-01-01-01.wav")
        samples, _ = soundfile.read(path)
        write_wav(path, np.stack([samples, samples], axis=1))
        path = find(wavs, "03-01-02-01-01-01-01.wav")
        samples, _ = soundfile.read(path)
        write_wav(path, samples[::2], 24_000)
        report = check(wavs)
        assert report.wrong == []
        assert notes(report) == {
            "03-01-01-01-01-01-01.wav": ("format", "2 channels, which are averaged"),
            "03-01-02-01-01-01-01.wav": ("format", "24,000 Hz, and the published files have 48,000"),
        }


class TestDamage:
    @pytest.mark.parametrize("suffix", ["wav", "mp4"])
    def test_exactly_the_damaged_files_are_found(self, root, suffix):
        ways: list[Callable[[bytes], bytes]] = [cut, zero_tail, empty, text, flip, flip_row]
        modality = "03" if suffix == "wav" else "01"
        damaged = {}
        for emotion, damage in enumerate(ways, start=1):
            path = find(root, f"{modality}-01-0{emotion}-01-01-01-01.{suffix}")
            path.write_bytes(damage(path.read_bytes()))
            damaged[path.name] = damage
        found = wrong(check(root))
        assert found.keys() == damaged.keys()
        assert {kind for kind, _ in found.values()} == {"damaged"}
        reasons = {damaged[name]: reason for name, (_, reason) in found.items()}
        assert "the file is cut" in reasons[cut]
        assert "empty (0 bytes)" in reasons[empty]
        assert "not a sound" in reasons[text]
        if suffix == "wav":
            assert "s are zeros to the last bit" in reasons[zero_tail]
            assert "samples leap at" in reasons[flip]
            assert "samples leap at" in reasons[flip_row]

    def test_of_silent_mp4s_as_well(self, root):
        path = find(root, "02-01-03-01-01-01-01.mp4")
        path.write_bytes(flip(path.read_bytes()))
        assert wrong(check(root)).keys() == {path.name}

    def test_the_part_that_no_decoder_reads_is_read(self, wavs):
        """A real wav ends in 50 kB of text; a cut or zeros there leave all samples whole."""
        path = find(wavs, "03-01-01-01-01-01-01.wav")
        wav, notes_of_editor = path.read_bytes(), b"<x:xmpmeta>what an editor wrote</x:xmpmeta>" * 1000
        chunk = b"_PMX" + len(notes_of_editor).to_bytes(4, "little") + notes_of_editor
        whole = wav[:4] + (len(wav) + len(chunk) - 8).to_bytes(4, "little") + wav[8:] + chunk
        for content, reason in (
            (whole, None),
            (whole[:-1000], "the file is cut: its RIFF header says"),
            (whole[: len(wav)] + bytes(len(chunk)), "there is no part of a wav at byte"),
            (whole[:-600] + bytes(range(100, 200)) + whole[-500:], "what its editor wrote into it"),
        ):
            path.write_bytes(content)
            found = wrong(check(wavs))
            assert (reason in found[path.name][1]) if reason else found == {}

    def test_lengths_that_no_clip_has(self, wavs):
        path = find(wavs, "03-01-01-01-01-01-01.wav")
        samples, _ = soundfile.read(path)
        write_wav(path, samples[:72_000])
        other = find(wavs, "03-01-02-01-01-01-01.wav")
        write_wav(other, np.tile(samples, 4))
        found = wrong(check(wavs))
        assert found[path.name] == ("duration", "it lasts 1.50 s, and clips last 2 to 8 s")
        assert found[other.name][0] == "duration"

    def test_a_checksum_of_the_download_has_the_last_word(self, wavs):
        good, bad = (find(wavs, f"03-01-0{emotion}-01-01-01-01.wav") for emotion in (1, 2))
        samples, _ = soundfile.read(good)
        samples[-40_000:] = 0  # as no good wav is, but this one was published so
        write_wav(good, samples)
        with zipfile.ZipFile(wavs / "archive.zip", "w") as archive:
            archive.write(good, f"Actor_01/{good.name}")
            archive.write(bad, f"Actor_01/{bad.name}")
            sums = {info.filename: f"{info.CRC:08x} {info.file_size}" for info in archive.infolist()}
        content = bytearray(bad.read_bytes())
        content[50_000] ^= 1  # which nobody could hear
        bad.write_bytes(content)
        write_json(
            wavs / LOCK_FILE, {"archives": {"archive.zip": {"size": 1, "md5": "0" * 32, "crc32_and_size": sums}}}
        )
        for path in (wavs / "archive.zip", wavs / LOCK_FILE):  # from the zip, then from the lock file alone
            report = check(wavs)
            assert report.checksums == 2
            assert wrong(report).keys() == {bad.name}
            assert wrong(report)[bad.name][0] == "checksum"
            path.unlink()
            if path.name != LOCK_FILE:
                assert read_json(wavs / LOCK_FILE)
        assert wrong(check(wavs)).keys() == {good.name}


class TestSound:
    def shift(self, pairs: Path, emotion: int, samples: int) -> str:
        path = find(pairs, f"03-01-0{emotion}-01-01-01-01.wav")
        sound, _ = soundfile.read(path)
        noise = 1e-3 * np.random.default_rng(0).standard_normal(abs(samples))
        write_wav(path, np.concatenate([noise, sound]) if samples > 0 else sound[-samples:])
        return f"01-01-0{emotion}-01-01-01-01.mp4"

    def test_sound_that_is_early_or_late_is_listed_from_5_ms_on(self, pairs):
        late, early, near = (self.shift(pairs, *by) for by in ((1, -480), (2, 288), (3, 192)))
        report = check(pairs)
        found = wrong(report)
        assert found.keys() == {late, early}
        assert found[late][1].startswith("its sound is 43.3 ms later than the wav's, and should be 33.3 ms later")
        assert found[early][1].startswith("its sound is 27.3 ms later")
        assert near not in found
        assert report.syncs["01-03-01-01-01-01"].lag == pytest.approx(100 / 3 - 4, abs=0.05)

    def test_the_sound_of_another_clip_is_told(self, pairs):
        source, target = (find(pairs, f"03-01-0{emotion}-01-01-01-01.wav") for emotion in (1, 2))
        shutil.copy(source, target)
        report = check(pairs)
        assert wrong(report)["01-01-02-01-01-01-01.mp4"][1].startswith("its sound is not the wav's: the correlation is")
        kind, reason = wrong(report)[target.name]
        assert (kind, reason) == ("duplicate", f"its content is that of {source.name}, to the bit")

    def test_what_differs_in_one_place_only_is_told_with_the_place(self, pairs):
        path = find(pairs, "03-01-03-01-01-01-01.wav")
        sound, _ = soundfile.read(path)
        levels = np.sqrt((sound[: len(sound) // 4_800 * 4_800].reshape(-1, 4_800) ** 2).mean(axis=1))
        place = 4_800 * int(np.abs(levels - levels.max() / 3).argmin())  # heard, but not the loudest
        sound[place : place + 4_800] *= 1 - np.hanning(4_800)  # smooth: nothing leaps
        write_wav(path, sound)
        kind, reason = wrong(check(pairs))["01-01-03-01-01-01-01.mp4"]
        assert kind == "sound"
        assert float(reason.split("at ")[1].split(" s")[0]) == pytest.approx(place / 48_000 + 0.05, abs=0.06)


class TestNames:
    def test_names_that_ravdess_does_not_have(self, wavs):
        wav = find(wavs, "03-01-01-01-01-01-01.wav")
        for name in ("hello.wav", "03-01-01-02-01-01-01.wav", "03-02-07-01-01-01-01.wav", "03-02-01-01-01-01-18.wav"):
            shutil.copy(wav, wavs / name)
        shutil.copy(wav, wavs / "01-01-01-01-01-02-01.wav")
        found = wrong(check(wavs))
        assert {kind for kind, _ in found.values()} == {"name"}
        assert found["hello.wav"][1].startswith("not a RAVDESS name: 7 fields")
        assert found["01-01-01-01-01-02-01.wav"][1] == "modality 01 is audio-video, and not in a .wav"
        assert {name for name, (_, reason) in found.items() if reason == "RAVDESS has no such clip"} == {
            "03-01-01-02-01-01-01.wav",  # neutral has no strong intensity
            "03-02-07-01-01-01-01.wav",  # nobody sang disgust
            "03-02-01-01-01-01-18.wav",  # actor 18 did not sing
        }

    def test_copies_are_notes_and_files_that_only_have_the_same_name_are_wrong(self, wavs):
        wav = find(wavs, "03-01-01-01-01-01-01.wav")
        (wavs / "again").mkdir()
        shutil.copy(wav, wavs / "again")
        report = check(wavs)
        assert report.wrong == []
        ((_, reason),) = notes(report).values()
        assert reason == f"a copy of {wav}" or reason == f"a copy of {wavs / 'again' / wav.name}"
        shutil.copy(find(wavs, "03-01-02-01-01-01-01.wav"), wavs / "again" / wav.name)
        (found,) = [finding for finding in check(wavs).wrong if finding.kind == "copy"]
        assert found.reason.startswith("the same name, but another content, as")

    def test_takes_of_one_emotion_may_be_alike_as_published(self, wavs):
        wav = find(wavs, "03-01-03-01-01-01-01.wav")
        shutil.copy(wav, wav.with_name("03-01-03-01-01-02-01.wav"))
        report = check(wavs)
        assert report.wrong == []
        assert notes(report)["03-01-03-01-01-02-01.wav"] == (
            "duplicate",
            "its content is that of 03-01-03-01-01-01-01.wav, to the bit",
        )


class TestCommand:
    def run(self, capsys, *args) -> tuple[int, str]:
        status = main(["data", "check", *map(str, args), "--num_processes", "1"])
        return status, capsys.readouterr().out

    def test_a_table_for_a_person(self, recordings, capsys, child_processes):
        status, said = self.run(capsys, recordings)
        assert status == 0
        assert "6 of 60" in said
        assert "6 of 1,440" in said
        assert "actors 2 to 24" in said
        assert "6 mp4" in said and "33.3 ms (33.3 to 33.3; 33.3" in said
        assert "No problems" in said

    def test_complete_asks_for_all_of_a_kind(self, recordings, capsys):
        status, said = self.run(capsys, recordings, "--complete")
        assert status == 1
        assert "4302" in said and "--complete" in said

    def test_json_for_a_program(self, root, capsys):
        find(root, "01-01-01-01-01-01-01.mp4").unlink()
        find(root, "02-01-01-01-01-01-01.mp4").unlink()
        find(root, "03-01-02-01-01-01-01.wav").write_bytes(b"")
        find(root, "01-01-02-01-01-01-01.mp4").unlink()
        find(root, "03-01-03-01-01-01-01.wav").unlink()
        find(root, "01-01-03-01-01-01-01.mp4").unlink()
        status, said = self.run(capsys, root, "--format", "json")
        report = json.loads(said)
        assert status == 1
        assert (report["files"], report["clips"]) == (13, 6)
        assert report["actors"] == {"01": {"speech": {"audio": 5, "audio-video": 3, "video": 5}}}
        assert report["without_sound"] == ["01-03-01-01-01-01"]
        assert report["without_face"] == ["01-01-01-01-01-01"]
        assert report["sound_of_mp4_against_wav"].keys() == {f"01-0{emotion}-01-01-01-01" for emotion in (4, 5, 6)}
        assert report["notes"] == []
        (finding,) = report["wrong"]
        assert finding == {
            "file": str(find(root, "03-01-02-01-01-01-01.wav")),
            "kind": "damaged",
            "reason": "the file is empty (0 bytes)",
        }
        assert "03-01-01-01-01-01-02" in report["missing"]


def test_the_published_set_is_that_of_the_record():
    names = published_names()
    assert len(names) == len(set(names)) == 7356
    speech = [name for name in names if name.channel == "01"]
    assert len(speech) == 4320
    assert sum(name.actor == "18" for name in names) == 180
    assert all(parse_name("-".join(name)) == name for name in names)


@pytest.mark.slow
def test_on_real_recordings_only_the_known_oddities_are_told(pytestconfig, tmp_path):
    folder = Path(pytestconfig.rootpath).parent / "shared" / "data"
    archives = ("Audio_Speech_Actors_01-16", "Audio_Song_Actors_01-06", "Video_Speech_Actor_01")
    if not all((folder / f"{name}.zip").is_file() for name in archives):
        pytest.skip("the folder of real recordings is not here")
    for name in archives:
        with zipfile.ZipFile(folder / f"{name}.zip") as archive:
            archive.extractall(tmp_path / name)
    report = check_corpus(tmp_path)
    assert len(report.files) == 960 + 264 + 4
    assert report.wrong == []
    stereo = {"03-01-02-01-01-02-01.wav", "03-01-08-01-02-02-01.wav", "03-01-02-01-02-02-05.wav"}
    assert {name for name, (kind, _) in notes(report).items() if kind == "format"} == stereo
    duplicate = ("duplicate", "its content is that of 03-01-03-01-02-01-07.wav, to the bit")
    assert {name: note for name, note in notes(report).items() if note[0] != "format"} == {
        "03-01-03-01-02-02-07.wav": duplicate
    }
    assert len(report.syncs) == 3
    for sync in report.syncs.values():
        assert abs(sync.lag - 100 / 3) < 5
        assert sync.correlation > 0.99
    rng = np.random.default_rng(0)
    wavs, mp4s = sorted(tmp_path.rglob("*.wav")), sorted(tmp_path.rglob("*.mp4"))
    damaged = set()
    for index, path in enumerate([*rng.choice(wavs, 25, replace=False), *mp4s]):
        damage = [cut, zero_tail, empty, text, flip][index % 5]
        path.write_bytes(damage(path.read_bytes()))
        damaged.add(path.name)
    assert wrong(check_corpus(tmp_path)).keys() == damaged
