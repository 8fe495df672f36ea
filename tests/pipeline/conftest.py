import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.pipeline import fit, tiny_command

EPOCHS = {"teacher": 3, "transfer": 3, "finetune": 2}
CONTROL_EPOCHS = {"supervised": EPOCHS["transfer"], "control": EPOCHS["finetune"]}


@dataclass(frozen=True)
class Finished:
    """A full run on the tiny corpus: its arguments, its summary and its folders."""

    args: list[str]
    summary: dict[str, Any]
    folder: Path
    cache: Path


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """Write one pixel instead of each picture: they take a fifth of a tiny run; reports have their own tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, path, **how: Image.new("L", (1, 1)).save(path, "PNG"))
        yield


@pytest.fixture(scope="session")
def tiny_args(tiny_ravdess, tiny_face_features) -> Callable[..., list[str]]:
    """Return a command line for the tiny corpus; `more` are further arguments."""

    def make(folder: Path, *more: str, root: Path = tiny_ravdess) -> list[str]:
        epochs = [f"--{stage}.trainer.max_epochs={number}" for stage, number in EPOCHS.items()]
        corpus = (f"--data.root={root}", f"--data.face_features={tiny_face_features}")
        rates = ("--transfer.model.lr=3e-3", "--teacher.model.lr=3e-3")
        return tiny_command(folder, *corpus, "--transfer.model.encoder_kwargs.dropout=0.1", *rates, *epochs, *more)

    return make


@pytest.fixture(scope="session")
def finished(tiny_args, tmp_path_factory) -> Finished:
    """A finished run; tests must not change it."""
    folder = tmp_path_factory.mktemp("finished")
    args = tiny_args(folder)
    return Finished(args, fit(args), folder / "runs" / "fit", folder / "cache")


@pytest.fixture
def store(finished, tmp_path) -> Path:
    """A folder with a copy of the finished run's cache."""
    shutil.copytree(finished.cache, tmp_path / "cache")
    return tmp_path


@pytest.fixture
def decoded(store) -> Path:
    """A folder whose cache has the decoded corpus, but no results of stages."""
    shutil.rmtree(store / "cache" / "stages")
    shutil.rmtree(store / "cache" / "teacher_outputs")
    return store
