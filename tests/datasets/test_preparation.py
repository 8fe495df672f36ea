import shutil

import pytest

import crossmodal
from crossmodal.errors import ConfigError


def test_the_result_has_the_arrays_and_the_excluded_files(tiny_ravdess, tmp_path):
    root = tmp_path / "corpus"
    root.mkdir()
    for path in sorted(tiny_ravdess.rglob("*-01-01-01-01.wav"))[:2]:
        shutil.copy(path, root)
    (root / "03-01-05-01-01-01-01.wav").write_bytes(b"")
    (root / "recording.wav").write_bytes(b"")
    corpus = crossmodal.prepare(root, cache=tmp_path / "cache", num_processes=1)
    assert len(corpus.waveforms) == corpus.made == 2
    assert [one.what.endswith("03-01-05-01-01-01-01.wav") for one in corpus.excluded] == [True]
    assert [one.what.endswith("recording.wav") for one in corpus.unusable] == [True]
    assert crossmodal.prepare(root, cache=tmp_path / "cache", num_processes=1).reused == 2


@pytest.mark.parametrize("arguments", [{}, {"root": "a", "manifest": "b.csv"}, {"root": "a", "face_size": 4}])
def test_invalid_arguments(arguments):
    with pytest.raises(ConfigError):
        crossmodal.prepare(**arguments)
