"""Damaged configuration files and command lines, and the commands that read them, without training."""

import contextlib
import io
import math
import os
import warnings
from collections.abc import Iterator
from copy import deepcopy
from datetime import date
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile
import yaml

from crossmodal.cli.main import main
from crossmodal.datasets import cache as corpus_cache
from crossmodal.datasets.source import RavdessSource
from crossmodal.pipeline import run as pipeline
from crossmodal.pipeline.settings import build_parser, stage_config
from crossmodal.pipeline.stage import StageRun
from tests.faults.attempts import Damaged, Way
from tests.faults.mutations import BYTES
from tests.in_this_process import in_this_process

SECONDS = 15.0  # for one command; a study of two methods takes two
MEMORY = 512.0  # MB
_REPOSITORY = Path(__file__).parents[2]
_METHODS = 2  # methods to keep of a study, because each takes time
_VALUES: tuple[Any, ...] = (
    *(None, True, "", "x", "x" * 10_000, "..", "\0", "\u202e", "1e3", "nan", "auto", b"\xff", date(2020, 2, 2)),
    *(-1, 0, 1, 7, 10**9, 10**30, -(10**30), math.nan, math.inf, -math.inf, 1e308, 1e-308, 0.5),
    *([], {}, [[]], [None], [0, 0], {"a": {"b": 1}}, {"class_path": "os.system"}, {"init_args": {}}, {1: 2}, {None: 1}),
)
_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "a comment": b"# nothing\n",
    "a word": b"yes",
    "a list": b"- data\n- trainer\n",
    "NUL bytes": b"name: a\0b\n",
    "UTF-16": "name: a\n".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbfname: a\n",
    "invalid UTF-8": b"name: \xff\xfe\n",
    "tabs": b"data:\n\tfold: 1\n",
    "an object of Python": b"name: !!python/object/apply:os.getcwd []\n",
    "a module of Python": b"name: !!python/module:os\n",
    "an unknown tag": b"name: !secret x\n",
    "a missing anchor": b"data: *gone\n",
    "a loop of lists": b"name: &a [*a]\n",
    "a merge of itself": b"data: &a\n  <<: *a\n",
    "two documents": b"name: a\n---\nname: b\n",
    "a number of 5,000 digits": b"seed_everything: " + b"9" * 5_000 + b"\n",
    "a float of 5,000 digits": b"data: {face_size: 1." + b"9" * 5_000 + b"}\n",
    "a base of 60": b"seed_everything: 190:20:30\n",
    "deep lists": b"name: " + b"[" * 3_000 + b"]" * 3_000 + b"\n",
    "deeper lists": b"name: " + b"[" * 100_000 + b"\n",
    "deep sections": b"".join(b" " * depth + b"a:\n" for depth in range(1_500)),
    "a hundred thousand keys": b"".join(b"key%d: 1\n" % number for number in range(100_000)),
    "a long key": b"? " + b"k" * 100_000 + b"\n: 1\n",
    "itself as a config": b"config: input.yaml\n",
    "itself as methods": b"methods: input.yaml\n",
    "itself as configs": b"configs: [input.yaml]\nmethods: {a: {}}\n",
    "20,000 folds": b"folds: [" + b",".join(b"%d" % one for one in range(20_000)) + b"]\nmethods: {a: {}}\n",
}


def prepare(folder: Path) -> None:
    """Write a corpus of three actors, with face features."""
    rng = np.random.default_rng(0)
    rows = ["clip,AU01_r,AU02_r"]
    for actor in range(1, 4):
        for emotion in range(1, 9):
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}"
            (folder / "corpus").mkdir(exist_ok=True)
            soundfile.write(folder / "corpus" / f"{name}.wav", 0.1 * rng.standard_normal(4_800), 16_000)
            rows.append(f"{name},{emotion},{actor}")
    (folder / "faces.csv").write_text("\n".join(rows))


def good(folder: Path) -> list[Path]:
    configs = _REPOSITORY / "configs"
    return [configs / "dense.yaml", configs / "studies" / "label_efficiency.yaml"]


def damage(rng: Random, folder: Path) -> Damaged:
    source = rng.choice(_sources())
    is_study, text = source.parent.name == "studies", source.read_text()
    if is_study:
        text = yaml.safe_dump(_short_of_methods(yaml.safe_load(text.replace("../", f"{_REPOSITORY}/configs/"))))
    name = "study.yaml" if is_study else "input.yaml"
    kind = rng.choice([*["value"] * 3, "keys", "lines", "bytes", *["text"] * 2, *["command line"] * 2])
    if kind == "command line":
        return Damaged(kind, "input.args", "\n".join(_command_line(rng)).encode(errors="surrogatepass"))
    if kind == "text":
        what = rng.choice(sorted(_TEXTS))
        return Damaged(what, name, (text.encode() if rng.random() < 0.3 else b"") + _TEXTS[what])
    if kind == "bytes":
        what = rng.choice(sorted(BYTES))
        return Damaged(what, name, BYTES[what](rng, text.encode()))
    if kind == "lines":
        return Damaged("lines removed or repeated", name, _other_lines(rng, text).encode())
    settings = yaml.safe_load(text)
    for _ in range(rng.choice((1, 1, 2, 5))):
        (_other_value if kind == "value" else _other_key)(rng, settings)
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=rng.random() < 0.5)
    return Damaged(f"another {'value' if kind == 'value' else 'key'}", name, text.encode(errors="surrogatepass"))


def ways(folder: Path, path: Path) -> dict[str, Way]:
    _stop_before_training(folder)
    data = [
        f"--data.root={folder / 'corpus'}",
        f"--data.face_features={folder / 'faces.csv'}",
        "--data.protocol=loso24",
    ]
    data += [f"--data.cache={folder / 'cache'}", "--trainer.accelerator=cpu"]
    if path.suffix == ".args":
        return {"command line of fit": Way(lambda: _command(["fit", *data, *path.read_text().split("\n")]))}
    ways = {"fit": Way(lambda: _command(["fit", *data, "--config", str(path)]))}
    if path.name == "study.yaml" or path.parent.name == "studies":
        ways["study"] = Way(
            lambda: _command(["study", "run", str(path), "--out", str(folder / "out"), "--print-commands"])
        )
    return ways


@cache
def _sources() -> list[Path]:
    package = _REPOSITORY / "crossmodal" / "pipeline"
    return sorted([*(_REPOSITORY / "configs").rglob("*.yaml"), *package.glob("*.yaml")])


def _short_of_methods(study: dict[str, Any]) -> dict[str, Any]:
    for key in ("methods", "applications"):
        if isinstance(study.get(key), dict):
            study[key] = dict(list(study[key].items())[:_METHODS])
    return study


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _other_value(rng: Random, settings: Any) -> None:
    if places := list(_places(settings)):
        section, key = rng.choice(places)
        section[key] = deepcopy(rng.choice([*_VALUES, [section[key]], {"x": section[key]}]))


def _other_key(rng: Random, settings: Any) -> None:
    sections = [settings, *(section[key] for section, key in _places(settings) if isinstance(section[key], dict))]
    section = rng.choice([one for one in sections if one] or [settings])
    key = rng.choice(list(section) or ["name"])
    value = section.pop(key, None)
    how = rng.choice(("missing", "mistyped", "another's", "not text", "dotted"))
    others = {"mistyped": f"{key}s", "another's": rng.choice(_keys()), "not text": rng.choice((1, None, True, 0.5))}
    if how != "missing":
        section[others.get(how, f"{key}.{key}")] = value


def _other_lines(rng: Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    for _ in range(rng.choice((1, 2, 5))):
        place = rng.randrange(len(lines) + 1)
        lines[place : place + rng.choice((0, 1, 1))] = rng.choices(lines, k=rng.choice((0, 1, 2)))
        if not lines:
            return ""
    return "".join(lines)


def _command_line(rng: Random) -> list[str]:
    words: list[str] = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        key, value = rng.choice(_keys()), rng.choice(_VALUES)
        text = str(value) if rng.random() < 0.5 else yaml.safe_dump(value, default_flow_style=True).strip()
        word = rng.choice(
            (f"--{key}={text}", f"--{key} {text}", f"--{key}", f"-{key}={text}", f"--{key[:-1]}={text}", text)
        )
        words.append(word.replace("\n", " "))
    return words


@cache
def _keys() -> list[str]:
    return sorted({key for key in build_parser().get_defaults().keys() if key != "config"} - {"runs"})  # noqa: SIM118


def _command(args: list[str]) -> str | None:
    """Run a command; it must succeed or print a message, without a traceback."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            status: Any = main(args)
        except SystemExit as stop:
            status = stop.code
    assert status in (0, 1, 2), f"status {status!r}: {stderr.getvalue()}"
    assert "Traceback" not in stderr.getvalue(), stderr.getvalue()
    assert not status or stderr.getvalue().strip(), "no message"
    return f"status {status}" if status else None


@cache
def _stop_before_training(folder: Path) -> None:
    """Patch `fit` so that each stage is built but not run."""
    os.chdir(folder)
    os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}

    def build(run: pipeline.Run, stage: str) -> None:
        model: dict[str, Any] = {"num_classes": run.corpus.num_classes}
        if stage == "teacher":
            run._fill_in_teacher(model, {})
        clips = [clip.clip for clip in run.corpus.clips]
        StageRun(
            stage, stage_config(run.settings, stage, model=model), clips, run.folder / stage, processes=run.processes
        )

    pipeline.Run._run_stage = build  # type: ignore[method-assign]
    pipeline.Run.finalize = lambda run: pipeline.summarize(run.settings, run.corpus, {})  # type: ignore[method-assign]
    pipeline.Run._dependencies = lambda run, stage: []  # type: ignore[method-assign]
    pipeline.store_for_stages = lambda *args: None  # would download a network
    RavdessSource.make = lambda source: None  # type: ignore[method-assign]
    corpus_cache.map_in_processes = in_this_process
