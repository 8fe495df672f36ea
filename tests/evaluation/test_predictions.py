from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from crossmodal.evaluation.predictions import Predictions
from tests.evaluation import make_predictions


def test_one_split_of_them():
    said = make_predictions(clips=40)
    val, test = said.of("val"), said.of("test")
    assert set(val.splits) == {"val"}
    assert len(val.clips) + len(test.clips) == 40
    rows = [row for row, split in enumerate(said.splits) if split == "test"]
    assert test.clips == [said.clips[row] for row in rows]
    np.testing.assert_array_equal(test.targets, said.targets[rows])
    np.testing.assert_array_equal(test.probabilities, said.probabilities[rows])
    assert said.of("train").clips == []


def test_the_confusion_matrix_is_that_of_sklearn():
    said = make_predictions(clips=100)
    predicted = said.probabilities.argmax(axis=1)
    expected = confusion_matrix(said.targets, predicted, labels=range(len(said.labels)))
    np.testing.assert_array_equal(said.confusion(), expected)


def test_the_confusion_matrices_of_the_actors_sum_to_that_of_all():
    said = make_predictions(clips=100)
    by_actor = said.confusion_by_actor()
    assert list(by_actor) == sorted(set(said.actors))
    np.testing.assert_array_equal(sum(by_actor.values()), said.confusion())
    for actor, matrix in by_actor.items():
        assert matrix.sum() == said.actors.count(actor)


def test_no_clips_have_an_empty_confusion_matrix():
    nothing = make_predictions().of("train")
    assert nothing.confusion().shape == (4, 4)
    assert not nothing.confusion().any()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("predictions")


@given(st.integers(0, 20), st.integers(0, 1000))
def test_a_csv_is_read_back(folder, clips, seed):
    path = folder / "predictions.csv"
    said = make_predictions(clips=clips, seed=seed)
    said.write_csv(path)
    read = Predictions.read_csv(path)
    assert (read.labels, read.clips, read.actors, read.splits) == (said.labels, said.clips, said.actors, said.splits)
    np.testing.assert_array_equal(read.targets, said.targets)
    np.testing.assert_allclose(read.probabilities, said.probabilities, atol=1e-6)
    assert read.probabilities.shape == said.probabilities.shape


def test_the_csv_says_what_was_predicted(tmp_path):
    said = Predictions(("calm", "sad"), ["a"], ["01"], ["val"], np.array([0]), np.array([[0.25, 0.75]]))
    said.write_csv(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines() == [
        "clip,actor,split,label,predicted,calm,sad",
        "a,01,val,calm,sad,0.250000,0.750000",
    ]
