"""The number of runs of a study and their time, before it starts."""

from collections.abc import Sequence
from statistics import fmean

from crossmodal.storage import read_json
from crossmodal.studies.grid import CELL, Cell


def describe_work(cells: Sequence[Cell], jobs: int = 1, minutes_per_run: float | None = None) -> str:
    """Return a line with the number of runs, how many of them are finished, and the expected time of the others.

    The time is that of the finished runs in the folder of the study, by student, else `minutes_per_run`.
    """
    todo = [cell for cell in cells if not cell.is_finished]
    text = f"{len(cells)} runs, {len(cells) - len(todo)} finished"
    if not todo:
        return f"{text}."
    seconds = _seconds_by_student(todo[0])
    every = [one for those in seconds.values() for one in those] or [60 * (minutes_per_run or 0)]
    expected = [fmean(seconds.get(cell.axes.get("student"), every)) for cell in todo]
    jobs = max(1, min(jobs, len(todo)))
    hours = max(max(expected), sum(expected) / jobs) / 3600
    time = f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(60 * hours))} minutes"
    time = f"about {time} with {jobs} in parallel" if hours else "time unknown until the first run ends"
    return f"{text}; {len(todo)} to run, {time}."


def _seconds_by_student(cell: Cell) -> dict[str | None, list[float]]:
    seconds: dict[str | None, list[float]] = {}
    for path in cell.folder.parent.glob(f"*/{CELL}"):
        about = read_json(path) or {}
        if about.get("seconds"):
            seconds.setdefault(about.get("student"), []).append(float(about["seconds"]))
    return seconds
