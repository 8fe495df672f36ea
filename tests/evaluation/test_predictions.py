from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmodal.evaluation.predictions import Predictions
from tests.evaluation import make_predictions


def test_predictions_of_one_split():
    predictions = make_predictions(clips=40)
    val, test = predictions.of("val"), predictions.of("test")
    assert set(val.splits) == {"val"}
    assert len(val.clips) + len(test.clips) == 40
    rows = [row for row, split in enumerate(predictions.splits) if split == "test"]
    assert test.clips == [predictions.clips[row] for row in rows]
    np.testing.assert_array_equal(test.targets, predictions.targets[rows])
    np.testing.assert_array_equal(test.probabilities, predictions.probabilities[rows])
    assert predictions.of("train").clips == []


def test_confusion_matrices_of_actors_sum_to_the_total():
    predictions = make_predictions(clips=100)
    by_actor = predictions.confusion_by_actor()
    assert list(by_actor) == sorted(set(predictions.actors))
    np.testing.assert_array_equal(sum(by_actor.values()), predictions.confusion())
    for actor, matrix in by_actor.items():
        assert matrix.sum() == predictions.actors.count(actor)


def test_confusion_matrix_without_clips():
    nothing = make_predictions().of("train")
    assert nothing.confusion().shape == (4, 4)
    assert not nothing.confusion().any()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("predictions")


@given(st.integers(0, 20), st.integers(0, 1000))
def test_csv_round_trip(folder, clips, seed):
    path = folder / "predictions.csv"
    predictions = make_predictions(clips=clips, seed=seed)
    predictions.write_csv(path)
    read = Predictions.read_csv(path)
    for name in ("labels", "clips", "actors", "splits"):
        assert getattr(read, name) == getattr(predictions, name)
    np.testing.assert_array_equal(read.targets, predictions.targets)
    np.testing.assert_allclose(read.probabilities, predictions.probabilities, atol=1e-6)
    assert read.probabilities.shape == predictions.probabilities.shape


def test_content_of_the_csv(tmp_path):
    predictions = Predictions(("calm", "sad"), ["a"], ["01"], ["val"], np.array([0]), np.array([[0.25, 0.75]]))
    predictions.write_csv(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines() == [
        "clip,actor,split,label,predicted,calm,sad",
        "a,01,val,calm,sad,0.250000,0.750000",
    ]
