import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crossmodal.datamodules import AudioDataModule
from crossmodal.datasets.cache import FaceCrops, PreparedCorpus
from crossmodal.datasets.clip import Clip
from crossmodal.datasets.stream import reader, writer
from crossmodal.datasets.stream.reader import is_remote, open_stream, part_of, read_about
from crossmodal.datasets.stream.writer import write_stream
from crossmodal.errors import ConfigError, CorpusNotFoundError, DataError, MissingExtraError
from crossmodal.storage import cache_dir

LABELS = ("neutral", "happy", "sad", "angry")
CROPS = FaceCrops(2, 8, (0.0, 0.0, 1.0, 1.0))
FIELDS = {"kind": "manifest", "name": "tiny", "protocol": "grouped", "labels": LABELS}
MANIFEST = SimpleNamespace(**FIELDS, label_set=None, path="tiny.csv")
RAVDESS = SimpleNamespace(**FIELDS | {"kind": "ravdess"}, label_set="speech8", path="ravdess")

# Writes a stream slowly, and prints a line when it has started.
_SLOW_WRITER = """
import sys, time
from pathlib import Path
from crossmodal.datasets.stream import writer
from tests.datasets.stream.test_stream import write
read = writer._read
def slow(path):
    if path.endswith("5.waveforms.npy"):
        print("writing", flush=True)
        time.sleep(60)
    return read(path)
writer._read = slow
write(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def corpus(folder: Path, count: int = 12) -> PreparedCorpus:
    """Write arrays of clips of three speakers in two channels; every fifth has no label."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    clips, paths = [], {"waveforms": {}, "faces": {}}
    for number in range(count):
        name, label, channel = f"clip {number:02d}", (*LABELS, None)[number % 5], ("speech", "song")[number // 8]
        files = Path("a.wav"), Path("a.mp4"), 0.5, 0.5
        sex = (None, "female", "male")[number % 3]
        clips.append(Clip(name, f"0{number % 3 + 1}", label, channel, *files, split="val", sex=sex))
        arrays = {
            "waveforms": rng.uniform(-0.5, 0.5, 1600 + 37 * number).astype(np.float32),
            "faces": rng.integers(0, 256, (2, 3, 8, 8), dtype=np.uint8),
        }
        for kind, array in arrays.items():
            paths[kind][name] = folder / f"{number}.{kind}.npy"
            np.save(paths[kind][name], array)
    return PreparedCorpus(clips, **paths, excluded=[], made=0, reused=0)


def write(target: Path, arrays: Path, source=MANIFEST) -> str:
    write_stream(source, corpus(arrays), CROPS, str(target), num_processes=2)
    return str(target)


def everything(source):
    """Return all arrays of a stream by clip, read by four threads; litdata's stand-in for a remote one allows one."""
    clips, _ = source.index()
    with ThreadPoolExecutor(1 if is_remote(source.path) else 4) as pool:
        pairs = pool.map(lambda clip: (source.read(clip.audio), source.read(clip.video)), clips)
        return dict(zip([clip.clip for clip in clips], pairs, strict=True))


def assert_equals(source, expected: PreparedCorpus):
    arrays = everything(source)
    assert arrays.keys() == {clip.clip for clip in expected.clips}
    for clip, pair in arrays.items():
        for array, path in zip(pair, (expected.waveforms[clip], expected.faces[clip]), strict=True):
            assert array.dtype == np.load(path).dtype and np.array_equal(array, np.load(path))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    return write(folder / "stream", folder / "arrays")


@pytest.fixture
def stream(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


class TestReader:
    @pytest.mark.parametrize("prefix", ["", "local:"])
    def test_every_clip_and_array_is_read_back(self, whole, prefix):
        source = open_stream(prefix + whole, "speech", None)
        clips, excluded = source.index()
        expected = corpus(Path(whole).parent / "arrays")
        assert (source.kind, source.name, source.protocol, source.labels) == ("manifest", "tiny", "grouped", LABELS)
        assert (source.channel, source.label_set, source.face_box, excluded) == (None, None, CROPS.box, [])
        for clip, original in zip(clips, expected.clips, strict=True):
            same = {name: getattr(original, name) for name in ("actor", "label", "channel", "split", "sex")}
            assert replace(clip, **same) == clip
            assert (clip.audio_start, clip.video_start) == (0, 0)
            assert clip.duration == len(np.load(expected.waveforms[clip.clip])) / 16_000
        assert_equals(source, expected)

    @pytest.mark.parametrize(("channel", "count"), [("speech", 8), ("song", 4), ("both", 12)])
    def test_channel_and_label_set_of_ravdess(self, tmp_path, channel, count):
        stream = write(tmp_path / "stream", tmp_path / "arrays", RAVDESS)
        source = open_stream(stream, channel, None)
        assert len(source.index()[0]) == count
        assert source.label_set == {"speech": "speech8", "song": "song6", "both": "both8"}[channel]
        assert len(source.labels) == int(source.label_set[-1])
        six = ("neutral", "calm", "happy", "sad", "angry", "fearful")
        assert open_stream(stream, "speech", "speech6").labels == six
        with pytest.raises(ConfigError, match="song6"):
            open_stream(stream, "speech", "song6")

    def test_labels_and_settings_of_the_face_crops_are_fixed(self, whole, tmp_path):
        for channel, label_set in (("song", None), ("speech", "speech6")):
            with pytest.raises(ConfigError, match="label_set"):  # a manifest has its own labels
                _ = AudioDataModule(stream=whole, channel=channel, label_set=label_set).source
        source = open_stream(whole, "speech", None)
        clips, _ = source.index()
        assert (clips[0].audio, clips[0].video) == (Path("waveforms/0.waveforms.npy"), Path("faces/0.faces.npy"))
        with pytest.raises(ConfigError, match="face_size"):
            source.prepare(clips, audio=True, crops=replace(CROPS, face_size=16), folder=tmp_path)
        prepared = source.prepare(clips, audio=False, crops=CROPS, folder=tmp_path)
        assert (prepared.clips, len(prepared.waveforms), len(prepared.faces)) == (clips, 0, 12)

    def test_missing_stream_other_version_and_missing_extra(self, whole, tmp_path, monkeypatch):
        for where in ("nothing", "."):
            with pytest.raises(CorpusNotFoundError, match="--to litdata"):
                read_about(str(tmp_path / where))
        with pytest.raises(DataError, match=r"local:.*nothing"):
            read_about(f"local:{tmp_path / 'nothing'}")
        monkeypatch.chdir(Path(whole).parent)
        assert read_about("stream") == read_about(whole)
        monkeypatch.setattr(reader, "VERSION", 99)
        with pytest.raises(DataError, match=r"version 2.*version 99"):
            read_about(whole)
        monkeypatch.setitem(sys.modules, "litdata", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'crossmodal\[stream\]'"):
            read_about(whole)

    def test_a_stream_of_a_version_without_sex(self, tmp_path, monkeypatch):
        def older(about):
            return vars(about) | {
                "crops": vars(about.crops),
                "clips": [{k: v for k, v in vars(one).items() if k != "sex"} for one in about.clips],
            }

        monkeypatch.setattr(writer, "asdict", older)
        clips, _ = open_stream(write(tmp_path / "stream", tmp_path / "arrays"), "speech", None).index()
        assert {clip.sex for clip in clips} == {None}

    @pytest.mark.parametrize("part", ["waveforms", "faces"])
    def test_truncated_or_missing_chunk(self, stream, part):
        (chunk,) = (stream / part).glob("*.bin")
        chunk.write_bytes(chunk.read_bytes()[:-1])
        with pytest.raises(DataError, match=rf"{part}/{chunk.name}"):
            read_about(str(stream))
        chunk.unlink()
        with pytest.raises(DataError, match=chunk.name):
            read_about(str(stream))

    @pytest.mark.parametrize("content", ["", "[]", json.dumps({"chunks": [{}]})])
    def test_damaged_index_and_description(self, stream, content):
        (stream / "about" / "chunk-0-0.bin").write_bytes(b"\0" * 200)
        with pytest.raises(DataError, match="litdata"):
            read_about(str(stream))
        (stream / "faces" / "index.json").write_text(content)
        with pytest.raises(DataError, match="damaged"):
            read_about(str(stream))

    def test_part_of_and_is_remote(self):
        assert part_of("s3://bucket/folder/", "faces") == "s3://bucket/folder/faces"
        assert not is_remote("folder") and is_remote("gs://bucket/folder")


class TestWriter:
    def test_many_chunks_are_written_deterministically(self, tmp_path, monkeypatch):
        monkeypatch.setattr(writer, "_CHUNK_BYTES", 20_000)
        one, other = (Path(write(tmp_path / name, tmp_path / "arrays")) for name in ("one", "other"))
        assert len(list(one.glob("waveforms/*.bin"))) > 3
        assert_equals(open_stream(str(one), "speech", None), corpus(tmp_path / "arrays"))
        for path in one.rglob("*.bin"):
            assert path.read_bytes() == (other / path.relative_to(one)).read_bytes()

    def test_clips_without_a_partner_are_skipped(self, tmp_path):
        found = corpus(tmp_path / "arrays")
        del found.faces["clip 03"], found.waveforms["clip 05"]
        about = write_stream(MANIFEST, found, CROPS, str(tmp_path / "stream"))
        assert len(about.clips) == 10
        assert about == read_about(str(tmp_path / "stream"))
        found.faces.clear()
        with pytest.raises(CorpusNotFoundError, match=r"tiny\.csv"):
            write_stream(MANIFEST, found, CROPS, str(tmp_path / "empty"))

    def test_no_temporary_files_remain(self, tmp_path, monkeypatch):
        folders = {name: tmp_path / name for name in ("home", "tmp", "out")}
        for folder in folders.values():
            folder.mkdir()
        monkeypatch.setenv("HOME", str(folders["home"]))
        monkeypatch.setattr(tempfile, "tempdir", str(folders["tmp"]))
        write(folders["out"] / "stream", tmp_path / "arrays")
        assert [path.name for path in folders["out"].iterdir()] == ["stream"]
        assert list(folders["home"].iterdir()) == list(folders["tmp"].iterdir()) == []

    def test_failed_writer_leaves_nothing_and_existing_target_is_not_overwritten(self, tmp_path, monkeypatch):
        found = corpus(tmp_path / "arrays")
        found.faces["clip 11"].unlink()
        with pytest.raises(DataError, match="faces"):
            write_stream(MANIFEST, found, CROPS, str(tmp_path / "out" / "stream"))
        assert list((tmp_path / "out").iterdir()) == []
        with pytest.raises(ConfigError, match="already exists"):
            write(tmp_path / "out", tmp_path / "arrays")
        assert list((tmp_path / "out").iterdir()) == []
        monkeypatch.setenv("WORLD_SIZE", "4")
        with pytest.raises(ConfigError, match="WORLD_SIZE"):
            write(tmp_path / "stream", tmp_path / "arrays")

    def test_killed_writer_leaves_no_stream_and_the_next_one_cleans_up(self, tmp_path):
        target, arrays = tmp_path / "out" / "stream", tmp_path / "arrays"
        environment = {**os.environ, "CROSSMODAL_CACHE": str(cache_dir())}
        command = [sys.executable, "-c", _SLOW_WRITER, str(target), str(arrays)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path.cwd())
        try:
            assert process.stdout.readline() == "writing\n"
            with pytest.raises(ConfigError, match="Another process"):
                write(target, arrays)
        finally:
            process.kill()
            process.communicate()
        assert [path.name for path in target.parent.iterdir()] == [".stream.partial"]
        write(target, arrays)
        assert [path.name for path in target.parent.iterdir()] == ["stream"]
        read_about(str(target))

    def test_url_is_written_by_litdata_with_the_description_last(self, tmp_path, monkeypatch):
        calls = []

        def optimize(fn, inputs, output_dir, **settings):
            calls.append((output_dir, [fn(one) for one in inputs], settings))
            Path(os.environ["DATA_OPTIMIZER_CACHE_FOLDER"]).mkdir(exist_ok=True)

        monkeypatch.setattr("litdata.optimize", optimize)
        write_stream(MANIFEST, corpus(tmp_path / "arrays"), CROPS, "s3://bucket/corpus", num_processes=3)
        parts = [f"s3://bucket/corpus/{name}" for name in ("waveforms", "faces", "about")]
        assert [where for where, _, _ in calls] == parts
        assert [len(items) for _, items, _ in calls] == [12, 12, 1]
        assert json.loads(bytes(calls[-1][1][0]))["name"] == "tiny"
        assert [settings["num_workers"] for *_, settings in calls] == [3, 3, 1]
        assert all(settings["keep_data_ordered"] and not settings["reorder_files"] for *_, settings in calls)
        assert "DATA_OPTIMIZER_CACHE_FOLDER" not in os.environ

        def fail(*_, **__):
            raise RuntimeError("no credentials")

        monkeypatch.setattr("litdata.optimize", fail)
        with pytest.raises(DataError, match=r"s3://bucket/corpus.*no credentials"):
            write_stream(MANIFEST, corpus(tmp_path / "arrays"), CROPS, "s3://bucket/corpus")

    @pytest.mark.slow
    def test_litdata_writes_the_same_stream(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        ours = write(tmp_path / "ours", tmp_path / "arrays")
        monkeypatch.setattr(writer, "is_remote", lambda target: True)  # write to a folder as if it were a URL
        theirs = write(tmp_path / "theirs", tmp_path / "arrays")
        monkeypatch.undo()
        assert read_about(theirs) == read_about(ours)
        assert_equals(open_stream(theirs, "speech", None), corpus(tmp_path / "arrays"))
        assert list((tmp_path / "tmp").iterdir()) == []
