"""The report of a study of any kind: its files, and what the command prints."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console

from crossmodal.evaluation.report import Report, Table, print_warnings, screen_table, write_csv, write_template
from crossmodal.labels_for_people import corpus_name, counted, format_for, in_ranges, protocol_name
from crossmodal.studies.finished import Coverage, Setting

_WIDTH = 132  # for a pipe or file, which has no terminal width


@dataclass(frozen=True)
class StudyReport:
    """The report of a study: `numbers` are for JSON, `rows` for CSV.

    `table` is on the screen, with `sentences` below it, and in ``table.tex``; `report` is for Markdown and HTML.
    """

    numbers: Mapping[str, Any]
    report: Report
    table: Table[Any]
    sentences: Sequence[str]
    rows: Sequence[Mapping[str, Any]]

    def write(self, folder: Path) -> None:
        """Write the files into the folder of the study, beside the plots."""
        self.report.write(folder / "table.md")
        self.report.write(folder / "report.html")
        caption = " ".join([*self.report.warnings, *self.report.lines, *self.sentences])
        write_template(folder / "table.tex", "table.tex", table=self.table, caption=caption)
        write_csv(folder / "table.csv", self.rows)

    def print(self, folder: Path) -> None:
        """Print the table, its sentences, the warnings and the names of the files."""
        screen = Console(width=None if sys.stdout.isatty() else _WIDTH)
        title = "\n".join(self.report.lines)
        screen.print(screen_table(title, self.table, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)))
        for sentence in self.sentences:
            screen.print(sentence, highlight=False)
        print_warnings(screen, self.report.warnings)
        files = "report.html, table.md, table.csv, table.tex and plots"
        screen.print(f"In {folder}: {files}", soft_wrap=True, highlight=False)

    def _repr_html_(self) -> str:
        return self.report.to_html()


def describe_coverage(corpus: Mapping[str, Any], protocol: str, covered: Coverage) -> str:
    """Return the protocol, folds, seeds and test actors of runs as part of a sentence."""
    folds, seeds = counted("folds", covered["folds"]), counted("seeds", covered["seeds"])
    actors, people = covered["test_actors"], format_for(corpus, "actors")
    return f"protocol {protocol}, {folds}, {seeds}; {len(actors)} test {people} ({in_ranges(actors)})"


def describe_setting(setting: Setting) -> str:
    """Return the data of a study of methods as a sentence."""
    protocol = protocol_name(setting["protocol"], setting["num_folds"])
    return (
        f"{corpus_name(setting['corpus'], setting['channel'])}, {len(setting['labels'])} emotions; "
        f"{describe_coverage(setting['corpus'], protocol, setting)}; chance is {1 / len(setting['labels']):.3f}."
    )
