"""The report of a study of methods: tables for people, programs and papers, plots and page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossmodal.evaluation.report import print_warnings, warnings
from crossmodal.labels_for_people import corpus_and_channel, corpus_name, format_for, protocol_name
from crossmodal.studies.compare import LAST, Comparison, Effect, Row, compare, one_run_per_pair
from crossmodal.studies.compare_plot import plot_gains
from crossmodal.studies.finished import FinishedRun
from crossmodal.studies.gallery import Exhibit, draw_gallery
from crossmodal.studies.page import Page, html_table
from crossmodal.studies.tables import (
    Column,
    console,
    counted,
    in_ranges,
    latex_table,
    markdown_table,
    points,
    probability,
    screen_table,
    with_interval,
    write_csv,
    write_text,
)


def report_methods(folder: Path, runs: Sequence[FinishedRun]) -> Comparison:
    """Write the files of the report.

    Args:
        folder: Folder of the study.
        runs: Finished runs, see `crossmodal.studies.finished.load_runs`.

    Returns:
        The numbers.
    """
    numbers = compare(runs)
    write_comparison(folder, numbers)
    pictures = draw_gallery(_exhibits(runs, numbers), folder, {numbers["protocol"]: _warnings(numbers)})
    rows = [*numbers["methods"], *numbers["references"]]
    page = Page(numbers["study"], _warnings(numbers), [f"{_setting(numbers)}."])
    page.add("Methods", html_table(_columns(numbers), rows), *_sentences(numbers), _explanation(numbers))
    page.picture("Gain over the control", folder / "gains.png", "The gain of each method over its control.")
    page.gallery(pictures)
    page.write(folder / "report.html")
    return numbers


def write_comparison(folder: Path, numbers: Comparison) -> None:
    """Write ``table.md``, ``table.csv``, ``table.tex`` and ``gains.png``.

    Args:
        folder: Folder of the study.
        numbers: Numbers of the study, see `crossmodal.studies.compare.compare`.
    """
    write_text(folder / "table.md", _markdown(numbers))
    caption = " ".join([*_warnings(numbers), f"{_setting(numbers)}.", *_sentences(numbers)])
    groups = (numbers["methods"], numbers["references"])
    write_text(folder / "table.tex", latex_table(_columns(numbers), groups, caption))
    # Unrounded numbers; each row names its data.
    kinds = zip(("method", "reference"), groups, strict=True)
    write_csv(folder / "table.csv", [_flat(row, kind, numbers) for kind, rows in kinds for row in rows])
    plot_gains(numbers["methods"], folder / "gains.png", _setting(numbers), " ".join(_warnings(numbers)))


def print_comparison(folder: Path, numbers: Comparison) -> None:
    """Print the table, the best method on validation and the paths of the files."""
    screen = console()
    screen.print(screen_table(_setting(numbers), _columns(numbers), (numbers["methods"], numbers["references"])))
    for sentence in _sentences(numbers):
        screen.print(sentence, highlight=False)
    print_warnings(screen, dict(numbers))
    files = ", ".join(f"table.{kind}" for kind in ("md", "csv", "tex"))
    screen.print(f"In {folder}: report.html, {files}, gains.png", soft_wrap=True, highlight=False)


def _exhibits(runs: Sequence[FinishedRun], numbers: Comparison) -> list[Exhibit]:
    """Return the models to plot: each method's student, then control and teacher, once per fold and seed."""
    protocol = numbers["protocol"]
    own = [run for run in runs if not run.self_taught]
    shown = [
        Exhibit.of_runs(row["name"], {protocol: [run for run in own if run.name == row["name"]]}, "finetune")
        for row in numbers["methods"]
    ]
    distinct = {protocol: one_run_per_pair(runs)}
    return [*shown, *(Exhibit.of_runs(LAST[stage], distinct, stage) for stage in ("control", "teacher"))]


def _columns(numbers: Comparison) -> list[Column[Row]]:
    """Return the columns; those of self-distillation only if there are such runs."""
    columns: list[Column[Row]] = [
        Column("method", lambda row: row["name"], "method"),
        Column("runs", lambda row: str(row["runs"]), "runs"),
        Column("gain on validation", lambda row: points(row["val_gain_pp"]), "val gain"),
        Column("UAR test", lambda row: f"{row['test_uar']:.3f}", "UAR"),
        Column("UAR of control", lambda row: f"{row['control_uar']:.3f}"),
        Column("gain on test (95 %)", lambda row: _gain(row["over_control"]), "test gain (95 %)"),
        Column("by fold", lambda row: _range(list(row["fold_gains_pp"].values()))),
        Column("p", lambda row: _p(row["over_control"])),
        Column("p (Holm)", lambda row: _p_holm(row["over_control"]), "p Holm"),
    ]
    if any(row["over_self"] for row in numbers["methods"]):
        columns += [
            Column("over self-distillation (95 %)", lambda row: _gain(row["over_self"]), "over self (95 %)"),
            Column("p", lambda row: _p(row["over_self"])),
            Column("p (Holm)", lambda row: _p_holm(row["over_self"]), "p Holm"),
        ]
    return [*columns, Column("seconds", lambda row: "" if row["seconds"] is None else f"{row['seconds']:.0f}", "s")]


def _sentences(numbers: Comparison) -> list[str]:
    """Return a sentence about the best method, and the notes."""
    best = next(row for row in numbers["methods"] if row["name"] == numbers["best"])
    gain = best["over_control"]
    assert gain is not None, "every method has a control"
    people = format_for(numbers["corpus"], "actors")
    text = (
        f"Best on validation: {best['name']}, {points(best['val_gain_pp'])} points. On test: {_gain(gain)} points of "
        f"UAR over its control, p {_p(gain)} over {len(numbers['test_actors'])} {people}"
    )
    if best["over_self"]:
        text += f"; {_gain(best['over_self'])} over self-distillation, p {_p(best['over_self'])}"
    return [f"{text}.", *numbers["notes"]]


def _markdown(numbers: Comparison) -> str:
    lines = [f"# {numbers['study']}", "", *(f"> **{warning}**\n" for warning in _warnings(numbers))]
    lines += [_setting(numbers), ""]
    lines += markdown_table(_columns(numbers), [*numbers["methods"], *numbers["references"]])
    lines += ["", *(f"{sentence}\n" for sentence in _sentences(numbers)), _explanation(numbers), ""]
    return "\n".join([*lines, "![Gain of each method](gains.png)", ""])


def _explanation(numbers: Comparison) -> str:
    text = (
        "Gains are points of UAR, student minus control. On test they are pooled over folds and seeds. The interval is "
        "a paired bootstrap over actors. p is the two-sided Wilcoxon signed-rank test over actors, with each actor's "
        f"gain averaged over seeds; p (Holm) is corrected over the {len(numbers['methods'])} methods. "
        "Self-distillation is the same method with a voice teacher. Seconds are those of transfer and finetune, median "
        "over runs. The best method is selected on validation only. The last rows are references."
    )
    return format_for(numbers["corpus"], text)


def _flat(row: Row, kind: str, numbers: Comparison) -> dict[str, Any]:
    folds = list(row["fold_gains_pp"].values())
    flat: dict[str, Any] = {"name": row["name"], "kind": kind, "runs": row["runs"]}
    flat |= {name: row[name] for name in ("val_gain_pp", "test_uar", "control_uar")}
    for name, effect in (("", row["over_control"]), ("over_self_", row["over_self"])):
        low, high = effect["ci95_pp"] if effect else (None, None)
        flat |= {f"{name}gain_pp": effect and effect["gain_pp"], f"{name}low_pp": low, f"{name}high_pp": high}
        flat |= {f"{name}p": effect and effect["p"], f"{name}p_holm": effect and effect["p_holm"]}
    flat |= {"fold_gain_min_pp": min(folds, default=None), "fold_gain_max_pp": max(folds, default=None)}
    flat |= {"seconds": row["seconds"], "corpus": corpus_name(numbers["corpus"]), "channel": numbers["channel"]}
    flat |= {"label_set": numbers["label_set"], "protocol": numbers["protocol"]}
    flat |= {name: " ".join(map(str, numbers[name])) for name in ("test_actors", "folds", "seeds")}
    return flat | {"warnings": " ".join(_warnings(numbers))}


def _setting(numbers: Comparison) -> str:
    folds, seeds = (counted(name, numbers[name]) for name in ("folds", "seeds"))
    actors = numbers["test_actors"]
    test = f"{len(actors)} test {format_for(numbers['corpus'], 'actors')} ({in_ranges(actors)})"
    return (
        f"{corpus_and_channel(numbers)}, {len(numbers['labels'])} emotions; protocol {protocol_name(numbers)}, "
        f"{folds}, {seeds}; {test}; chance is {1 / len(numbers['labels']):.3f}"
    )


def _warnings(numbers: Comparison) -> list[str]:
    return warnings(dict(numbers))


def _gain(effect: Effect | None) -> str:
    return with_interval(dict(effect)) if effect else ""


def _range(values: Sequence[float]) -> str:
    return f"{min(values):+.1f} to {max(values):+.1f}" if values else ""


def _p(effect: Effect | None) -> str:
    return probability(effect["p"] if effect else None)


def _p_holm(effect: Effect | None) -> str:
    return probability(effect["p_holm"] if effect else None)
