import json
from dataclasses import replace

import numpy as np
import pytest

from crossmodal.evaluation.by_sex import measure_by_sex, sex_sections
from crossmodal.evaluation.gain import measure_gain
from tests.evaluation import make_predictions

SEXES = {"female": ["02", "04"], "male": ["01", "03", "05"]}  # of six actors


@pytest.fixture
def models():
    control = make_predictions(clips=240, skill=0.5, splits=("test",))
    return {"control": control, "finetune": make_predictions(clips=240, skill=1.5, splits=("test",))}


def recalls(predictions, actors):
    """Return UAR by hand, with plain loops."""
    rows = [row for row, actor in enumerate(predictions.actors) if actor in actors]
    guesses = predictions.probabilities.argmax(axis=1)
    hits = {label: [guesses[row] == label for row in rows if predictions.targets[row] == label] for label in range(4)}
    return np.mean([np.mean(of) for of in hits.values()])


def test_uar_and_gain_of_each_sex_match_a_manual_computation(models):
    results = measure_by_sex(models, SEXES, student="finetune")
    assert [(row["model"], row["sex"]) for row in results] == [
        *(("control", "female"), ("control", "male")),
        *(("finetune", "female"), ("finetune", "male")),
    ]
    for row in results:
        assert row["actors"] == SEXES[row["sex"]]
        assert row["uar"] == pytest.approx(recalls(models[row["model"]], row["actors"]))
        assert (row["uar_ci95"] is None) == (row["sex"] == "female")  # two women, three men
    control, student = results[:2], results[2:]
    assert [row["gain"] for row in control] == [None, None]
    for row, reference in zip(student, control, strict=True):
        assert row["gain"]["gain_pp"] == pytest.approx(100 * (row["uar"] - reference["uar"]))
        assert set(row["gain"]["by_actor_pp"]) == set(SEXES[row["sex"]])
    assert student[0]["gain"]["ci95_pp"] is None
    low, high = student[1]["gain"]["ci95_pp"]
    assert low <= student[1]["gain"]["gain_pp"] <= high
    assert json.dumps(results, allow_nan=False)


def test_a_sex_without_clips_and_actors_of_unknown_sex_are_skipped(models):
    (row,) = measure_by_sex({"one": models["control"]}, {"female": ["02"], "male": ["99"]})
    assert (row["sex"], row["actors"], row["gain"]) == ("female", ["02"], None)
    assert measure_by_sex(models, {}) == []
    assert sex_sections([], "actors") == sex_sections(None, "actors") == []


def test_all_actors_of_one_sex_have_the_gain_of_all(models):
    everyone = sorted(set(models["control"].actors))
    row = measure_by_sex(models, {"male": everyone}, student="finetune")[-1]
    assert row["gain"] == measure_gain([models["finetune"]], [models["control"]])


def test_actors_are_selected_with_all_their_columns(models):
    part = models["control"].of_actors(["02"])
    assert set(part.actors) == {"02"}
    assert len(part.clips) == 40
    shuffled = replace(part, clips=part.clips[::-1])
    assert shuffled.of_actors(["02"]).clips == part.clips[::-1]
    assert models["control"].of_actors([]).clips == []


def test_the_table_has_intervals_for_three_actors_only(models):
    (section,) = sex_sections(measure_by_sex(models, SEXES, student="finetune"), "speakers")
    (table,) = section.parts
    assert [column.heading for column in table.columns][2] == "speakers"
    (rows,) = table.groups
    cells = [[column.cell(row) for column in table.columns] for row in rows]
    assert [row[:3] for row in cells] == [
        *(["control", "women", "2"], ["control", "men", "3"], ["finetune", "women", "2"], ["finetune", "men", "3"]),
    ]
    assert [" to " in row[3] for row in cells] == [False, True, False, True]
    assert cells[0][4] == cells[1][4] == ""
    assert cells[2][4] == f"{rows[2]['gain']['gain_pp']:+.1f}"
    assert cells[3][4].startswith(f"{rows[3]['gain']['gain_pp']:+.1f} (")
    (section,) = sex_sections(measure_by_sex({"one": models["control"]}, SEXES), "speakers")
    assert len(section.parts[0].columns) == 4  # no gain
