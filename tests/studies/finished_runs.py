"""Folders of finished runs with known results."""

from pathlib import Path

import numpy as np

from crossmodal.evaluation.metrics import pool
from crossmodal.evaluation.predictions import Predictions
from crossmodal.storage import write_json
from tests.evaluation import LABELS

CLIPS = 10  # per actor and label: one more correct clip is 10 / (number of labels) points
EPOCHS = {"teacher": 30, "supervised": 40, "control": 10, "transfer": 40, "finetune": 10}
TRAINING_ACTORS = [f"{number:02d}" for number in range(11, 19)]
SPEECH = {"channel": "speech", "label_set": "speech8", "labels": list(LABELS)}
SUMMARY = {"protocol": "seq6", "speaker_dependent": False, **SPEECH}


def make_predictions(num_correct: dict[str, list[int]], split: str, confidence: float = 0.7) -> Predictions:
    """Return predictions with the given numbers of correct clips, of `CLIPS`, by actor and label."""
    rows = [
        (actor, label, repetition < numbers[label], repetition)
        for actor, numbers in num_correct.items()
        for label in range(len(LABELS))
        for repetition in range(CLIPS)
    ]
    targets = np.array([label for _, label, _, _ in rows])
    predicted = np.array([label if hit else (label + 1) % len(LABELS) for _, label, hit, _ in rows])
    return Predictions(
        LABELS,
        [f"{label}-{repetition}-{actor}" for actor, label, _, repetition in rows],
        [actor for actor, _, _, _ in rows],
        [split] * len(rows),
        targets,
        np.where(np.eye(len(LABELS))[predicted] > 0, confidence, (1 - confidence) / (len(LABELS) - 1)),
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
    axes: dict[str, object] | None = None,
    **summary: object,
) -> Path:
    """Write the folder of a finished run of a method.

    `hits` has arguments of `make_predictions` by stage and split, `key` is a suffix of the keys of teacher and control,
    `axes` has more entries of ``cell.json``, and `summary` has the differences from `SUMMARY`.
    """
    predictions = {}
    for stage in epochs:
        confidence = 0.97 if stage == "teacher" else 0.7  # the teacher always decides the late fusion
        parts = hits.get(stage, hits["control"]).items()
        predictions[stage] = pool([make_predictions(numbers, split, confidence) for split, numbers in parts])
    name = "_".join(map(str, [f"{method}{'_self' * self_taught}", *(axes or {}).values(), f"fold{fold}_seed{seed}"]))
    about = {"method": method, "self_taught": self_taught, "fold": fold, "seed": seed, "key": method, "code": code}
    about |= axes or {}
    folder = _write(study, name, about, predictions, epochs, summary | {"faces": "au.csv"})
    for stage in epochs:
        write_json(folder / stage / "result.json", {"key": f"{stage}-{fold}-{seed}{key}"})
    return folder


def write_application(
    study: Path,
    name: str,
    protocol: str,
    fold: int,
    seed: int,
    predictions: dict[str, Predictions],
    label_set: str = "speech8",
    front_end: str = "mfcc",
    encoder: str = "lstm",
    **summary: object,
) -> Path:
    """Write the folder of a finished run of an application; the protocol ``random`` is speaker-dependent."""
    about = {"application": name, "fold": fold, "seed": seed, "front_end": front_end, "encoder": encoder}
    of_protocol = {"protocol": protocol, "speaker_dependent": protocol == "random", "label_set": label_set}
    of_protocol["channel"] = "song" if label_set == "song6" else "speech"
    name = f"{name}_{protocol}_fold{fold}_seed{seed}"
    folder = _write(study, name, about | {"key": name, "code": "first"}, predictions, EPOCHS, of_protocol | summary)
    for stage in predictions:
        lines = [f"{epoch},{0.2 + 0.1 * epoch},{1 / (1 + epoch)}" for epoch in range(5)]
        (folder / stage / "metrics.csv").write_text("\n".join([f"epoch,{stage}/val_uar,{stage}/train_loss", *lines]))
    return folder


def _write(study, name, about, predictions, epochs, summary):
    folder = study / "runs" / name
    for stage, rows in predictions.items():
        (folder / stage).mkdir(parents=True)
        rows.write_csv(folder / stage / "predictions.csv")
    rows = next(iter(predictions.values()))
    actors = {split: sorted(set(rows.of(split).actors)) for split in ("val", "test")}
    actors["train"] = TRAINING_ACTORS
    corpus = {"kind": "ravdess", "faces": summary.pop("faces", "pixels"), "actors": actors}
    corpus["labelled_actors"] = summary.pop("labelled_actors", None)
    stages = {stage: {"epochs": epochs[stage], "seconds": 1.5 * epochs[stage]} for stage in predictions}
    write_json(folder / "summary.json", SUMMARY | {"corpus": corpus, "stages": stages} | summary)
    write_json(folder / "cell.json", {"study": study.name} | about)
    return folder
