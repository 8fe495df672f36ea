"""Tables of a study in Markdown, LaTeX, CSV and for the screen, and the format of their numbers."""

import csv
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table

from crossmodal.labels_for_people import named
from crossmodal.storage import atomic_path

Row = TypeVar("Row")
_WIDTH = 132  # for a pipe or file, which has no terminal width


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table.

    Args:
        heading: Heading in Markdown and HTML.
        cell: Returns the text of the cell of a row.
        short: Heading on the screen and in LaTeX, which have less space; empty to omit the column there.
    """

    heading: str
    cell: Callable[[Row], str]
    short: str = ""


def console() -> Console:
    """Return a console with the width of the terminal, or a fixed width without one."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH)


def markdown_table(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> list[str]:
    """Return the lines of a table with the first column aligned left and the others right."""
    head = [_line([column.heading for column in columns]), _line(["---", *["---:"] * (len(columns) - 1)])]
    return head + [_line([column.cell(row) for column in columns]) for row in rows]


def screen_table(title: str, columns: Sequence[Column[Row]], groups: Sequence[Sequence[Row]]) -> Table:
    """Return a table for the screen, with a line after each group of rows."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    columns = [column for column in columns if column.short]
    for column in columns:
        table.add_column(column.short, justify="left" if column is columns[0] else "right")
    for rows in groups:
        for row in rows:
            table.add_row(*(column.cell(row) for column in columns))
        table.add_section()
    return table


def latex_table(columns: Sequence[Column[Row]], groups: Sequence[Sequence[Row]], caption: str) -> str:
    """Return a ``table*`` with booktabs rules and a line between groups of rows."""
    columns = [column for column in columns if column.short]
    lines: list[str] = []
    for rows in groups:
        lines += [r"\midrule", *(" & ".join(_escaped(column.cell(row)) for column in columns) + r" \\" for row in rows)]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table*}",
            r"\centering\small",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            " & ".join(_escaped(column.short) for column in columns) + r" \\",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{_escaped(caption)}}}",
            r"\end{table*}",
            "",
        ]
    )


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows atomically; the keys of the first row are the columns."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def in_ranges(actors: Sequence[str]) -> str:
    """List actors, with consecutive numbers as ranges; a long list is cut.

    Example:
        >>> in_ranges(["01", "02", "03", "07", "08"]), in_ranges(["Joey", "Ross"])
        ('01 to 03, 07, 08', 'Joey, Ross')
    """
    groups: list[list[str]] = []
    for actor in actors:
        previous = groups[-1][-1] if groups else ""
        if actor.isdecimal() and previous.isdecimal() and int(actor) == int(previous) + 1:
            groups[-1].append(actor)
        else:
            groups.append([actor])
    ranges = [f"{group[0]} to {group[-1]}" if len(group) > 2 else ", ".join(group) for group in groups]
    return named(ranges)


def counted(name: str, numbers: Sequence[int]) -> str:
    """Return the name of folds or seeds with their numbers.

    Example:
        >>> counted("folds", [0, 1]), counted("seeds", [3])
        ('folds 0, 1', 'seed 3')
    """
    return f"{name.removesuffix('s') if len(numbers) == 1 else name} {', '.join(map(str, numbers))}"


def points(value: float | None) -> str:
    """Format points of UAR with their sign; empty for None."""
    return "" if value is None else f"{value:+.1f}"


def with_interval(effect: Mapping[str, Any] | None) -> str:
    """Format an effect's ``gain_pp`` with its ``ci95_pp``; empty for None."""
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(effect["gain_pp"], *effect["ci95_pp"]) if effect else ""


def probability(value: float | None) -> str:
    """Format a p-value; empty for None."""
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Escape text for LaTeX, with signs in math mode."""
    text = re.sub(r"([&%#_])", r"\\\1", text)
    return re.sub(r"([+-])(?=\d)|(<)", r"$\1\2$", text)
