import json
import os
import time

import pytest

from crossmodal.cli.data.cache import KINDS, prune
from crossmodal.cli.main import main


@pytest.fixture
def cache(tmp_path):
    """Write two waveforms, one of them a month old, a stage, and files that are never removed."""
    for name, size in (
        ("waveforms/ab/abc.npy", 3_000_000),
        ("waveforms/cd/cde.npy", 1_000_000),
        ("stages/0123/model.safetensors", 500_000),
        ("stages/.locks/0123.lock", 0),
        ("hashes.json", 100),
        ("quarantine.json", 100),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    month_ago = time.time() - 30 * 24 * 3600
    os.utime(tmp_path / "waveforms/ab/abc.npy", (month_ago, month_ago))
    return tmp_path


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_report_has_entries_and_sizes(cache, capsys):
    assert main(["data", "cache", "--cache", str(cache)]) == 0
    out = capsys.readouterr().out
    assert f"4.5 MB in {cache}." in out and "waveforms" in out
    assert main(["data", "cache", "--cache", str(cache), "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)["stored"]
    assert [one["kind"] for one in shown] == list(KINDS)
    counts = {one["kind"]: (one["entries"], one["megabytes"]) for one in shown if one["entries"]}
    assert counts == {"waveforms": (2, 4.0), "stages": (1, 0.5)}


def test_an_empty_cache(tmp_path, capsys):
    assert main(["data", "cache", "--cache", str(tmp_path / "none")]) == 0
    assert "0.0 MB" in capsys.readouterr().out
    assert prune(tmp_path / "none", list(KINDS))[0].entries == 0


@pytest.mark.parametrize("arguments, removed", [([], (0, 1, 2)), (["stages"], (0,)), (["--older_than", "7"], (1,))])
def test_prune_keeps_locks_and_indices(cache, arguments, removed, capsys):
    entries = ["stages/0123/model.safetensors", "waveforms/ab/abc.npy", "waveforms/cd/cde.npy"]
    before = {*files(cache)}
    assert main(["data", "cache", *arguments, "--prune", "--cache", str(cache)]) == 0
    assert before - {*files(cache)} == {entries[index] for index in removed}
    assert arguments or capsys.readouterr().out.startswith("3 entries, 4.5 MB removed.")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["wavefroms"], "'wavefroms'"), (["--older_than", "3"], "--prune")]
    + [(["--prune", f"--older_than={days}"], "0 or more") for days in ("-1", "nan", "-inf")],
)
def test_invalid_arguments_remove_nothing(cache, arguments, reason, capsys):
    before = files(cache)
    assert main(["data", "cache", *arguments, "--cache", str(cache)]) == 1
    assert reason in capsys.readouterr().err
    assert files(cache) == before


def test_removed_results_are_rebuilt(tiny_ravdess, tmp_path, capsys):
    prepare = ["data", "prepare", str(tiny_ravdess), "--cache", str(tmp_path), "--num_processes", "1"]
    assert main(prepare) == 0
    made = files(tmp_path)
    assert main(["data", "cache", "--prune", "--cache", str(tmp_path)]) == 0
    assert len(files(tmp_path)) < len(made)
    assert main(prepare) == 0
    assert files(tmp_path) == made
