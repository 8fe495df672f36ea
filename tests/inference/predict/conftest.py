import shutil

import pytest


@pytest.fixture
def folder(tiny_ravdess, tiny_videos, tmp_path):
    """Return a folder with two recordings and another file."""
    folder = tmp_path / "recordings"
    (folder / "deeper").mkdir(parents=True)
    shutil.copy(tiny_ravdess / "Actor_01" / "03-01-05-01-01-01-01.wav", folder / "a.wav")
    shutil.copy(tiny_videos / "Actor_01" / "01-01-03-01-01-01-01.mp4", folder / "deeper" / "B.MP4")
    (folder / "notes.txt").write_text("not a recording")
    return folder
