"""The report of a study of applications."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossmodal.evaluation.report import Column, Report, Section, Table, probability, warnings, with_interval
from crossmodal.labels_for_people import corpus_name, format_for, interval_text
from crossmodal.studies.finished import FinishedRun
from crossmodal.studies.gallery import draw_gallery, join_warnings
from crossmodal.studies.report import StudyReport, describe_coverage
from crossmodal.studies.thesis.applications import Application, Applications, Measured, measure, models_of
from crossmodal.studies.thesis.claims import Claim

_READING = (
    "UAR is over all test actors, folds and seeds pooled, with a bootstrap over actors; mean and SD are over runs. "
    "ECE is the calibration error."
)
_TEST = (
    "Differences are points of UAR, averaged over the comparisons, with a bootstrap over actors. p is two-sided: "
    "Wilcoxon's signed-rank test over actors. A difference is claimed only if p is below 0.05 and the interval "
    "excludes 0. p is not corrected for the number of questions."
)
_Row = tuple[Application, str, Measured]  # with the protocol
_COLUMNS: list[Column[_Row]] = [
    Column("application", lambda row: row[0]["name"], "application"),
    Column("model", lambda row: row[0]["model"]),
    Column("labels", lambda row: row[0]["label_set"] or "own"),
    Column("protocol", lambda row: row[1], "protocol"),
    Column("runs", lambda row: str(row[2]["runs"])),
    Column("actors", lambda row: str(len(row[2]["test_actors"]))),
    Column("UAR (95 %)", lambda row: f"{row[2]['uar']:.3f} ({interval_text(row[2]['uar_ci95'])})", "UAR (95 %)"),
    Column("UAR, mean (SD)", lambda row: _mean(row[2]["uar_mean"], row[2]["uar_sd"])),
    Column("WAR, mean (SD)", lambda row: _mean(row[2]["war_mean"], row[2]["war_sd"]), "WAR, mean (SD)"),
    Column("ECE", lambda row: f"{row[2]['ece']:.3f}"),
]


def report_applications(folder: Path, runs: Sequence[FinishedRun]) -> StudyReport:
    """Compute the numbers of a study, and draw its plots into its folder."""
    numbers = measure(runs)
    by_protocol = {
        protocol: warnings(numbers["corpus"], setting["speaker_dependent"])
        for protocol, setting in numbers["protocols"].items()
    }
    marks, settings = join_warnings(by_protocol), _settings(numbers)
    table = Table(_COLUMNS, [_rows_of(protocol, numbers) for protocol in numbers["protocols"]])
    answers: list[str | Table[Any]] = [
        _claims_table(numbers),
        *_verdicts(numbers, True),
        format_for(numbers["corpus"], _TEST),
    ]
    sections = [
        Section("The three claims", answers),
        Section("Applications", [table]),
        Section("How to read this", [format_for(numbers["corpus"], _READING), *numbers["notes"]]),
        *draw_gallery(models_of(runs), folder, by_protocol),
    ]
    rows = [
        _flat(one, protocol) | _where(protocol, numbers, " ".join(by_protocol[protocol]))
        for one in numbers["applications"]
        for protocol in one["measured"]
    ]
    report = Report(numbers["study"], marks, settings, sections)
    return StudyReport(numbers, report, table, [*_verdicts(numbers), *numbers["notes"]], rows)


def _rows_of(protocol: str, numbers: Applications) -> list[_Row]:
    marked = _marked(protocol, numbers)
    return [(row, marked, row["measured"][protocol]) for row in numbers["applications"] if protocol in row["measured"]]


def _claims_table(numbers: Applications) -> Table[Claim]:
    def difference(claim: Claim) -> str:
        found = claim["difference"]
        return f"{with_interval(found)}, p {probability(found['p'])}" if found else "no runs"

    columns = [
        Column[Claim]("question", lambda claim: claim["question"]),
        Column[Claim]("protocol", lambda claim: _marked(claim["protocol"], numbers)),
        Column[Claim]("difference (95 %)", difference),
    ]
    return Table(columns, [numbers["claims"]])


def _verdicts(numbers: Applications, at_length: bool = False) -> list[str]:
    """Return a sentence for each claim under each protocol; the long form names the comparisons."""
    sentences = []
    for claim in numbers["claims"]:
        comparisons = f" Compared: {'; '.join(claim['compared'])}." if at_length and claim["compared"] else ""
        where = _marked(claim["protocol"], numbers)
        sentences.append(f"{claim['question']} ({where}) {claim['verdict']}{comparisons}")
    return sentences


def _settings(numbers: Applications) -> list[str]:
    """Return a description of the runs, one sentence per protocol."""
    corpus = numbers["corpus"]
    return [
        f"{corpus_name(corpus)}; {describe_coverage(corpus, _marked(protocol, numbers), setting)}."
        for protocol, setting in numbers["protocols"].items()
    ]


def _marked(protocol: str, numbers: Applications) -> str:
    return f"{protocol}, speaker-dependent" if numbers["protocols"][protocol]["speaker_dependent"] else protocol


def _flat(application: Application, protocol: str) -> dict[str, Any]:
    """Return the unrounded numbers of an application under one protocol, without nesting."""
    measured = application["measured"][protocol]
    low, high = measured["uar_ci95"] or (None, None)
    row = {**application, "protocol": protocol, **measured, "uar_low": low, "uar_high": high}
    row["test_actors"] = " ".join(measured["test_actors"])
    return {name: value for name, value in row.items() if name not in ("measured", "uar_ci95")}


def _where(protocol: str, numbers: Applications, marks: str) -> dict[str, str]:
    """Return the columns of a CSV file that describe the data."""
    setting = numbers["protocols"][protocol]
    covered = {name: " ".join(map(str, setting[name])) for name in ("folds", "seeds")}
    return {"corpus": corpus_name(numbers["corpus"]), **covered, "warnings": marks}


def _mean(value: float, deviation: float | None) -> str:
    return f"{value:.3f}" if deviation is None else f"{value:.3f} ({deviation:.3f})"
