"""Report of a run: ``report.md`` with plots, and the table that the command prints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from crossmodal.evaluation.by_sex import sex_sections
from crossmodal.evaluation.plots import plot_actors, plot_confusion, plot_curves
from crossmodal.evaluation.predictions import Predictions
from crossmodal.evaluation.report import Column, Picture, Report, Section, Table, print_warnings, screen_table, warnings
from crossmodal.inference.model_config import CONFIG
from crossmodal.labels_for_people import corpus_name, format_for, interval_text, list_names, protocol_name
from crossmodal.pipeline.summary import RunSummary
from crossmodal.storage import read_json

_ROLE = {
    "teacher": "face model",
    "supervised": "voice model, labels only",
    "control": "the same, fine-tuned",
    "transfer": "voice model with a teacher",
    "finetune": "student: the same, fine-tuned",
}
_Numbers = tuple[str, dict[str, Any]]  # a stage and its metrics
_COLUMNS: list[Column[_Numbers]] = [
    Column("stage", lambda row: row[0], "stage"),
    Column("model", lambda row: _ROLE[row[0]], is_text=True),
    Column("UAR val", lambda row: f"{row[1]['val_uar']:.3f}", "UAR val"),
    Column("UAR test", lambda row: f"{row[1]['test_uar']:.3f}", "UAR test"),
    Column("95 % interval", lambda row: interval_text(row[1]["test_uar_ci95"]), "95 % interval"),
    Column("WAR test", lambda row: f"{row[1]['test_war']:.3f}", "WAR test"),
    Column("seconds", lambda row: f"{row[1]['seconds']:.0f}{' (reused)' * row[1]['reused']}", "seconds"),
]


def write_report(folder: Path, summary: RunSummary) -> Path:
    """Write ``report.md`` and its plots into the folder of a run, from the files of its stages; return its path."""
    stages = list(summary.stages)
    test = {stage: Predictions.read_csv(folder / stage / "predictions.csv").of("test") for stage in stages}
    note = " ".join(_warnings(summary))
    plot_confusion(test, folder / "confusion.png", note)
    plot_curves(
        {stage: folder / stage / "metrics.csv" for stage in stages}, folder / "curves.png", note, len(summary.labels)
    )
    if summary.gain is not None:
        plot_actors(test["finetune"], test["control"], folder / "actors.png", note)
    path = folder / "report.md"
    run_report(replace(summary, folder=folder)).write(path)
    return path


def run_report(summary: RunSummary) -> Report:
    """Return the report of a run whose plots are in its folder."""
    assert summary.folder, "a summary with a folder"
    return Report(summary.name, _warnings(summary), [_setting(summary)], _sections(summary.folder, summary))


def print_summary(folder: Path, summary: RunSummary) -> None:
    """Print the results, the path of the model, and a command to try next."""
    console = Console()
    console.print(screen_table(_setting(summary), _results(summary)))
    if summary.gain is not None:
        console.print(_gain_sentence(summary))
        console.print(_recommendation(summary))
    print_warnings(console, _warnings(summary))
    console.print(f"Report: {folder / 'report.md'}", soft_wrap=True)
    if model := summary.recommended_model:
        console.print(f"Model:  {model}", soft_wrap=True)
        trust = " --trust_own_code" if "own_code" in (read_json(Path(model) / CONFIG) or {}) else ""
        console.print(f"Try it: python -m crossmodal predict --model {model}{trust} FILE.wav", soft_wrap=True)


def _sections(folder: Path, summary: RunSummary) -> list[Section]:
    corpus = summary.corpus
    people = format_for(corpus, "actors")
    splits: Table[str] = Table(
        [
            Column("split", lambda split: split),
            Column("clips", lambda split: str(corpus["clips"][split])),
            Column(people, lambda split: list_names(corpus["actors"][split]), is_text=True),
        ],
        [list(corpus["clips"])],
    )
    files = f"Face input: {corpus['faces']}. Excluded files and clips: {corpus['excluded']} (see excluded.json)."
    results: list[str | Table[Any] | Picture] = [
        "UAR (unweighted average recall) is the mean recall of the emotions; WAR is accuracy. The interval is a "
        f"bootstrap over the test {people}.",
        _results(summary),
    ]
    if summary.gain is not None:
        results += [_gain_sentence(summary), _recommendation(summary)]
        results += [Picture(folder / "actors.png", f"UAR of each test {people.removesuffix('s')}")]
    if model := summary.recommended_model:
        results += [f"Model folder: {model}."]
    confusion = Picture(folder / "confusion.png", "Confusion matrices")
    return [
        Section("", [splits, files, *(f"Manifest: {note}." for note in corpus.get("notes") or ())]),
        Section("Results", results),
        *sex_sections(summary.by_sex, people),
        Section(f"Confusion matrices on the test {people}", [confusion]),
        Section("Training", [Picture(folder / "curves.png", "Training curves")]),
    ]


def _results(summary: RunSummary) -> Table[_Numbers]:
    return Table(_COLUMNS, [list(summary.stages.items())])


def _warnings(summary: RunSummary) -> list[str]:
    return warnings(summary.corpus, summary.speaker_dependent)


def _setting(summary: RunSummary) -> str:
    return (
        f"{corpus_name(summary.corpus, summary.channel)}, {len(summary.labels)} emotions; protocol "
        f"{protocol_name(summary.protocol, summary.num_folds)}, fold {summary.fold}, seed {summary.seed}; chance is "
        f"{1 / len(summary.labels):.3f}"
    )


def _gain_sentence(summary: RunSummary) -> str:
    people = f" over {len(summary.corpus['actors']['test'])} {format_for(summary.corpus, 'actors')}"
    return (
        f"Gain of the student over its control: {summary.gain:+.1f} points of test UAR, 95 % interval "
        f"{interval_text(summary.interval, '{:+.1f} to {:+.1f}')}{people if summary.interval else ''}, for one fold "
        "and one seed."
    )


def _recommendation(summary: RunSummary) -> str:
    assert summary.recommended, "only called with a student and its control"
    model, gain, margin = (summary.recommended[name] for name in ("model", "val_gain_pp", "margin_pp"))
    needs = "more than" if model == "student" else "not more than"
    return (
        f"Recommended: the {model}. On the validation {format_for(summary.corpus, 'actors')} the student is "
        f"{gain:+.1f} points above its control, {needs} the margin for noise ({margin:.1f})."
    )
