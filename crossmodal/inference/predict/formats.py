"""Output formats of predictions: a table, JSON, JSON Lines, CSV and Audacity label tracks."""

import csv
import json
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from crossmodal.inference.predict.predictor import AudioResult
from crossmodal.inference.prediction import Prediction, Timeline

# Arguments: results, labels of the model, True for timelines, and the output stream.
Writer = Callable[[Iterable[AudioResult], Sequence[str], bool, TextIO], None]

_WIDE = 10_000  # characters; lines in a file or a pipe are not wrapped


def write_table(results: Iterable[AudioResult], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """Write a table with one row per recording, or per segment of a timeline."""
    columns = ("from", "to", "emotion", "probability") if over_time else ("emotion", "probability", "next")
    table = Table(Column("file", overflow="fold"), *columns, box=None)
    for result in results:
        for row in _rows(result):
            table.add_row(*map(Text, (result.name, *row)))  # Text, because a file name may look like markup
    if table.row_count:
        Console(file=out, width=None if out.isatty() else _WIDE).print(table)


def _rows(result: AudioResult) -> list[tuple[str, ...]]:
    prediction = result.prediction
    if prediction is None:
        return []
    if isinstance(prediction, Timeline):
        return [
            (clock(segment.start), clock(segment.end), segment.label, f"{segment.score:.2f}")
            for segment in prediction.segments
        ]
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    others = ", ".join(f"{label} {probability:.2f}" for label, probability in ranked[1:3])
    return [(prediction.label, f"{prediction.score:.2f}", others)]


def clock(seconds: float) -> str:
    """Format seconds as a clock time, such as ``1:15.0`` or ``1:02:05.5``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"


def write_json(results: Iterable[AudioResult], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """Write one JSON list, which is valid even if the command is interrupted."""
    separator = "[\n"
    try:
        for result in results:
            text = json.dumps(result.as_dict(), indent=2)
            out.write(separator + textwrap.indent(text, "  "))
            separator = ",\n"
    finally:
        out.write("\n]\n" if separator == ",\n" else "[]\n")


def write_json_lines(results: Iterable[AudioResult], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """Write one line per recording as soon as it is predicted."""
    for result in results:
        print(json.dumps(result.as_dict()), file=out, flush=True)


def write_csv(results: Iterable[AudioResult], labels: Sequence[str], over_time: bool, out: TextIO) -> None:
    """Write one row per recording, or per window of a timeline. The last column has the error, if any."""
    times = ["start", "end"] if over_time else []
    writer = csv.DictWriter(out, ["file", *times, "label", "score", *labels, "error"], lineterminator="\n")
    writer.writeheader()
    for result in results:
        if result.prediction is None:
            writer.writerow({"file": result.name, "error": result.error})
        elif isinstance(result.prediction, Timeline):
            for window in result.prediction.windows:
                span = {"start": f"{window.start:.3f}", "end": f"{window.end:.3f}"}
                writer.writerow({"file": result.name} | span | _numbers(window.prediction))
        else:
            writer.writerow({"file": result.name} | _numbers(result.prediction))


def _numbers(prediction: Prediction) -> dict[str, str]:
    each = {label: f"{probability:.6f}" for label, probability in prediction.probabilities.items()}
    return {"label": prediction.label, "score": f"{prediction.score:.6f}"} | each


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
