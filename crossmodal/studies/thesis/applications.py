"""The numbers of a study of applications, from its run folders: each application, and the three claims."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any, TypedDict

from crossmodal.evaluation.metrics import Interval, describe, uar, war
from crossmodal.studies.finished import Coverage, FinishedRun, StudyModel, coverage, notes_on_runs
from crossmodal.studies.thesis.claims import Claim, answer


class Measured(TypedDict):
    """Metrics of an application under one protocol on test actors, as fractions.

    `uar`, its interval over actors and `ece` are pooled over folds and seeds; mean and SD are over runs.
    """

    runs: int
    test_actors: list[str]
    uar: float
    uar_ci95: Interval | None
    ece: float
    uar_mean: float
    uar_sd: float | None
    war_mean: float
    war_sd: float | None


class Application(TypedDict):
    """An application; `stage` is the stage of its model."""

    name: str
    stage: str
    model: str
    channel: str | None
    label_set: str | None
    num_classes: int
    measured: dict[str, Measured]


class Setting(Coverage):
    """Folds, seeds and test actors of the runs of a protocol."""

    speaker_dependent: bool


class Applications(TypedDict):
    """Result of a study; `protocols` by name, with speaker-dependent ones last."""

    study: str
    corpus: dict[str, Any]
    speaker_dependent: bool
    protocols: dict[str, Setting]
    applications: list[Application]
    claims: list[Claim]
    notes: list[str]


def measure(runs: Sequence[FinishedRun]) -> Applications:
    """Compute the numbers of a study from its runs, see `crossmodal.studies.finished.load_runs`."""
    by_protocol = _by_protocol(runs)
    applications = [_application(model) for model in models_of(runs)]
    settings = {
        name: Setting(**coverage(those), speaker_dependent=those[0].summary.speaker_dependent)
        for name, those in by_protocol.items()
    }
    answers = [answer(those) for those in by_protocol.values()]
    return Applications(
        study=runs[0].about["study"],
        corpus={name: runs[0].summary.corpus.get(name) for name in ("kind", "name", "faces")},
        speaker_dependent=any(setting["speaker_dependent"] for setting in settings.values()),
        protocols=settings,
        applications=applications,
        claims=[claim for claims in zip(*answers, strict=True) for claim in claims],
        notes=_notes(runs, applications),
    )


def models_of(runs: Sequence[FinishedRun]) -> list[StudyModel]:
    """Return the model of each application by name, and the control of each student."""
    groups: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.name, run.place)):
        groups.setdefault((run.name, run.last_stage), []).append(run)
        if run.last_stage == "finetune":
            groups.setdefault((f"{run.name} (control)", "control"), []).append(run)
    return [StudyModel(name, stage, _by_protocol(those)) for (name, stage), those in groups.items()]


def _by_protocol(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Group runs by protocol, with speaker-dependent ones last."""
    groups: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.summary.speaker_dependent, run.summary.protocol)):
        groups.setdefault(run.summary.protocol, []).append(run)
    return groups


def _application(model: StudyModel) -> Application:
    run = next(iter(model.runs.values()))[0]
    voice = f"{run.about['front_end']} + {run.about['encoder']}"
    return Application(
        name=model.name,
        stage=model.stage,
        model={"teacher": "face", "finetune": f"{voice}, taught"}.get(model.stage, voice),
        channel=run.summary.channel,
        label_set=run.summary.label_set,
        num_classes=len(run.summary.labels),
        measured={protocol: _measured(model, protocol) for protocol in model.runs},
    )


def _measured(model: StudyModel, protocol: str) -> Measured:
    pooled, runs = model.predictions[protocol], model.runs[protocol]
    described = describe(pooled)
    confusions = [run.predictions[model.stage].of("test").confusion() for run in runs]
    uars, wars = ([float(metric(confusion)) for confusion in confusions] for metric in (uar, war))
    return Measured(
        runs=len(runs),
        test_actors=sorted(set(pooled.actors)),
        uar=described["uar"],
        uar_ci95=described["uar_ci95"],
        ece=described["ece"],
        uar_mean=mean(uars),
        uar_sd=stdev(uars) if len(uars) > 1 else None,
        war_mean=mean(wars),
        war_sd=stdev(wars) if len(wars) > 1 else None,
    )


def _notes(runs: Sequence[FinishedRun], applications: Sequence[Application]) -> list[str]:
    notes = notes_on_runs(runs)
    for protocol in _by_protocol(runs):
        measured = {one["name"]: one["measured"].get(protocol) for one in applications}
        finished = {name: numbers["runs"] for name, numbers in measured.items() if numbers}
        most = max(finished.values())
        if unfinished := [f"{name} ({number} of {most} runs)" for name, number in finished.items() if number < most]:
            notes.append(f"Not finished under {protocol}: {', '.join(unfinished)}.")
        if missing := [one["name"] for one in applications if one["name"] not in finished]:
            notes.append(f"Not run under {protocol}: {', '.join(missing)}.")
    return notes
