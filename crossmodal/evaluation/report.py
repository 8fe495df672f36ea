"""Reports of all kinds: one model, written as Markdown, HTML or LaTeX, and its tables on the screen."""

import csv
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import rich.table
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from rich.console import Console

from crossmodal.labels_for_people import format_for, interval_text
from crossmodal.storage import atomic_path

Row = TypeVar("Row")
SYNTHETIC = "Synthetic corpus: this shows that the software works. It is no evidence about people."
SPEAKER_DEPENDENT = "Speaker-dependent: the same actors are in training and test."


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table; `is_text` aligns its cells left, as in the first column.

    `short` is the heading on the screen and in LaTeX, which have less space; empty omits the column there.
    """

    heading: str
    cell: Callable[[Row], str]
    short: str = ""
    is_text: bool = False


@dataclass(frozen=True)
class Table(Generic[Row]):
    """Columns and groups of rows; LaTeX and the screen have a line between groups."""

    columns: Sequence[Column[Row]]
    groups: Sequence[Sequence[Row]]

    @property
    def short_columns(self) -> list[Column[Row]]:
        """The columns on the screen and in LaTeX."""
        return [column for column in self.columns if column.short]


@dataclass(frozen=True)
class Picture:
    """A PNG in the folder of the report, with its explanation."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of a report: paragraphs, tables and pictures under a heading."""

    heading: str
    parts: Sequence[str | Table[Any] | Picture]


@dataclass(frozen=True)
class Report:
    """A report; `lines` are paragraphs below the title and the warnings about all numbers."""

    title: str
    warnings: Sequence[str]
    lines: Sequence[str]
    sections: Sequence[Section]

    def write(self, path: Path) -> None:
        """Write Markdown or one self-contained HTML file without scripts, by the suffix of the path."""
        write_template(path, f"report{path.suffix}", report=self)

    def to_html(self) -> str:
        """Return the report as a part of a page, for a notebook."""
        return _ENVIRONMENT.get_template("body.html.jinja").render(report=self)


def write_template(path: Path, template: str, **values: Any) -> None:
    """Render a template of this package and write the text atomically."""
    text = _ENVIRONMENT.get_template(f"{template}.jinja").render(values)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows atomically; the keys of the first row are the columns."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def screen_table(title: str, table: Table[Any], **style: Any) -> rich.table.Table:
    """Return a table for the screen, with a line after each group of rows; `style` are arguments of rich's table."""
    shown = rich.table.Table(title=title, title_justify="left", **style)
    for index, column in enumerate(table.short_columns):
        shown.add_column(column.short, justify="left" if column.is_text or index == 0 else "right")
    for rows in table.groups:
        for row in rows:
            shown.add_row(*(column.cell(row) for column in table.short_columns))
        shown.add_section()
    return shown


def warnings(corpus: Mapping[str, Any], speaker_dependent: bool) -> list[str]:
    """Return the warnings that every table and plot of a run must show, from entries of its ``summary.json``."""
    sentences = [SYNTHETIC] if corpus["kind"] == "synthetic" else []
    if hidden := corpus.get("unlabelled_actors"):
        sentences.append(
            f"{hidden} training actors are treated as unlabelled: their clips are used for distillation only, not in "
            "the task loss."
        )
    elif unlabelled := corpus.get("unlabelled_clips"):
        sentences.append(
            f"{unlabelled} training clips have no label: they are used for distillation only, not in the task loss."
        )
    for split, missing in (corpus.get("missing_classes") or {}).items():
        if missing:
            sentences.append(f"No {split} clip has the class {', '.join(missing)}: its results are about the others.")
    sentences += [SPEAKER_DEPENDENT] if speaker_dependent else []
    return [format_for(corpus, sentence) for sentence in sentences]


def print_warnings(console: Console, sentences: Iterable[str]) -> None:
    """Print warnings in their colour."""
    for sentence in sentences:
        console.print(f"[yellow]{sentence}[/yellow]")


def points(value: float | None) -> str:
    """Format points of UAR with their sign; empty for None."""
    return "" if value is None else f"{value:+.1f}"


def with_interval(gain: Mapping[str, Any] | None) -> str:
    """Format the ``gain_pp`` of a gain with its ``ci95_pp``; empty for None."""
    if not gain:
        return ""
    word = "interval " if gain["ci95_pp"] is None else ""
    return f"{gain['gain_pp']:+.1f} ({word}{interval_text(gain['ci95_pp'], '{:+.1f} to {:+.1f}')})"


def probability(value: float | None) -> str:
    """Format a p-value; empty for None."""
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _escape_latex(text: str) -> str:
    """Escape text for LaTeX, with signs in math mode."""
    text = re.sub(r"([&%#_])", r"\\\1", text)
    return re.sub(r"([+-])(?=\d)|(<)", r"$\1\2$", text)


_ENVIRONMENT = Environment(
    loader=PackageLoader("crossmodal.evaluation"),
    autoescape=select_autoescape(["html.jinja"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {"latex": _escape_latex, "base64": lambda path: b64encode(path.read_bytes()).decode()}
