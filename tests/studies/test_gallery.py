from types import SimpleNamespace

import numpy as np
import pytest

from crossmodal.evaluation.plots import STAGE_COLOURS, STAGE_DASHES
from crossmodal.studies.finished import StudyModel
from crossmodal.studies.gallery import PROTOCOL_COLOURS, draw_gallery, join_warnings
from tests.evaluation import make_predictions
from tests.evaluation.test_plots import read


def exhibit(name, protocols, folder, stages=("control",)):
    """Return a model with two runs for each protocol."""
    runs = {protocol: [] for protocol in protocols}
    for seed, protocol in enumerate(protocols):
        predictions = dict.fromkeys(stages, make_predictions(splits=("test",), seed=seed))
        for run in range(2):
            path = folder / f"{name}_{protocol}_{run}"
            runs[protocol].append(SimpleNamespace(folder=path, predictions=predictions))
    return StudyModel(name, stages[-1], runs)


def names_of(sections):
    return [picture.path.name for section in sections for picture in section.parts if picture.caption]


def luminance(colour: str) -> float:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_shared_plots_and_one_of_each_kind_per_protocol(tmp_path):
    shown = [
        exhibit("both", ["seq6", "random"], tmp_path),
        exhibit("student", ["seq6", "random"], tmp_path, ("transfer", "finetune")),
        exhibit("one", ["seq6"], tmp_path),
    ]
    sections = draw_gallery(shown, tmp_path, {"seq6": [], "random": ["Speaker-dependent."]})
    names = names_of(sections)
    assert names == ["bars.png", "actors.png", "confusion_seq6.png", "confusion_random.png"]
    for name in names:
        read(tmp_path / name)
    assert len({section.heading for section in sections}) == len(sections)


def test_warnings_are_on_the_plots_of_their_protocol(tmp_path):
    shown = [exhibit("one", ["seq6", "random"], tmp_path)]
    pictures = {}
    for name, warnings in (("plain", []), ("noted", ["Speaker-dependent."])):
        drawn = draw_gallery(shown, tmp_path, {"seq6": [], "random": warnings})
        pictures[name] = {file: read(tmp_path / file) for file in names_of(drawn)}
    for file, plain in pictures["plain"].items():
        noted = pictures["noted"][file]
        same = plain.shape == noted.shape and np.array_equal(plain, noted)
        assert same == ("seq6" in file), file


@pytest.mark.parametrize(
    ("warnings", "expected"),
    [
        ({"seq6": [], "random": []}, []),
        ({"seq6": ["A."]}, ["A."]),
        ({"seq6": ["A."], "random": ["A.", "B."]}, ["A.", "random: B."]),
    ],
)
def test_warnings_of_some_protocols_name_them(warnings, expected):
    assert join_warnings(warnings) == expected


def test_two_protocols_are_distinct_in_grey():
    first, second = (luminance(colour) for colour in PROTOCOL_COLOURS[:2])
    assert abs(first - second) > 80


def test_stages_are_distinct_without_colour():
    assert STAGE_DASHES.keys() == STAGE_COLOURS.keys()
    assert len(set(STAGE_DASHES.values())) == len(STAGE_DASHES)
