"""Predictions of a model for the clips it was evaluated on. All numbers of a report are computed from them."""

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossmodal.datasets.clip import Clip
from crossmodal.storage import atomic_path

if TYPE_CHECKING:
    from crossmodal.models import AudioClassifier, FaceClassifier
    from crossmodal.models.outputs import Outputs
    from crossmodal.models.own_teacher import OwnTeacher

SMALLEST_PROBABILITY = 5e-7
"""Half of the last digit in predictions.csv: smaller probabilities are stored as 0."""


def predict(model: "AudioClassifier | FaceClassifier | OwnTeacher", loader: Iterable[Mapping[str, Any]]) -> "Outputs":
    """Run a trained model over a loader, on the model's device in evaluation mode; outputs are float32 on the CPU."""
    import torch  # slow to import, and predictions can be read without it

    from crossmodal.models.outputs import Outputs

    device = next((tensor.device for tensor in chain(model.parameters(), model.buffers())), torch.device("cpu"))
    model.eval()
    outputs = []
    with torch.no_grad():
        for batch in loader:
            tensors = {name: value.to(device) for name, value in batch.items() if isinstance(value, torch.Tensor)}
            outputs.append(model.predict_batch(tensors).map(lambda value: value.float().cpu()))
    return Outputs._make(None if parts[0] is None else torch.cat(parts) for parts in zip(*outputs, strict=True))


@dataclass(frozen=True)
class Predictions:
    """Labelled clips with their split, ``val`` or ``test``, class index, and probabilities of a model, (n, K)."""

    labels: tuple[str, ...]
    clips: list[str]
    actors: list[str]
    splits: list[str]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @classmethod
    def of_clips(
        cls, clips: Sequence[tuple[Clip, str]], labels: tuple[str, ...], probabilities: Sequence[NDArray[np.float64]]
    ) -> "Predictions":
        """Combine labelled clips and their splits with batches of probabilities, (b, K), in the same order."""
        return cls(
            labels,
            [clip.clip for clip, _ in clips],
            [clip.actor for clip, _ in clips],
            [split for _, split in clips],
            np.array([labels.index(str(clip.label)) for clip, _ in clips], np.int64),
            np.concatenate(probabilities),
        )

    def of(self, split: str) -> "Predictions":
        """Return the predictions of one split."""
        return self._select([name == split for name in self.splits])

    def of_actors(self, actors: Collection[str]) -> "Predictions":
        """Return the predictions for the clips of some actors."""
        return self._select([actor in actors for actor in self.actors])

    def _select(self, chosen: Sequence[bool]) -> "Predictions":
        rows = [row for row, is_chosen in enumerate(chosen) if is_chosen]
        clips, actors, splits = ([column[row] for row in rows] for column in (self.clips, self.actors, self.splits))
        return Predictions(self.labels, clips, actors, splits, self.targets[rows], self.probabilities[rows])

    def confusion_by_actor(self) -> dict[str, NDArray[np.int64]]:
        """Return a (K, K) confusion matrix for each actor: rows are true classes, columns are predicted classes."""
        predicted = self.probabilities.argmax(axis=1)
        matrices = {actor: np.zeros((len(self.labels),) * 2, np.int64) for actor in sorted(set(self.actors))}
        for actor, target, guess in zip(self.actors, self.targets, predicted, strict=True):
            matrices[actor][target, guess] += 1
        return matrices

    def confusion(self) -> NDArray[np.int64]:
        """Return the (K, K) confusion matrix over all actors."""
        matrices = list(self.confusion_by_actor().values())
        return np.sum(matrices, axis=0, initial=0) if matrices else np.zeros((len(self.labels),) * 2, np.int64)

    def write_csv(self, path: Path) -> None:
        """Write one row per clip, with one column per class."""
        predicted = self.probabilities.argmax(axis=1)
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["clip", "actor", "split", "label", "predicted", *self.labels])
            for row, clip in enumerate(self.clips):
                names = self.labels[self.targets[row]], self.labels[predicted[row]]
                numbers = [f"{value:.6f}" for value in self.probabilities[row]]
                writer.writerow([clip, self.actors[row], self.splits[row], *names, *numbers])

    @classmethod
    def read_csv(cls, path: Path) -> "Predictions":
        """Read a file of `write_csv`."""
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = list(csv.reader(file))
        labels = tuple(header[5:])
        return cls(
            labels,
            clips=[row[0] for row in rows],
            actors=[row[1] for row in rows],
            splits=[row[2] for row in rows],
            targets=np.array([labels.index(row[3]) for row in rows], np.int64),
            probabilities=np.array([row[5:] for row in rows], np.float64).reshape(len(rows), len(labels)),
        )
