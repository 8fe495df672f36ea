"""Output formats of predictions: a table, JSON, JSON Lines, CSV and Audacity label tracks."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from crossmodal.inference.predict.predictor import AudioResult
from crossmodal.inference.prediction import Prediction, Timeline

# Arguments: results, labels of the model, True for timelines, and the output stream.
Writer = Callable[[Iterable[AudioResult], Sequence[str], bool, TextIO], None]


def write_table(results: Iterable[AudioResult], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """Write a table with one row per recording, or per segment of a timeline."""
    rows = [row for result in results for row in _rows(result)]
    if not rows:
        return
    table = Table(Column("file", overflow="fold"), *(_TIMELINE_COLUMNS if over_time else _COLUMNS)[1:], box=None)
    for row in rows:
        table.add_row(*map(Text, row))  # Text, because a file name may look like markup
    Console(file=out, width=None if out.isatty() else _WIDE).print(table)


_WIDE = 10_000  # characters; lines in a file or a pipe are not wrapped
_COLUMNS = ("file", "emotion", "probability", "next")
_TIMELINE_COLUMNS = ("file", "from", "to", "emotion", "probability")


def _rows(result: AudioResult) -> list[tuple[str, ...]]:
    if isinstance(result.prediction, Timeline):
        return [
            (result.name, clock(segment.start), clock(segment.end), segment.label, f"{segment.score:.2f}")
            for segment in result.prediction.segments
        ]
    if result.prediction is None:
        return []
    ranked = sorted(result.prediction.probabilities.items(), key=lambda item: -item[1])
    others = ", ".join(f"{label} {probability:.2f}" for label, probability in ranked[1:3])
    return [(result.name, result.prediction.label, f"{result.prediction.score:.2f}", others)]


def clock(seconds: float) -> str:
    """Format seconds as a clock time.

    Example:
        >>> clock(3.25), clock(75), clock(3725.5)
        ('0:03.2', '1:15.0', '1:02:05.5')
    """
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"


def write_json(results: Iterable[AudioResult], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """Write one JSON list, which is valid even if the command is interrupted."""
    separator = "[\n"
    try:
        for result in results:
            out.write(separator + _indented(result.as_dict()))
            separator = ",\n"
    finally:
        out.write("\n]\n" if separator == ",\n" else "[]\n")


def _indented(result: Mapping[str, Any]) -> str:
    text = json.dumps(result, indent=2, ensure_ascii=False)
    return "\n".join(f"  {line}" for line in text.splitlines())


def write_json_lines(results: Iterable[AudioResult], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """Write one line per recording as soon as it is predicted."""
    for result in results:
        print(json.dumps(result.as_dict(), ensure_ascii=False), file=out, flush=True)


def write_csv(results: Iterable[AudioResult], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """Write one row per recording, or per window of a timeline. The last column has the error, if any."""
    writer = csv.writer(out, lineterminator="\n")
    times = ["start", "end"] if over_time else []
    writer.writerow(["file", *times, "label", "score", *labels, "error"])
    for result in results:
        writer.writerows(_csv_rows(result, labels, len(times)))


def _csv_rows(result: AudioResult, labels: Sequence[str], times: int) -> list[list[str]]:
    if result.prediction is None:
        return [[result.name, *[""] * (times + 2 + len(labels)), result.error or ""]]
    if isinstance(result.prediction, Timeline):
        return [
            [result.name, f"{window.start:.3f}", f"{window.end:.3f}", *_numbers(window.prediction, labels), ""]
            for window in result.prediction.windows
        ]
    return [[result.name, *_numbers(result.prediction, labels), ""]]


def _numbers(prediction: Prediction, labels: Sequence[str]) -> list[str]:
    each = [f"{prediction.probabilities[label]:.6f}" if not prediction.is_silence else "" for label in labels]
    return [prediction.label, f"{prediction.score:.6f}", *each]


def write_audacity(results: Iterable[AudioResult], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """Write a label track: one line per segment with start, end and label, separated by tabs."""
    for result in results:
        if isinstance(result.prediction, Timeline):
            for segment in result.prediction.segments:
                out.write(f"{segment.start:.6f}\t{segment.end:.6f}\t{segment.label}\n")


FORMATS: dict[str, Writer] = {
    "table": write_table,
    "json": write_json,
    "jsonl": write_json_lines,
    "csv": write_csv,
    "audacity": write_audacity,
}
