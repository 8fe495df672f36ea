import csv

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from crossmodal.evaluation.plots import (
    STAGE_COLOURS,
    curve,
    draw_confusion,
    plot_actors,
    plot_confusion,
    plot_curves,
    read_history,
)
from tests.evaluation import make_predictions

EIGHT = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def colour(stage: str) -> np.ndarray:
    return np.array([int(STAGE_COLOURS[stage][start : start + 2], 16) for start in (1, 3, 5)])


def pixels_of(picture: np.ndarray, stage: str) -> int:
    return int((np.abs(picture.astype(int) - colour(stage)).max(axis=2) < 8).sum())


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        picture = np.asarray(image.convert("RGB"))
    assert picture.std() > 10, "the picture is blank"
    return picture


def write_history(path, stage: str, epochs: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", f"{stage}/val_uar", f"{stage}/train_loss"])
        writer.writerows([epoch, 0.125 + 0.005 * epochs * epoch, epochs / (epoch + 1)] for epoch in range(epochs))


@pytest.mark.parametrize("stages", [["teacher", "supervised", "control", "transfer", "finetune"], ["finetune"]])
def test_confusion_matrices_side_by_side(tmp_path, stages):
    predictions = {stage: make_predictions(clips=200, seed=seed, labels=EIGHT) for seed, stage in enumerate(stages)}
    plot_confusion(predictions, tmp_path / "confusion.png")
    height, width, _ = read(tmp_path / "confusion.png").shape
    assert 400 < height < 700
    assert width == pytest.approx(130 * (3.6 * len(stages) + 0.6), abs=2)


def test_curves_have_the_colours_of_the_stages(tmp_path):
    histories = {stage: tmp_path / stage / "metrics.csv" for stage in STAGE_COLOURS}
    for epochs, (stage, path) in enumerate(histories.items(), start=6):
        write_history(path, stage, epochs)
    plot_curves(histories, tmp_path / "curves.png")
    picture = read(tmp_path / "curves.png")
    assert picture.shape[1] > picture.shape[0]
    for stage in STAGE_COLOURS:
        assert pixels_of(picture, stage) > 100
    plot_curves({"teacher": histories["teacher"]}, tmp_path / "one.png")
    assert pixels_of(read(tmp_path / "one.png"), "finetune") == 0


def test_actors_of_student_and_control(tmp_path):
    student, control = make_predictions(skill=2.0), make_predictions(skill=0.3)
    plot_actors(student, control, tmp_path / "actors.png")
    picture = read(tmp_path / "actors.png")
    assert 300 < picture.shape[0] < 600
    assert pixels_of(picture, "finetune") > 100
    assert pixels_of(picture, "control") > 100


def test_plots_of_one_actor_and_without_one_class(tmp_path):
    predictions = make_predictions(actors=1, absent={1})
    plot_actors(predictions, predictions, tmp_path / "actors.png")
    plot_confusion({"control": predictions}, tmp_path / "confusion.png")
    read(tmp_path / "actors.png")
    read(tmp_path / "confusion.png")


def test_plots_show_the_note(tmp_path):
    predictions = make_predictions(skill=2.0)
    write_history(tmp_path / "metrics.csv", "teacher", 5)
    drawings = {
        "confusion": lambda path, **note: plot_confusion({"control": predictions}, path, **note),
        "curves": lambda path, **note: plot_curves({"teacher": tmp_path / "metrics.csv"}, path, **note),
        "actors": lambda path, **note: plot_actors(predictions, predictions, path, **note),
    }
    for name, draw in drawings.items():
        draw(tmp_path / f"{name}.png")
        draw(tmp_path / f"{name}-noted.png", note="Speaker-dependent")
        plain, noted = read(tmp_path / f"{name}.png"), read(tmp_path / f"{name}-noted.png")
        assert plain.shape != noted.shape or not np.array_equal(plain, noted), name


def test_matrices_and_curves_are_labelled(tmp_path, monkeypatch):
    _, (first, second) = plt.subplots(1, 2)
    for axis in (first, second):
        draw_confusion(axis, np.eye(2, dtype=int), ("happy", "sad"), first=axis is first)
    assert [axis.get_ylabel() for axis in (first, second)] == ["true", ""]
    assert all(axis.get_xlabel().startswith("predicted") for axis in (first, second))
    write_history(tmp_path / "metrics.csv", "control", 3)
    assert curve(read_history(tmp_path / "metrics.csv"), "control/val_uar", start=2)[0] == [3, 4, 5]
    drawn = []
    monkeypatch.setattr("crossmodal.evaluation.plots.save_figure", lambda figure, *args: drawn.append(figure))
    plot_curves({"control": tmp_path / "metrics.csv"}, tmp_path / "curves.png", num_classes=4)
    chance = next(line for line in drawn[0].axes[0].lines if line.get_label() == "chance")
    assert set(chance.get_ydata()) == {0.25}
