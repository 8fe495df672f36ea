"""Run folders as a study leaves them, with numbers that are known."""

from pathlib import Path

import numpy as np

from crossmodal.evaluation.predictions import Predictions
from crossmodal.storage import write_json
from tests.evaluation import LABELS

CLIPS = 10  # of each actor and label: a clip that is right in place of wrong is worth 10 / number of labels points
EPOCHS = {"teacher": 30, "control": 50, "transfer": 40, "finetune": 10}
SUMMARY = {
    "protocol": "seq6",
    "speaker_dependent": False,
    "channel": "speech",
    "label_set": "speech8",
    "labels": list(LABELS),
}


def said(right: dict[str, list[int]], split: str, confidence: float = 0.7) -> Predictions:
    """Predictions of a model that is right in so many of `CLIPS` clips of each label, by actor, and always as sure."""
    rows = [
        (actor, label, repetition < numbers[label], repetition)
        for actor, numbers in right.items()
        for label in range(len(LABELS))
        for repetition in range(CLIPS)
    ]
    targets = np.array([label for _, label, _, _ in rows])
    guesses = np.array([label if hit else (label + 1) % len(LABELS) for _, label, hit, _ in rows])
    return Predictions(
        LABELS,
        [f"{label}-{repetition}-{actor}" for actor, label, _, repetition in rows],
        [actor for actor, _, _, _ in rows],
        [split] * len(rows),
        targets,
        np.where(np.eye(len(LABELS))[guesses] > 0, confidence, (1 - confidence) / (len(LABELS) - 1)),
    )


def write_run(
    study: Path,
    method: str,
    fold: int,
    seed: int,
    hits: dict[str, dict[str, dict[str, list[int]]]],
    self_taught: bool = False,
    epochs: dict[str, int] = EPOCHS,
    key: str = "",
    code: str = "first",
    **summary: object,
) -> Path:
    """One finished run.

    Args:
        study: The study's folder.
        method: Its name.
        fold: Whose actors test.
        seed: Of everything.
        hits: By stage and split, what `said` takes.
        self_taught: Whether a voice teaches.
        epochs: Of each stage.
        key: Tells this run's teacher and control from those of other runs.
        code: The version of the package.
        summary: What differs from `SUMMARY`.
    """
    folder = study / "runs" / f"{method}{'_self' * self_taught}_fold{fold}_seed{seed}"
    stages = {}
    for stage, number in epochs.items():
        confidence = 0.97 if stage == "teacher" else 0.7  # a teacher that always wins in late fusion
        parts = [said(right, split, confidence) for split, right in hits.get(stage, hits["control"]).items()]
        rows = Predictions(
            LABELS,
            [clip for part in parts for clip in part.clips],
            [actor for part in parts for actor in part.actors],
            [split for part in parts for split in part.splits],
            np.concatenate([part.targets for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )
        (folder / stage).mkdir(parents=True)
        rows.write_csv(folder / stage / "predictions.csv")
        write_json(folder / stage / "result.json", {"key": f"{stage}-{fold}-{seed}{key}"})
        stages[stage] = {"epochs": number, "seconds": 1.5 * number}
    actors = {split: sorted(right) for split, right in hits["control"].items()}
    corpus = {"kind": "ravdess", "faces": "au.csv", "actors": actors}
    write_json(folder / "summary.json", {**SUMMARY, "corpus": corpus, "stages": stages, **summary})
    about = {"method": method, "self_taught": self_taught, "fold": fold, "seed": seed, "key": method, "code": code}
    write_json(folder / "cell.json", {"study": study.name, **about})
    return folder


def write_application(
    study: Path,
    name: str,
    protocol: str,
    fold: int,
    seed: int,
    said_by_stage: dict[str, Predictions],
    label_set: str = "speech8",
    front_end: str = "mfcc",
    encoder: str = "lstm",
    **summary: object,
) -> Path:
    """One finished run of an application.

    Args:
        study: The study's folder.
        name: Of the application.
        protocol: ``random`` is speaker-dependent.
        fold: Whose actors test.
        seed: Of everything.
        said_by_stage: What its stages said, in the order in which they ran.
        label_set: Decides the channel.
        front_end: Of the voice.
        encoder: Of the voice.
        summary: What differs from what is written otherwise.
    """
    folder = study / "runs" / f"{name}_{protocol}_fold{fold}_seed{seed}"
    for stage, rows in said_by_stage.items():
        (folder / stage).mkdir(parents=True)
        rows.write_csv(folder / stage / "predictions.csv")
        lines = [f"{epoch},{0.2 + 0.1 * epoch},{1 / (1 + epoch)}" for epoch in range(5)]
        header = f"epoch,{stage}/val_uar,{stage}/train_loss"
        (folder / stage / "metrics.csv").write_text("\n".join([header, *lines]))
    rows = next(iter(said_by_stage.values()))
    splits = {split: sorted(set(rows.of(split).actors)) for split in ("val", "test")}
    numbers = {
        "protocol": protocol,
        "speaker_dependent": protocol == "random",
        "channel": "song" if label_set == "song6" else "speech",
        "label_set": label_set,
        "labels": list(rows.labels),
        "corpus": {"kind": "ravdess", "faces": "pixels", "actors": splits},
        "stages": {stage: {"epochs": EPOCHS[stage], "seconds": 1.0} for stage in said_by_stage},
    }
    write_json(folder / "summary.json", {**numbers, **summary})
    about = {"application": name, "fold": fold, "seed": seed, "front_end": front_end, "encoder": encoder}
    write_json(folder / "cell.json", {"study": study.name, "code": "first", "key": name, **about})
    return folder
