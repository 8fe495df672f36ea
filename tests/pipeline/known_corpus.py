"""A corpus of six speakers in a manifest; sounds, faces and labels are known."""

import csv
from pathlib import Path

import numpy as np
import soundfile

from tests.pipeline import tiny_command

SPEAKERS = ("ada", "bo", "cy", "di", "eve", "flo")
LABELS = ("angry", "happy", "sad")
REPETITIONS = 4  # clips of a speaker and label
SAMPLE_RATE = 16_000
FIELDS = ("clip", "audio", "label", "speaker")


def write_corpus(folder: Path) -> list[dict[str, str]]:
    """Write the recordings and two tables of face features; return the rows of the manifest.

    Within speaker and label only the loudness varies. The features of ``loudness.csv`` have the label and the loudness,
    those of ``label.csv`` the label and noise. The name of a clip does not contain its label.
    """
    generator, rows, faces = np.random.default_rng(0), [], {"loudness": [], "label": []}
    time = np.arange(int(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    for number, speaker in enumerate(SPEAKERS):
        for index in range(len(LABELS) * REPETITIONS):
            label, decibels = index % len(LABELS), generator.uniform(-24, 0)
            tone = np.sin(2 * np.pi * 200 * 1.6**label * (1 + 0.02 * number) * time)
            samples = 0.5 * 10 ** (decibels / 20) * (tone + 0.05 * generator.standard_normal(len(time)))
            name = f"{speaker}-{index:02d}"
            soundfile.write(folder / f"{name}.wav", samples, SAMPLE_RATE)
            rows.append(dict(zip(FIELDS, (name, f"{name}.wav", LABELS[label], speaker), strict=True)))
            of_label = 3 * np.eye(len(LABELS))[label] + generator.normal(0, 0.5, len(LABELS))
            faces["loudness"].append([name, *of_label, decibels / 6 + generator.normal(0, 0.1), -decibels / 6])
            faces["label"].append([name, *of_label, *generator.normal(size=2)])
    for name, lines in faces.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["clip", *(f"AU{number:02d}_r" for number in range(1, 6))], *lines])
    return rows


def write_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write the rows of a manifest beside the recordings."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def known_command(manifest: Path, folder: Path, *more: str, faces: str = "label") -> list[str]:
    """Return a command line of a short run: one test speaker, one validation speaker, four training speakers."""
    corpus = (f"--data.manifest={manifest}", f"--data.face_features={manifest.with_name(faces)}.csv")
    words = tiny_command(folder, *corpus, f"--data.num_folds={len(SPEAKERS)}", *more)
    return [word for word in words if "protocol" not in word]
