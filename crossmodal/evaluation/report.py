"""The report of a run: ``report.md`` with its plots, and the table that the command prints."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crossmodal.evaluation.labels_for_people import corpus_and_channel, format_for, named, protocol_name
from crossmodal.evaluation.plots import plot_actors, plot_confusion, plot_curves
from crossmodal.evaluation.predictions import Predictions
from crossmodal.storage import atomic_path

SYNTHETIC = "Synthetic corpus: this shows that the machine works. It is no evidence about people."
SPEAKER_DEPENDENT = "Speaker-dependent: the same actors are in training and test."
_ROLE = {
    "teacher": "face model",
    "control": "voice alone, no teacher",
    "transfer": "voice taught by the face",
    "finetune": "taught voice, fine-tuned alone",
}


def warnings(summary: dict[str, Any]) -> list[str]:
    """Return the warnings that every table and plot of these numbers must show."""
    sentences = [SYNTHETIC] if summary["corpus"]["kind"] == "synthetic" else []
    if hidden := summary["corpus"].get("unlabelled_actors"):
        sentences.append(
            f"{hidden} of the training actors count as unlabelled: their clips teach, and are in no task loss."
        )
    elif unlabelled := summary["corpus"].get("unlabelled_clips"):
        sentences.append(f"{unlabelled} of the training clips have no label: they teach, and are in no task loss.")
    sentences += [SPEAKER_DEPENDENT] if summary["speaker_dependent"] else []
    return [format_for(summary["corpus"], sentence) for sentence in sentences]


def print_warnings(console: Console, summary: dict[str, Any]) -> None:
    """Print the warnings of a summary."""
    for warning in warnings(summary):
        console.print(f"[yellow]{warning}[/yellow]")


def write_report(folder: Path, summary: dict[str, Any]) -> Path:
    """Write ``report.md`` and its PNGs into a run's folder, from the files of its stages.

    Args:
        folder: ``runs/<name>``.
        summary: As in ``summary.json``.

    Returns:
        The report's path.
    """
    stages = list(summary["stages"])
    test = {stage: Predictions.read_csv(folder / stage / "predictions.csv").of("test") for stage in stages}
    note = " ".join(warnings(summary))
    plot_confusion(test, folder / "confusion.png", note)
    plot_curves({stage: folder / stage / "metrics.csv" for stage in stages}, folder / "curves.png", note)
    if "gain" in summary:
        plot_actors(test["finetune"], test["control"], folder / "actors.png", note)
    path = folder / "report.md"
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(_report_lines(summary)), encoding="utf-8")
    return path


def print_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Print the table, the path of the model, and a command to try next."""
    console = Console()
    table = Table(title=_setting(summary), title_justify="left")
    table.add_column("stage")
    for heading in ("UAR val", "UAR test", "95 % interval", "WAR test", "seconds"):
        table.add_column(heading, justify="right")
    for stage, _, *numbers in _rows(summary):
        table.add_row(stage, *numbers)
    console.print(table)
    if "gain" in summary:
        console.print(_gain_sentence(summary))
    print_warnings(console, summary)
    console.print(f"Report: {folder / 'report.md'}", soft_wrap=True)
    if "model" in summary:
        console.print(f"Model:  {summary['model']}", soft_wrap=True)
        console.print(f"Try it: python -m crossmodal predict --model {summary['model']} FILE.wav", soft_wrap=True)


def _report_lines(summary: dict[str, Any]) -> list[str]:
    corpus = summary["corpus"]
    lines = [
        f"# {summary['name']}",
        "",
        *(f"> **{warning}**\n" for warning in warnings(summary)),
        _setting(summary),
        "",
    ]
    people = format_for(corpus, "actors")
    lines += [
        f"| split | clips | {people} |",
        "|---|---:|---|",
        *(f"| {split} | {corpus['clips'][split]} | {named(corpus['actors'][split])} |" for split in corpus["clips"]),
        "",
        f"Faces: {corpus['faces']}. Set aside: {corpus['set_aside']} (see set_aside.json).",
        "",
        "## Results",
        "",
        "UAR is the mean recall over the emotions, WAR is accuracy; the interval is a bootstrap over the test "
        f"{people}.",
        "",
        "| stage | what it is | UAR val | UAR test | 95 % interval | WAR test | seconds |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in _rows(summary)),
        "",
    ]
    if "gain" in summary:
        lines += [_gain_sentence(summary), "", f"![UAR of each test {people.removesuffix('s')}](actors.png)", ""]
    if "model" in summary:
        lines += [f"The model is in `{summary['model']}`.", ""]
    lines += [f"## Confusion on the test {people}", "", "![Confusion matrices](confusion.png)", ""]
    return [*lines, "## Training", "", "![Training curves](curves.png)", ""]


def _setting(summary: dict[str, Any]) -> str:
    return (
        f"{corpus_and_channel(summary)}, {len(summary['labels'])} emotions; protocol {protocol_name(summary)}, "
        f"fold {summary['fold']}, seed {summary['seed']}; chance is {1 / len(summary['labels']):.3f}"
    )


def _rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            stage,
            _ROLE[stage],
            f"{numbers['val_uar']:.3f}",
            f"{numbers['test_uar']:.3f}",
            "{:.3f} to {:.3f}".format(*numbers["test_uar_ci95"]),
            f"{numbers['test_war']:.3f}",
            f"{numbers['seconds']:.0f}{' (reused)' if numbers['reused'] else ''}",
        )
        for stage, numbers in summary["stages"].items()
    ]


def _gain_sentence(summary: dict[str, Any]) -> str:
    low, high = summary["gain"]["ci95_pp"]
    return (
        f"Gain of the taught student over its control: {summary['gain']['uar_pp']:+.1f} points of test UAR, "
        f"95 % interval {low:+.1f} to {high:+.1f} over {len(summary['corpus']['actors']['test'])} "
        f"{format_for(summary['corpus'], 'actors')}; "
        "one fold and one seed."
    )
