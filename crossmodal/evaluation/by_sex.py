"""Results by sex of the actor, for corpora that know it."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypedDict

from crossmodal.evaluation.gain import Gain, measure_gain
from crossmodal.evaluation.metrics import Interval, uar, uar_interval
from crossmodal.evaluation.predictions import Predictions
from crossmodal.evaluation.report import Column, Section, Table, points, with_interval
from crossmodal.labels_for_people import interval_text

_PEOPLE = {"female": "women", "male": "men"}


class SexResult(TypedDict):
    """UAR of a model, as a fraction, on the actors of one sex; the student also has its gain over the control there."""

    model: str
    sex: str
    actors: list[str]
    uar: float
    uar_ci95: Interval | None
    gain: Gain | None


def measure_by_sex(
    models: Mapping[str, Predictions], sexes: Mapping[str, Collection[str]], student: str = "", control: str = "control"
) -> list[SexResult]:
    """Measure models, by name, on the actors of each sex; `student` names the one with a gain over `control`."""
    results = []
    for name, predictions in models.items():
        for sex, actors in sexes.items():
            part = predictions.of_actors(actors)
            if part.clips:
                gain = measure_gain([part], [models[control].of_actors(actors)]) if name == student else None
                value, interval, people = float(uar(part.confusion())), uar_interval(part), sorted(set(part.actors))
                results.append(SexResult(model=name, sex=sex, actors=people, uar=value, uar_ci95=interval, gain=gain))
    return results


def sex_sections(results: Sequence[SexResult] | None, people: str) -> list[Section]:
    """Return the section of a report with the results, if there are any; `people` is the heading of their number."""
    # Two women and two men are usual in a fold, so a missing interval is left out.
    columns: list[Column[SexResult]] = [
        Column("model", lambda row: row["model"], "model"),
        Column("sex", lambda row: _PEOPLE[row["sex"]], "sex", is_text=True),
        Column(people, lambda row: str(len(row["actors"])), people),
        Column("UAR test", _uar, "UAR test"),
    ]
    if any(row["gain"] for row in results or ()):
        columns.append(Column("gain over the control", _gain))
    return [Section("By sex", [Table(columns, [results])])] if results else []


def _uar(row: SexResult) -> str:
    return f"{row['uar']:.3f}" + (f" ({interval_text(row['uar_ci95'])})" if row["uar_ci95"] else "")


def _gain(row: SexResult) -> str:
    return with_interval(row["gain"]) if row["uar_ci95"] else points(row["gain"] and row["gain"]["gain_pp"])
