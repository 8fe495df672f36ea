import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.datasets.faces import features
from crossmodal.datasets.faces.features import clip_name, feature_names, segment_means, store_face_features
from crossmodal.errors import DataError

CLIP, OTHER = "01-05-01-01-01-07", "01-06-01-01-01-07"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "features.csv", "clip,AU01_r,AU02_r", f"{CLIP},1.5,2", f"{OTHER},-3,4.25")


def read(source: Path, num_rows: int = 2) -> dict[str, list]:
    tensors, _ = store_face_features(source, num_rows, source.parent / "cache")
    return {clip: tensors[clip]["face_embeddings"].tolist() for clip in tensors.clips}


def test_one_row_per_clip(table):
    assert read(table, num_rows=8) == {CLIP: [[1.5, 2]], OTHER: [[-3, 4.25]]}
    tensors, excluded = store_face_features(table, 8, table.parent / "cache")
    assert tensors[CLIP]["face_embeddings"].dtype == np.float32
    assert (tensors.shapes, excluded, tensors.about["source"]) == ({"face_embeddings": (1, 2)}, [], "features.csv")


def test_rows_of_video_frames_are_averaged_over_time(tmp_path):
    rows = [f"{number},{CLIP},{value}" for number, value in enumerate((0, 2, 4, 12), 1)]
    table = write(tmp_path / "frames.csv", "frame,clip,AU01_r", *rows, f"1,{OTHER},7")
    assert read(table, 2) == {CLIP: [[1], [8]], OTHER: [[7], [7]]}


def test_video_frames_keep_their_order(tmp_path):
    rows = [f"{clip},{index}" for index in range(100) for clip in (OTHER, CLIP, OTHER)]
    in_order = [[index] for index in range(100)]
    assert read(write(tmp_path / "t.csv", "clip,x", *rows), 100) == {CLIP: in_order, OTHER: in_order}


def test_openface_spaces_bookkeeping_and_failed_frames(tmp_path):
    table = write(
        tmp_path / "openface.csv",
        "clip, frame, face_id, timestamp, confidence, success, AU01_r, note",
        f"{CLIP}, 1, 0, 0.000, 0.98, 1, 1.0, a",
        f"{CLIP}, 2, 0, 0.033, 0.01, 0, 99.0, b",
        f"{CLIP}, 3, 0, 0.067, 0.98, 1, 3.0, c",
        f"{OTHER}, 1, 0, 0.000, 0.98, 1, 5.0, d",
    )
    assert read(table, 1) == {CLIP: [[2.0]], OTHER: [[5.0]]}


def test_incomplete_rows_are_dropped(tmp_path):
    lost = "01-08-01-01-01-07"
    rows = [f"{CLIP},1,2", f"{CLIP},nan,4", f"{CLIP},5,6", f"{lost},,3", f"{lost},2,inf"]
    table = write(tmp_path / "gaps.csv", "clip,x,y", *rows)
    tensors, excluded = store_face_features(table, 1, tmp_path / "cache")
    assert tensors.clips == [CLIP]
    np.testing.assert_array_equal(tensors[CLIP]["face_embeddings"], [[3, 4]])
    (aside,) = excluded
    assert aside.what == f"{table}: {lost}"
    assert "missing" in aside.reason


def test_feature_names_match_the_stored_order(table, tmp_path):
    assert feature_names(table) == ["AU01_r", "AU02_r"]
    openface = write(tmp_path / "openface.csv", "frame, success, AU04_r, clip, text, AU45_c", f"1, 1, 2.5,{CLIP}, x, 0")
    assert feature_names(openface) == ["AU04_r", "AU45_c"]
    assert len(read(openface)[CLIP][0]) == 2
    parquet = tmp_path / "features.parquet"
    pa.parquet.write_table(pa.csv.read_csv(table), parquet)
    assert feature_names(parquet) == ["AU01_r", "AU02_r"]
    assert read(parquet) == read(table)
    assert feature_names(tmp_path) is None


def test_folder_of_npy(tmp_path):
    source = tmp_path / "features"
    source.mkdir()
    np.save(source / f"01-{CLIP}.npy", np.array([[0.0, 1], [2, 3], [4, 5], [6, 7]]))
    np.save(source / f"{OTHER}.npy", np.array([9.0, 8]))
    (source / "broken.npy").write_bytes(b"\x93NUMPY not really")
    header = (source / f"{OTHER}.npy").read_bytes().replace(b"'descr'", b"('descr")
    (source / "damaged.npy").write_bytes(header)
    (source / "notes.txt").write_text("not an array")
    _, excluded = store_face_features(source, 2, tmp_path / "cache")
    assert read(source) == {CLIP: [[1, 2], [5, 6]], OTHER: [[9, 8], [9, 8]]}
    assert [aside.what for aside in excluded] == [f"{source}: broken.npy", f"{source}: damaged.npy"]
    np.save(source / "other.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"\[2, 3\]"):  # numbers of features
        store_face_features(source, 1, tmp_path / "cache")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_folder_of_npy_with_links_and_metadata_of_macos(tmp_path):
    source, disk = tmp_path / "features", tmp_path / "disk"
    for path in (source / "__MACOSX", disk):
        path.mkdir(parents=True)
    np.save(disk / f"{CLIP}.npy", np.ones(3))
    (disk / f"._{CLIP}.npy").write_bytes(b"metadata")
    (source / "__MACOSX" / f"{CLIP}.npy").write_bytes(b"metadata")
    (source / "Actor_07").symlink_to(disk)
    (disk / "loop").symlink_to(source)
    clips, excluded = store_face_features(source, 1, tmp_path / "cache")
    assert (list(clips.clips), excluded) == ([CLIP], [])


@pytest.mark.parametrize(
    "name",
    [CLIP, f"01-{CLIP}", f"02-{CLIP}.csv", f"03-{CLIP}.wav", f"videos/Actor_07/01-{CLIP}.mp4", f"Actor_07/{CLIP}"],
)
def test_clip_name(name):
    assert clip_name(name) == CLIP


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my recording.npy", "my recording"),
        ("s1/a01", "s1/a01"),
        ("s1\\a01.WAV", "s1/a01"),
        ("./s1//a01.mp4", "s1/a01"),
        ("v1.0/take 2.1", "v1.0/take 2.1"),
    ],
)
def test_clip_name_keeps_folders(name, expected):
    assert clip_name(name) == expected


@pytest.mark.parametrize("kind", ["csv", "parquet", "npy"])
def test_names_that_differ_in_the_table_are_different_clips(tmp_path, kind):
    expected = {"001": 1.0, "01": 2.0, "s1/001": 3.0, "s2/001": 4.0}
    source = tmp_path / f"faces.{kind}"
    if kind == "npy":
        for name, value in expected.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(source / f"{name}.npy", np.array([value]))
    else:
        write(source, "clip,AU01", *(f"{name},{value}" for name, value in expected.items()))
    if kind == "parquet":
        pa.parquet.write_table(pa.table({"clip": list(expected), "AU01": list(expected.values())}), source)
    assert read(source) == {name: [[value]] for name, value in expected.items()}


def test_names_of_numbers_keep_their_zeros(tmp_path):
    assert read(write(tmp_path / "a.csv", "clip,x", "001,1", "01,2")) == {"001": [[1]], "01": [[2]]}
    assert read(write(tmp_path / "b.csv", "frame, clip,x", "1,001,3")) == {"001": [[3]]}


def test_table_is_read_once(table, monkeypatch):
    first = read(table)

    def refuse(source):
        raise AssertionError("the table must not be read again")

    monkeypatch.setattr(features, "_read_table", refuse)
    assert read(table) == first
    with pytest.raises(AssertionError):
        read(table, num_rows=3)
    table.write_text(table.read_text().replace("1.5", "2.5"))
    with pytest.raises(AssertionError):
        read(table)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30), st.integers(1, 12))
def test_segment_means_cover_the_rows_in_order(values, num_rows):
    rows = np.array(values, np.float32)[:, None]
    means = segment_means(rows, num_rows)
    assert means.shape == (num_rows, 1)
    assert means.min() >= rows.min() - 1e-2
    assert means.max() <= rows.max() + 1e-2
    if len(rows) % num_rows == 0:
        naive = [sum(values[i : i + len(rows) // num_rows]) for i in range(0, len(rows), len(rows) // num_rows)]
        np.testing.assert_allclose(means[:, 0], np.array(naive) * num_rows / len(rows), rtol=1e-4, atol=1e-2)
    if num_rows == 1:
        np.testing.assert_allclose(means[0], rows.mean(axis=0))
    np.testing.assert_array_equal(segment_means(np.array([[1.0], [5.0]]), 4), [[1], [1], [5], [5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"bad\.csv"),
        ("file,x\na,1", "columns are file, x"),
        ("clip,note\na,b", "numeric"),
        ("clip,frame,success\na,1,1", "numeric"),
        ("clip,x\na,nan", "numeric"),
        ("clip,x\na,inf", "usable"),
        ("clip,x\na,1,2", "table"),
        ("clip,success,x\na,0,1.5", "usable"),
        ("clip,success,x\na,yes,1.5", "table"),
        ("clip,x,x\na,1.5,2", "table"),
        ("clip," + ",".join(f"c{number}" for number in range(10_000)), r"10,001 .*10,000"),
        ("", "table"),
    ],
)
def test_table_without_features(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        store_face_features(path, 1, tmp_path / "cache")
    assert "bad.csv" in str(caught.value)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but not really")
    for name, word in (("empty", "usable"), ("bad.parquet", "table")):
        with pytest.raises(DataError, match=word):
            store_face_features(tmp_path / name, 1, tmp_path / "cache")


def test_two_videos_of_one_performance_count_once(tmp_path):
    table = write(tmp_path / "both.csv", "clip,AU01_r", "02-01-03-01-02-01-12,7.0", "01-01-03-01-02-01-12,5.0")
    tensors, excluded = store_face_features(table, num_rows=4, folder=tmp_path / "cache")
    assert tensors["01-03-01-02-01-12"]["face_embeddings"].tolist() == [[5.0]]
    (aside,) = excluded
    assert "same clip" in aside.reason
