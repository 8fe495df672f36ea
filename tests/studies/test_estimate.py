import json

import pytest

from crossmodal.storage import write_json
from crossmodal.studies.estimate import describe_work
from tests.studies.conftest import cells_of


def finish(cell, **about):
    write_json(cell.folder / "summary.json", {})
    write_json(cell.folder / "cell.json", cell.about | about)


@pytest.fixture
def cells(write_study):
    """Two methods, two students and three seeds."""
    students = {"quick": "voice.yaml", "slow": "voice.yaml"}
    return list(cells_of(write_study(students=students, seeds=[0, 1, 2])).values())


def test_without_a_finished_run_the_time_is_of_the_file_or_unknown(cells):
    assert describe_work(cells) == "12 runs, 0 finished; 12 to run, time unknown until the first run ends."
    assert "about 30 minutes with 2 in parallel" in describe_work(cells, 2, 5)
    assert "about 3.0 hours with 4 in parallel" in describe_work(cells, 4, 60)
    assert "about 1.0 hours with 12 in parallel" in describe_work(cells, 99, 60)  # a run cannot be divided


def test_finished_runs_give_the_time_of_their_student(cells):
    quick, slow = (next(cell for cell in cells if f"_{name}_" in cell.folder.name) for name in ("quick", "slow"))
    finish(quick, seconds=60.0)
    assert describe_work(cells) == "12 runs, 1 finished; 11 to run, about 11 minutes with 1 in parallel."
    finish(slow, seconds=600.0)
    assert "10 to run, about 55 minutes" in describe_work(cells, 1, 99)  # 5 of 1 minute and 5 of 10
    # A run that other options left in the folder counts as well.
    about = json.loads((slow.folder / "cell.json").read_text())
    write_json(slow.folder.with_name("other") / "cell.json", about | {"seconds": 1800.0})
    assert "about 1.8 hours" in describe_work(cells)  # 5 of 1 minute and 5 of 20


def test_runs_of_earlier_versions_have_no_seconds(cells):
    finish(cells[0])
    assert "1 finished" in describe_work(cells) and "unknown" in describe_work(cells)
    for cell in cells:
        finish(cell)
    assert describe_work(cells) == "12 runs, 12 finished."
