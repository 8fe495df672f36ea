"""The report of a study of applications: table, claims, plots and page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crossmodal.evaluation.report import warnings
from crossmodal.labels_for_people import corpus_name, format_for
from crossmodal.studies.compare_plot import plot_claims
from crossmodal.studies.finished import FinishedRun
from crossmodal.studies.gallery import Exhibit, draw_gallery, join_warnings
from crossmodal.studies.page import Page, html_table
from crossmodal.studies.tables import (
    Column,
    console,
    counted,
    in_ranges,
    latex_table,
    markdown_table,
    probability,
    screen_table,
    with_interval,
    write_csv,
    write_text,
)
from crossmodal.studies.thesis.applications import (
    Application,
    Applications,
    Measured,
    group_by_model,
    group_by_protocol,
    measure,
    shown_name,
)
from crossmodal.studies.thesis.claims import Claim

_READING = (
    "UAR is over all test actors, folds and seeds pooled, with a bootstrap over actors; mean and SD are over runs. "
    "ECE is the calibration error."
)
_TEST = (
    "Differences are points of UAR, averaged over the comparisons, with a bootstrap over actors. p is two-sided: "
    "Wilcoxon's signed-rank test over actors, or the Mann-Whitney test if the two sides are not paired. A difference "
    "is claimed only if p is below 0.05 and the interval excludes 0. p is not corrected for the number of questions."
)


def report_applications(folder: Path, runs: Sequence[FinishedRun]) -> Applications:
    """Write ``table.md``, ``table.csv``, ``claims.csv``, ``table.tex``, the plots and ``report.html``.

    Args:
        folder: Folder of the study.
        runs: Finished runs, see `crossmodal.studies.finished.load_runs`.

    Returns:
        The numbers.
    """
    numbers = measure(runs)
    notes = join_warnings(_warnings(numbers))
    write_text(folder / "table.md", _markdown(numbers))
    caption = " ".join([*notes, *_settings(numbers), *_verdicts(numbers), *numbers["notes"]])
    write_text(folder / "table.tex", latex_table(_columns(numbers), [numbers["applications"]], caption))
    write_csv(folder / "table.csv", _flat(numbers))
    write_csv(folder / "claims.csv", [_flat_claim(claim, numbers) for claim in numbers["claims"]])
    plot_claims(numbers["claims"], folder / "claims.png", " ".join(_settings(numbers)), " ".join(notes))
    pictures = draw_gallery(_exhibits(runs), folder, _warnings(numbers))
    page = Page(numbers["study"], notes, _settings(numbers))
    page.add(
        "The three claims",
        html_table(_claim_columns(numbers), _by_question(numbers)),
        *_verdicts(numbers, True),
        format_for(numbers["corpus"], _TEST),
    )
    caption = "The difference of each claim with its 95 % interval; for transfer, the gain over the control."
    page.picture("Gain over the control and other differences", folder / "claims.png", caption)
    for protocol in numbers["protocols"]:
        page.add(f"Applications, {protocol}", html_table(*_table_of(protocol, numbers)))
    page.add("How to read this", format_for(numbers["corpus"], _READING), *numbers["notes"])
    page.gallery(pictures)
    page.write(folder / "report.html")
    return numbers


def print_applications(folder: Path, numbers: Applications) -> None:
    """Print the table, the verdicts and the paths of the files."""
    screen = console()
    screen.print(screen_table("\n".join(_settings(numbers)), _columns(numbers), [numbers["applications"]]))
    for sentence in (*_verdicts(numbers), *numbers["notes"]):
        screen.print(sentence, highlight=False)
    for warning in join_warnings(_warnings(numbers)):
        screen.print(f"[yellow]{warning}[/yellow]")
    files = "report.html, table.md, table.csv, claims.csv, table.tex"
    screen.print(f"In {folder}: {files}", soft_wrap=True, highlight=False)


def _exhibits(runs: Sequence[FinishedRun]) -> list[Exhibit]:
    return [
        Exhibit.of_runs(shown_name(name, stage, those), group_by_protocol(those), stage)
        for (name, stage), those in group_by_model(runs).items()
    ]


def _warnings(numbers: Applications) -> dict[str, list[str]]:
    """Return the warnings for the numbers of each protocol."""
    return {
        protocol: warnings({**numbers, "speaker_dependent": setting["speaker_dependent"]})
        for protocol, setting in numbers["protocols"].items()
    }


_MODEL_COLUMNS: list[Column[Application]] = [
    Column("application", lambda row: row["name"], "application"),
    Column("model", lambda row: row["model"]),
    Column("labels", lambda row: row["label_set"] or "own"),
    Column("parameters", lambda row: "" if row["parameters"] is None else f"{row['parameters']:,}"),
]


def _columns(numbers: Applications) -> list[Column[Application]]:
    """Return the columns of an application, followed by those of each protocol."""
    return sum((_protocol_columns(protocol) for protocol in numbers["protocols"]), _MODEL_COLUMNS)


def _table_of(protocol: str, numbers: Applications) -> tuple[list[Column[Application]], list[Application]]:
    """Return columns and rows of one protocol; several side by side are too wide for a page."""
    rows = [row for row in numbers["applications"] if protocol in row["measured"]]
    return [*_MODEL_COLUMNS, *_protocol_columns(protocol)], rows


def _protocol_columns(protocol: str) -> list[Column[Application]]:
    def column(heading: str, cell: Callable[[Measured], str], short: bool = False) -> Column[Application]:
        def write(row: Application) -> str:
            measured = row["measured"].get(protocol)
            return cell(measured) if measured else ""

        return Column(heading, write, f"{protocol}: {heading}" if short else "")

    return [
        column("runs", lambda one: str(one["runs"])),
        column("actors", lambda one: str(len(one["test_actors"]))),
        column("UAR (95 %)", lambda one: "{:.3f} ({:.3f} to {:.3f})".format(one["uar"], *one["uar_ci95"]), short=True),
        column("UAR, mean (SD)", lambda one: _mean(one["uar_mean"], one["uar_sd"])),
        column("WAR, mean (SD)", lambda one: _mean(one["war_mean"], one["war_sd"]), short=True),
        column("ECE", lambda one: f"{one['ece']:.3f}"),
    ]


def _claim_columns(numbers: Applications) -> list[Column[dict[str, Claim]]]:
    """Return the columns of the question and its answer under each protocol."""
    columns: list[Column[dict[str, Claim]]] = [
        Column("question", lambda row: next(iter(row.values()))["question"], "question")
    ]
    for protocol in numbers["protocols"]:

        def write(row: dict[str, Claim], protocol: str = protocol) -> str:
            difference = row[protocol]["difference"]
            return f"{with_interval(dict(difference))}, p {probability(difference['p'])}" if difference else "no runs"

        marked = f"{protocol} (speaker-dependent)" if numbers["protocols"][protocol]["speaker_dependent"] else protocol
        columns.append(Column(f"{marked}: difference (95 %)", write, marked))
    return columns


def _by_question(numbers: Applications) -> list[dict[str, Claim]]:
    rows: dict[str, dict[str, Claim]] = {}
    for claim in numbers["claims"]:
        rows.setdefault(claim["question"], {})[claim["protocol"]] = claim
    return list(rows.values())


def _verdicts(numbers: Applications, at_length: bool = False) -> list[str]:
    """Return a sentence for each claim under each protocol; the long form names the comparisons."""
    sentences = []
    for claim in numbers["claims"]:
        dependent = numbers["protocols"][claim["protocol"]]["speaker_dependent"]
        where = f"{claim['protocol']}, speaker-dependent" if dependent else claim["protocol"]
        comparisons = f" Compared: {'; '.join(claim['compared'])}." if at_length and claim["compared"] else ""
        sentences.append(f"{claim['question']} ({where}) {claim['verdict']}{comparisons}")
    return sentences


def _settings(numbers: Applications) -> list[str]:
    """Return a description of the runs, one sentence per protocol."""
    corpus = corpus_name(numbers["corpus"])
    sentences = []
    for protocol, setting in numbers["protocols"].items():
        people = format_for(numbers["corpus"], "actors")
        actors = f"{len(setting['test_actors'])} test {people} ({in_ranges(setting['test_actors'])})"
        folds, seeds = counted("folds", setting["folds"]), counted("seeds", setting["seeds"])
        marked = " (speaker-dependent)" if setting["speaker_dependent"] else ""
        sentences.append(f"{corpus}; protocol {protocol}{marked}, {folds}, {seeds}; {actors}.")
    return sentences


def _markdown(numbers: Applications) -> str:
    lines = [f"# {numbers['study']}", "", *(f"> **{warning}**\n" for warning in join_warnings(_warnings(numbers)))]
    lines += [f"{sentence}\n" for sentence in _settings(numbers)]
    lines += ["## The three claims", "", *markdown_table(_claim_columns(numbers), _by_question(numbers)), ""]
    lines += [*(f"{sentence}\n" for sentence in _verdicts(numbers, True))]
    lines += [format_for(numbers["corpus"], _TEST), "", "![The claims](claims.png)", ""]
    for protocol in numbers["protocols"]:
        lines += [f"## Applications, {protocol}", "", *markdown_table(*_table_of(protocol, numbers)), ""]
    lines += [
        "## How to read this",
        "",
        format_for(numbers["corpus"], _READING),
        "",
        *(f"{note}\n" for note in numbers["notes"]),
        "![UAR](bars.png)",
        "",
    ]
    return "\n".join(lines)


def _flat(numbers: Applications) -> list[dict[str, Any]]:
    """Return an unrounded row for each application under each protocol."""
    rows = []
    for one in numbers["applications"]:
        known = {name: value for name, value in one.items() if name != "measured"}
        for protocol, measured in one["measured"].items():
            low, high = measured["uar_ci95"]
            metrics = {key: value for key, value in measured.items() if key not in ("uar_ci95", "test_actors")}
            row = {**known, "protocol": protocol, **metrics, "uar_low": low, "uar_high": high}
            rows.append(row | _where(protocol, numbers) | {"test_actors": " ".join(measured["test_actors"])})
    return rows


def _flat_claim(claim: Claim, numbers: Applications) -> dict[str, Any]:
    difference = claim["difference"]
    low, high = difference["ci95_pp"] if difference else (None, None)
    row: dict[str, Any] = {"question": claim["question"], "protocol": claim["protocol"]}
    row |= {"gain_pp": difference and difference["gain_pp"], "low_pp": low, "high_pp": high}
    row |= {name: difference and difference[name] for name in ("p", "actors")}
    row |= {"runs": claim["runs"], "compared": "; ".join(claim["compared"]), "verdict": claim["verdict"]}
    return row | _where(claim["protocol"], numbers)


def _where(protocol: str, numbers: Applications) -> dict[str, str]:
    setting = numbers["protocols"][protocol]
    where = {"corpus": corpus_name(numbers["corpus"])}
    where |= {name: " ".join(map(str, setting[name])) for name in ("folds", "seeds", "test_actors")}
    return where | {"warnings": " ".join(_warnings(numbers)[protocol])}


def _mean(value: float, deviation: float | None) -> str:
    return f"{value:.3f}" if deviation is None else f"{value:.3f} ({deviation:.3f})"
