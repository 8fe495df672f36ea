"""How what was heard is told: a table for a person; JSON, lines of JSON, CSV or a label track for a program."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from crossmodal.inference.predict.listening import Heard
from crossmodal.inference.prediction import Prediction, Timeline

# What was heard, the labels of the model, whether it is timelines, and where to write.
Tell = Callable[[Iterable[Heard], Sequence[str], bool, TextIO], None]


def tell_table(heard: Iterable[Heard], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """A row for each recording, or for each segment of its timeline."""
    rows = [row for one in heard for row in _rows(one)]
    if not rows:
        return
    table = Table(Column("file", overflow="fold"), *(_OVER_TIME if over_time else _AT_ONCE)[1:], box=None)
    for row in rows:
        table.add_row(*map(Text, row))  # a name may hold what looks like markup
    Console(file=out, width=None if out.isatty() else _WIDE).print(table)


_WIDE = 10_000  # letters; what goes into a file or a pipe is not broken
_AT_ONCE = ("file", "emotion", "probability", "next")
_OVER_TIME = ("file", "from", "to", "emotion", "probability")


def _rows(one: Heard) -> list[tuple[str, ...]]:
    if isinstance(one.answer, Timeline):
        return [
            (one.name, clock(segment.start), clock(segment.end), segment.label, f"{segment.score:.2f}")
            for segment in one.answer.segments
        ]
    if one.answer is None:
        return []
    ranked = sorted(one.answer.probabilities.items(), key=lambda item: -item[1])
    others = ", ".join(f"{label} {probability:.2f}" for label, probability in ranked[1:3])
    return [(one.name, one.answer.label, f"{one.answer.score:.2f}", others)]


def clock(seconds: float) -> str:
    """Seconds as a clock shows them.

    Example:
        >>> clock(3.25), clock(75), clock(3725.5)
        ('0:03.2', '1:15.0', '1:02:05.5')
    """
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"


def tell_json(heard: Iterable[Heard], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """One list, closed also where it was stopped half-way."""
    separator = "[\n"
    try:
        for one in heard:
            out.write(separator + _indented(one.as_dict()))
            separator = ",\n"
    finally:
        out.write("\n]\n" if separator == ",\n" else "[]\n")


def _indented(said: Mapping[str, Any]) -> str:
    text = json.dumps(said, indent=2, ensure_ascii=False)
    return "\n".join(f"  {line}" for line in text.splitlines())


def tell_json_lines(heard: Iterable[Heard], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """A line for each recording, as soon as it was heard."""
    for one in heard:
        print(json.dumps(one.as_dict(), ensure_ascii=False), file=out, flush=True)


def tell_csv(heard: Iterable[Heard], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """A row for each recording, or for each window of its timeline; what went wrong is in the last column."""
    writer = csv.writer(out, lineterminator="\n")
    times = ["start", "end"] if over_time else []
    writer.writerow(["file", *times, "label", "score", *labels, "error"])
    for one in heard:
        writer.writerows(_csv_rows(one, labels, len(times)))


def _csv_rows(one: Heard, labels: Sequence[str], times: int) -> list[list[str]]:
    if one.answer is None:
        return [[one.name, *[""] * (times + 2 + len(labels)), one.error or ""]]
    if isinstance(one.answer, Timeline):
        return [
            [one.name, f"{window.start:.3f}", f"{window.end:.3f}", *_numbers(window.prediction, labels), ""]
            for window in one.answer.windows
        ]
    return [[one.name, *_numbers(one.answer, labels), ""]]


def _numbers(prediction: Prediction, labels: Sequence[str]) -> list[str]:
    each = [f"{prediction.probabilities[label]:.6f}" if not prediction.is_silence else "" for label in labels]
    return [prediction.label, f"{prediction.score:.6f}", *each]


def tell_audacity(heard: Iterable[Heard], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """A label track: a line for each segment, its start, its end and its label between tabs."""
    for one in heard:
        if isinstance(one.answer, Timeline):
            for segment in one.answer.segments:
                out.write(f"{segment.start:.6f}\t{segment.end:.6f}\t{segment.label}\n")


FORMATS: dict[str, Tell] = {
    "table": tell_table,
    "json": tell_json,
    "jsonl": tell_json_lines,
    "csv": tell_csv,
    "audacity": tell_audacity,
}
