import random

import pytest

from crossmodal.cli.main import main
from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import parse_settings
from crossmodal.studies.study_file import read_study
from tests.faults.attempts import READ, Attempt, Job, read
from tests.faults.fuzz import fuzz, keep, table, wrong
from tests.faults.mutations import BYTES
from tests.faults.recordings import write_good_recordings

FULL = {"media": 5_000, "configs": 500, "manifests": 500}


def jobs(kind, folder, number, seed=0):
    made = [Job(kind, folder, seed, one) for one in range(number)]
    made[0].module.prepare(folder)
    return made


def check(outcomes):
    found = [(job, one) for job, outcome in outcomes for one in outcome]
    assert [f"{one.damage}, {one.way}: {what}" for job, one in found if (what := wrong(job, one))] == []
    answers = {one.answer for _, one in found}
    assert READ in answers
    assert len(answers) > 1


@pytest.mark.parametrize(("kind", "number"), [("media", 60), ("manifests", 120)])
def test_damaged_inputs_are_read_or_refused(kind, number, tmp_path):
    check((job, read(job)) for job in jobs(kind, tmp_path, number))


def test_damaged_settings_are_parsed_or_refused(tmp_path):
    ends = {"parsed": 0, "refused": 0}
    for job in [Job("configs", tmp_path, 0, number) for number in range(30)]:
        damaged = job.make()
        path = tmp_path / damaged.name
        path.write_bytes(damaged.content)
        try:
            if damaged.name == "input.args":
                parse_settings(path.read_text().split("\n"))
            elif damaged.name == "study.yaml":
                read_study(path)
            else:
                parse_settings(["--config", str(path)])
            ends["parsed"] += 1
        except ConfigError as error:
            assert str(error).strip()
            ends["refused"] += 1
    assert all(ends.values())


@pytest.mark.slow
@pytest.mark.parametrize("kind", FULL)
def test_many_damaged_inputs_are_read_or_refused(kind, tmp_path):
    check(fuzz(jobs(kind, tmp_path, FULL[kind], seed=1)))


def test_data_commands_report_damaged_recordings(tmp_path, capfd):
    """Run `data check` and `data prepare` on a corpus of damaged files."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, job in enumerate(jobs("media", tmp_path, 16)):
        content = job.make().content
        (corpus / f"03-01-0{number % 8 + 1}-01-01-01-{number // 8 + 1:02d}.wav").write_bytes(content)
    assert main(["data", "check", str(corpus)]) == 1
    assert main(["data", "prepare", str(corpus), "--cache", str(tmp_path / "cache"), "--num_processes", "1"]) == 0
    captured = capfd.readouterr()
    assert str(corpus) in captured.out
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("mutate", BYTES.values(), ids=BYTES)
def test_a_seed_gives_the_same_damage(mutate):
    content = b"RIFF" + bytes(range(256)) + b"data" + bytes(500)
    damaged = [mutate(random.Random(seed), content) for seed in range(20)]
    assert damaged == [mutate(random.Random(seed), content) for seed in range(20)]
    assert len(set(damaged)) > 10
    assert len({mutate(random.Random(seed), b"x") for seed in range(20)}) >= 1  # works with a single byte


def test_undamaged_recordings_are_read_in_all_ways(tmp_path):
    write_good_recordings(tmp_path / "good")
    module = Job("media", tmp_path, 0, 0).module
    answers = {name: way.run() for name, way in module.ways(tmp_path, tmp_path / "good" / "h264.mp4").items()}
    assert set(answers.values()) == {None}


def test_problems_are_reported_and_inputs_kept(tmp_path):
    job = jobs("manifests", tmp_path, 1)[0]
    good = Attempt("cut", "manifest", READ, seconds=0.1, memory=1.0)
    assert wrong(job, good) is None
    assert wrong(job, Attempt("cut", "manifest", "KeyError", "Traceback ...")) == "Traceback ..."
    assert "20.0 s" in wrong(job, Attempt("cut", "manifest", READ, seconds=20.0))
    assert "600 MB" in wrong(job, Attempt("cut", "manifest", READ, memory=600.0))
    assert keep(job, tmp_path / "kept").read_bytes() == job.make().content
    lines = table([good, Attempt("cut", "manifest", "DataError")], "damage").splitlines()
    assert lines[2].startswith("| cut | 2 | 1 | 1 |")


def test_foreign_errors_and_crashes_are_detected(tmp_path):
    """Test the fuzzer with readers that fail, raise our error, or crash with and without isolation."""
    made = [Job("misbehaving", tmp_path, 0, number) for number in range(2)]
    outcomes = [(one.way, one.answer, bool(one.foreign)) for _, outcome in fuzz(made) for one in outcome]
    assert set(outcomes) == {
        ("fails", "foreign: KeyError", True),
        ("refuses", "DataError", False),
        ("ends the process", "crashed", True),
        ("ends a process of its own", "crashed", False),
    }
    assert read(Job("misbehaving", tmp_path, 0, 0, way="refuses"))[0].answer == "DataError"
