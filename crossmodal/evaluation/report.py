"""Report of a run: ``report.md`` with plots, and the table that the command prints."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crossmodal.evaluation.labels_for_people import corpus_and_channel, format_for, named, protocol_name
from crossmodal.evaluation.plots import plot_actors, plot_confusion, plot_curves
from crossmodal.evaluation.predictions import Predictions
from crossmodal.storage import atomic_path

SYNTHETIC = "Synthetic corpus: this shows that the software works. It is no evidence about people."
SPEAKER_DEPENDENT = "Speaker-dependent: the same actors are in training and test."
_ROLE = {
    "teacher": "face model",
    "control": "voice model without a teacher",
    "transfer": "voice model with a teacher",
    "finetune": "student, fine-tuned on labels",
}


def warnings(summary: dict[str, Any]) -> list[str]:
    """Return the warnings that every table and plot of a run must show."""
    sentences = [SYNTHETIC] if summary["corpus"]["kind"] == "synthetic" else []
    if hidden := summary["corpus"].get("unlabelled_actors"):
        sentences.append(
            f"{hidden} training actors are treated as unlabelled: their clips are used for distillation only, not in "
            "the task loss."
        )
    elif unlabelled := summary["corpus"].get("unlabelled_clips"):
        sentences.append(
            f"{unlabelled} training clips have no label: they are used for distillation only, not in the task loss."
        )
    sentences += [SPEAKER_DEPENDENT] if summary["speaker_dependent"] else []
    return [format_for(summary["corpus"], sentence) for sentence in sentences]


def print_warnings(console: Console, summary: dict[str, Any]) -> None:
    """Print the warnings of a summary."""
    for warning in warnings(summary):
        console.print(f"[yellow]{warning}[/yellow]")


def write_report(folder: Path, summary: dict[str, Any]) -> Path:
    """Write ``report.md`` and its plots into the folder of a run, from the files of its stages.

    Args:
        folder: Path of the run, ``runs/<name>``.
        summary: Content of ``summary.json``.

    Returns:
        The path of the report.
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
    """Print the results, the path of the model, and a command to try next."""
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
        f"Face input: {corpus['faces']}. Excluded files and clips: {corpus['excluded']} (see excluded.json).",
        "",
        "## Results",
        "",
        "UAR (unweighted average recall) is the mean recall of the emotions; WAR is accuracy. The interval is a "
        f"bootstrap over the test {people}.",
        "",
        "| stage | model | UAR val | UAR test | 95 % interval | WAR test | seconds |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in _rows(summary)),
        "",
    ]
    if "gain" in summary:
        lines += [_gain_sentence(summary), "", f"![UAR of each test {people.removesuffix('s')}](actors.png)", ""]
    if "model" in summary:
        lines += [f"Model folder: `{summary['model']}`.", ""]
    lines += [f"## Confusion matrices on the test {people}", "", "![Confusion matrices](confusion.png)", ""]
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
        f"Gain of the student over its control: {summary['gain']['uar_pp']:+.1f} points of test UAR, "
        f"95 % interval {low:+.1f} to {high:+.1f} over {len(summary['corpus']['actors']['test'])} "
        f"{format_for(summary['corpus'], 'actors')}, for one fold and one seed."
    )
