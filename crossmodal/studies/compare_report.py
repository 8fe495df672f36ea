"""`study report`: a study's table for people, programs and papers, and its picture."""

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from crossmodal.storage import atomic_path
from crossmodal.studies.compare import Comparison, Effect, Row, compare
from crossmodal.studies.compare_plot import plot_gains
from crossmodal.studies.finished import load_runs
from crossmodal.studies.report import print_warnings, warnings

_WIDTH = 132  # of the table in a pipe or file, where there is no terminal to ask


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        heading: For people.
        cell: What stands there, of a row.
        short: Its heading on the screen and in LaTeX, where there is less room; empty where it is left out there.
    """

    heading: str
    cell: Callable[[Row], str]
    short: str = ""


def report_command(options: argparse.Namespace) -> int:
    """`crossmodal study report`."""
    folder = Path(options.folder)
    numbers = compare(load_runs(folder))
    write_comparison(folder, numbers)
    if options.format == "json":
        print(json.dumps(numbers, indent=2, ensure_ascii=False))
    else:
        print_comparison(folder, numbers)
    return 0


def write_comparison(folder: Path, numbers: Comparison) -> None:
    """Write ``table.md``, ``table.csv``, ``table.tex`` and ``gains.png``.

    Args:
        folder: The study's.
        numbers: See `crossmodal.studies.compare.compare`.
    """
    _write(folder / "table.md", _markdown(numbers))
    _write(folder / "table.tex", _latex(numbers))
    _write_csv(folder / "table.csv", numbers)
    plot_gains(numbers["methods"], folder / "gains.png", _setting(numbers), " ".join(_warnings(numbers)))


def print_comparison(folder: Path, numbers: Comparison) -> None:
    """Print the table, what is best on validation, and where the files are."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    table = Table(title=_setting(numbers), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = [column for column in _columns(numbers) if column.short]
    for column in columns:
        table.add_column(column.short, justify="left" if column is columns[0] else "right")
    for rows in (numbers["methods"], numbers["references"]):
        for row in rows:
            table.add_row(*(column.cell(row) for column in columns))
        table.add_section()
    console.print(table)
    for sentence in _sentences(numbers):
        console.print(sentence, highlight=False)
    print_warnings(console, dict(numbers))
    files = ", ".join(f"table.{kind}" for kind in ("md", "csv", "tex"))
    console.print(f"In {folder}: {files}, gains.png", soft_wrap=True, highlight=False)


def _columns(numbers: Comparison) -> list[Column]:
    """All columns; those of self-distillation only where there is any."""
    columns = [
        Column("method", lambda row: row["name"], "method"),
        Column("runs", lambda row: str(row["runs"]), "runs"),
        Column("gain on validation", lambda row: _points(row["val_gain_pp"]), "val gain"),
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
    """What is chosen, and what the numbers do not say by themselves."""
    best = next(row for row in numbers["methods"] if row["name"] == numbers["best"])
    gain = best["over_control"]
    assert gain is not None, "every method has a control"
    text = (
        f"Best on validation: {best['name']}, {_points(best['val_gain_pp'])} points. On test: {_gain(gain)} points of "
        f"UAR over its control, p {_p(gain)} over {len(numbers['test_actors'])} actors"
    )
    if best["over_self"]:
        text += f"; {_gain(best['over_self'])} over self-distillation, p {_p(best['over_self'])}"
    return [f"{text}.", *numbers["notes"]]


def _markdown(numbers: Comparison) -> str:
    columns = _columns(numbers)
    lines = [f"# {numbers['study']}", "", *(f"> **{warning}**\n" for warning in _warnings(numbers))]
    lines += [_setting(numbers), ""]
    lines += [_line([column.heading for column in columns]), _line(["---", *["---:"] * (len(columns) - 1)])]
    for row in (*numbers["methods"], *numbers["references"]):
        lines.append(_line([column.cell(row) for column in columns]))
    lines += ["", *(f"{sentence}\n" for sentence in _sentences(numbers)), _explanation(numbers), ""]
    return "\n".join([*lines, "![Gain of each method](gains.png)", ""])


def _explanation(numbers: Comparison) -> str:
    return (
        "Gains are points of UAR, student minus control. On test they are pooled over folds and seeds; the interval is "
        "a bootstrap over actors, the same for both; p is Wilcoxon's signed-rank test over the actors, two-sided, with "
        "each actor's gain averaged over seeds; Holm corrects it over the "
        f"{len(numbers['methods'])} methods. Self-distillation is the same method with a voice teacher. Seconds are "
        "those of transfer and finetune, median over runs. Choosing looks at validation only; the last rows are for "
        "reference."
    )


def _latex(numbers: Comparison) -> str:
    columns = [column for column in _columns(numbers) if column.short]
    rows = [
        " & ".join(_escaped(column.cell(row)) for column in columns) + r" \\"
        for row in (*numbers["methods"], *numbers["references"])
    ]
    rows.insert(len(numbers["methods"]), r"\midrule")
    caption = " ".join([*_warnings(numbers), f"{_setting(numbers)}.", *_sentences(numbers)])
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table*}",
            r"\centering\small",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            " & ".join(_escaped(column.short) for column in columns) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{_escaped(caption)}}}",
            r"\end{table*}",
            "",
        ]
    )


def _write_csv(path: Path, numbers: Comparison) -> None:
    """Numbers as they are, unrounded, each row with what it is of."""
    rows = [_flat(row, "method", numbers) for row in numbers["methods"]]
    rows += [_flat(row, "reference", numbers) for row in numbers["references"]]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _flat(row: Row, kind: str, numbers: Comparison) -> dict[str, Any]:
    folds = list(row["fold_gains_pp"].values())
    flat: dict[str, Any] = {"name": row["name"], "kind": kind, "runs": row["runs"]}
    flat |= {name: row[name] for name in ("val_gain_pp", "test_uar", "control_uar")}
    for name, effect in (("", row["over_control"]), ("over_self_", row["over_self"])):
        low, high = effect["ci95_pp"] if effect else (None, None)
        flat |= {f"{name}gain_pp": effect and effect["gain_pp"], f"{name}low_pp": low, f"{name}high_pp": high}
        flat |= {f"{name}p": effect and effect["p"], f"{name}p_holm": effect and effect["p_holm"]}
    flat |= {"fold_gain_min_pp": min(folds, default=None), "fold_gain_max_pp": max(folds, default=None)}
    flat |= {"seconds": row["seconds"], "corpus": numbers["corpus"]["kind"], "channel": numbers["channel"]}
    flat |= {"label_set": numbers["label_set"], "protocol": numbers["protocol"]}
    flat |= {name: " ".join(map(str, numbers[name])) for name in ("test_actors", "folds", "seeds")}
    return flat | {"warnings": " ".join(_warnings(numbers))}


def _setting(numbers: Comparison) -> str:
    corpus = {"synthetic": "Synthetic corpus", "ravdess": "RAVDESS"}[numbers["corpus"]["kind"]]
    folds, seeds = (_counted(name, numbers[name]) for name in ("folds", "seeds"))
    actors = numbers["test_actors"]
    return (
        f"{corpus}, {numbers['channel']}, {len(numbers['labels'])} emotions; protocol {numbers['protocol']}, {folds}, "
        f"{seeds}; {len(actors)} test actors ({_in_ranges(actors)}); chance is {1 / len(numbers['labels']):.3f}"
    )


def _in_ranges(actors: Sequence[str]) -> str:
    """Actors one after the other as a range: 01 to 04, 07, 08."""
    groups: list[list[str]] = []
    for actor in actors:
        if groups and int(actor) == int(groups[-1][-1]) + 1:
            groups[-1].append(actor)
        else:
            groups.append([actor])
    return ", ".join(f"{group[0]} to {group[-1]}" if len(group) > 2 else ", ".join(group) for group in groups)


def _counted(name: str, numbers: Sequence[int]) -> str:
    return f"{name.removesuffix('s') if len(numbers) == 1 else name} {', '.join(map(str, numbers))}"


def _warnings(numbers: Comparison) -> list[str]:
    return warnings(dict(numbers))


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}"


def _gain(effect: Effect | None) -> str:
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(effect["gain_pp"], *effect["ci95_pp"]) if effect else ""


def _range(values: Sequence[float]) -> str:
    return f"{min(values):+.1f} to {max(values):+.1f}" if values else ""


def _p(effect: Effect | None) -> str:
    return _probability(effect["p"] if effect else None)


def _p_holm(effect: Effect | None) -> str:
    return _probability(effect["p_holm"] if effect else None)


def _probability(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """For LaTeX, with signs as in formulas."""
    text = re.sub(r"([&%#_])", r"\\\1", text)
    return re.sub(r"([+-])(?=\d)|(<)", r"$\1\2$", text)


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
