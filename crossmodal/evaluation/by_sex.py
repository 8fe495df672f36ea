"""Results by sex of the actor, for corpora that know it."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypedDict

from crossmodal.evaluation.gain import Gain, measure_gain
from crossmodal.evaluation.metrics import Interval, uar, uar_interval
from crossmodal.evaluation.predictions import Predictions
from crossmodal.evaluation.report import Column, Table, points, with_interval
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
    models: Mapping[str, Predictions], sexes: Mapping[str, Collection[str]], student: str = "", control: str = ""
) -> list[SexResult]:
    """Measure models on the actors of each sex.

    Args:
        models: Predictions by name of the model, pooled over runs.
        sexes: Actors by sex. Others, and a sex without clips, are skipped.
        student: Name of the model that has a gain.
        control: Name of its control.
    """
    results = []
    for name, predictions in models.items():
        for sex, actors in sexes.items():
            part = predictions.of_actors(actors)
            if part.clips:
                gain = measure_gain([part], [models[control].of_actors(actors)]) if name == student else None
                value, interval = float(uar(part.confusion())), uar_interval(part)
                people = sorted(set(part.actors))
                results.append(SexResult(model=name, sex=sex, actors=people, uar=value, uar_ci95=interval, gain=gain))
    return results


def sex_table(results: Sequence[SexResult], people: str) -> Table[SexResult]:
    """Return the table of results of `measure_by_sex`, with a group for each model; `people` is a heading."""
    columns: list[Column[SexResult]] = [
        Column("model", lambda row: row["model"], "model"),
        Column("sex", lambda row: _PEOPLE[row["sex"]], "sex", is_text=True),
        Column(people, lambda row: str(len(row["actors"])), people),
        Column("UAR test", lambda row: _with_bounds(f"{row['uar']:.3f}", row["uar_ci95"]), "UAR test"),
    ]
    if any(row["gain"] for row in results):
        columns.append(Column("gain over the control", lambda row: _gain(row["gain"]), "gain"))
    models = dict.fromkeys(row["model"] for row in results)
    return Table(columns, [[row for row in results if row["model"] == name] for name in models])


def _gain(gain: Gain | None) -> str:
    """Format a gain; two women and two men are usual in a fold, so a missing interval is left out."""
    return with_interval(gain) if gain and gain["ci95_pp"] else points(gain and gain["gain_pp"])


def _with_bounds(text: str, bounds: Interval | None) -> str:
    return f"{text} ({interval_text(bounds)})" if bounds else text
