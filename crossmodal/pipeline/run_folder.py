"""The folder of a run: used by one run at a time, and by runs of one configuration."""

import itertools
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from crossmodal.datamodules import CorpusDataModule
from crossmodal.datasets.clip import ExcludedClip
from crossmodal.errors import ConfigError, FolderInUseError
from crossmodal.pipeline.settings import STAGES, Config, stage_config
from crossmodal.pipeline.stage_key import code_version, settings_in_key
from crossmodal.pipeline.teaching import TeachingSettings
from crossmodal.storage import content_key, locked, move_aside, read_json, write_json

Keys = dict[str, str]
CONFIGURATION, LOG = "configuration.json", "log.txt"
_LOCK, _HOLDER = ".lock", ".holder.json"
_OUTPUTS = ("summary.json", "preflight", *STAGES)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder in this block; raise FolderInUseError if another process holds it."""
    with locked(folder / _LOCK, wait=False) as state:
        if state == "taken":
            raise FolderInUseError(
                f"{folder} is used by another run ({read_json(folder / _HOLDER) or 'just started'}). Wait for it, or "
                "choose another name with --name NAME."
            )
        write_json(folder / _HOLDER, f"process {os.getpid()} on {platform.node()}")
        yield


def configuration_of(settings: Config, teaching: TeachingSettings, corpus: CorpusDataModule) -> Keys:
    """Return keys of everything that decides the results of a run, not of paths; the control alone has no faces."""
    model = {"num_classes": corpus.num_classes}
    stages = [settings_in_key(stage, stage_config(settings, stage, model=model)) for stage in STAGES]
    clips = [(split, clip.clip, clip.label) for split, clips in corpus.split.items() for clip in clips]
    sounds = [corpus.waveforms[clip].stem for _, clip, _ in clips]
    source, data = corpus.source, [corpus.protocol, corpus.fold, corpus.batch_size]
    keys = {
        "settings": content_key(stages=stages, teaching=asdict(teaching), data=data),
        "versions of the code": code_version(),
        "recordings": content_key(clips=clips, sounds=sounds, labels=corpus.labels, of=[source.kind, source.name]),
    }
    return keys | ({"faces": content_key(faces=corpus.fingerprint)} if corpus.needs_faces else {})


def choose_folder(
    folder: Path, configuration: Keys, locks: ExitStack, keep_name: bool = False, resume: bool = False
) -> Path:
    """Return the first of ``NAME``, ``NAME-2``, ... that holds no run, or one of this configuration.

    The caller has locked ``NAME``; another folder is locked too. With `keep_name`, it is always ``NAME``, and the run
    of another configuration in it is moved to a new folder. With `resume`, the folder must hold this run.
    """
    chosen, differing = folder, _difference(folder, configuration)
    if resume and (differing or not _configuration_in(folder)):
        what = f"a run with other {differing}" if differing else "no run"
        raise ConfigError(f"There is nothing to resume: {folder} holds {what}. Start a new run without --resume.")
    if differing:
        if keep_name:
            moved = move_aside(folder, keep={_LOCK, _HOLDER, LOG})
            print(f"{folder} held a run with other {differing}, which is now in {moved}.", flush=True)
        else:
            names = (Path(f"{folder}-{number}") for number in itertools.count(2))
            chosen = next(one for one in names if not _difference(one, configuration))
            locks.enter_context(in_use(chosen))
            print(f"{folder} holds a run with other {differing}: this run is written to {chosen}.", flush=True)
    write_json(chosen / CONFIGURATION, _configuration_in(chosen) | configuration)
    return chosen


def _difference(folder: Path, configuration: Keys) -> str | None:
    """Return what differs first from the run in a folder, or None; the control alone fits any faces."""
    held = _configuration_in(folder)
    return next((name for name, key in configuration.items() if held.get(name, key) != key), None)


def _configuration_in(folder: Path) -> Keys:
    """Return the configuration of the run in a folder; it is empty if there are no results yet."""
    if not any((folder / name).exists() for name in _OUTPUTS):
        return {}
    held = read_json(folder / CONFIGURATION)
    return held if isinstance(held, dict) else {"settings": "unknown"}  # of an older version of the package


def report_excluded(folder: Path, excluded: Sequence[ExcludedClip]) -> None:
    """Write ``excluded.json``, and print the first of the excluded files and clips."""
    path = folder / "excluded.json"
    write_json(path, [{"what": one.what, "reason": one.reason} for one in excluded])
    if excluded:
        print(f"{len(excluded)} file(s) or clip(s) excluded, listed in {path}:", flush=True)
    for one in excluded[:5]:
        print(f"  {one.what}: {one.reason}", flush=True)
