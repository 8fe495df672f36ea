"""The numbers of a study of applications, from its run folders: each application, and the three claims."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any, TypedDict

from crossmodal.errors import CrossmodalError
from crossmodal.evaluation.metrics import Interval, describe, pool, uar, war
from crossmodal.models import AudioClassifier, FaceClassifier
from crossmodal.models.serialization import load_model
from crossmodal.studies.finished import Coverage, FinishedRun, coverage, notes_on_runs
from crossmodal.studies.thesis.claims import Claim, answer


class Measured(TypedDict):
    """Metrics of an application under one protocol on test actors, as fractions.

    `uar`, its interval over actors and `ece` are pooled over folds and seeds; mean and SD are over runs.
    """

    runs: int
    test_actors: list[str]
    uar: float
    uar_ci95: Interval
    ece: float
    uar_mean: float
    uar_sd: float | None
    war_mean: float
    war_sd: float | None


class Application(TypedDict):
    """An application; `stage` is the stage of its model, `parameters` is None if its weights are missing."""

    name: str
    stage: str
    model: str
    channel: str | None
    label_set: str | None
    num_classes: int
    parameters: int | None
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
    """Compute the numbers of a study.

    Args:
        runs: See `crossmodal.studies.finished.load_runs`.
    """
    by_protocol = group_by_protocol(runs)
    applications = [_application(name, stage, those) for (name, stage), those in group_by_model(runs).items()]
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


def group_by_protocol(runs: Sequence[FinishedRun]) -> dict[str, list[FinishedRun]]:
    """Group runs by protocol, with speaker-dependent ones last."""
    groups: dict[str, list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.summary.speaker_dependent, run.summary.protocol)):
        groups.setdefault(run.summary.protocol, []).append(run)
    return groups


def group_by_model(runs: Sequence[FinishedRun]) -> dict[tuple[str, str], list[FinishedRun]]:
    """Group runs by application and last stage; a student of transfer adds the group of its control."""
    groups: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.name, run.place)):
        for stage in (run.last_stage, *(["control"] if run.last_stage == "finetune" else [])):
            groups.setdefault((run.name, stage), []).append(run)
    return groups


def shown_name(name: str, stage: str, runs: Sequence[FinishedRun]) -> str:
    """Return the name of an application; a control has the name of its student."""
    return f"{name} (control)" if stage == "control" and runs[0].last_stage != "control" else name


def _application(name: str, stage: str, runs: Sequence[FinishedRun]) -> Application:
    summary, about = runs[0].summary, runs[0].about
    voice = f"{about['front_end']} + {about['encoder']}"
    return Application(
        name=shown_name(name, stage, runs),
        stage=stage,
        model={"teacher": "face", "finetune": f"{voice}, taught"}.get(stage, voice),
        channel=summary.channel,
        label_set=summary.label_set,
        num_classes=len(summary.labels),
        parameters=_parameters(runs[0], stage),
        measured={protocol: _measured(those, stage) for protocol, those in group_by_protocol(runs).items()},
    )


def _measured(runs: Sequence[FinishedRun], stage: str) -> Measured:
    predictions = [run.predictions[stage].of("test") for run in runs]
    pooled = pool(predictions)
    described = describe(pooled)
    uars, wars = ([float(metric(one.confusion())) for one in predictions] for metric in (uar, war))
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


def _parameters(run: FinishedRun, stage: str) -> int | None:
    weights = run.folder / stage / "model.safetensors"
    try:
        model: FaceClassifier | AudioClassifier
        model = (load_model(FaceClassifier, weights) if stage == "teacher" else load_model(AudioClassifier, weights))[0]
    except CrossmodalError:  # the weights, or a network that they need, were removed
        return None
    return sum(parameter.numel() for parameter in model.parameters())


def _notes(runs: Sequence[FinishedRun], applications: Sequence[Application]) -> list[str]:
    notes = notes_on_runs(runs)
    for protocol in group_by_protocol(runs):
        measured = {one["name"]: one["measured"].get(protocol) for one in applications}
        finished = {name: numbers["runs"] for name, numbers in measured.items() if numbers}
        most = max(finished.values())
        if unfinished := [f"{name} ({number} of {most} runs)" for name, number in finished.items() if number < most]:
            notes.append(f"Not finished under {protocol}: {', '.join(unfinished)}.")
        if missing := [one["name"] for one in applications if one["name"] not in finished]:
            notes.append(f"Not run under {protocol}: {', '.join(missing)}.")
    return notes
