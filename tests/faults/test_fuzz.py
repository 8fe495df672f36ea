import pytest

from crossmodal.cli.main import main
from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import parse_settings
from crossmodal.studies.study_file import read_study
from tests.faults.attempts import READ, Job, read
from tests.faults.fuzz import fuzz, wrong
from tests.faults.recordings import write_good_recordings

FULL = {"media": 5_000, "configs": 500, "manifests": 500, "settings": 1_000, "tables": 1_000}


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


@pytest.mark.parametrize(("kind", "number"), [("media", 60), ("manifests", 120), ("tables", 150)])
def test_damaged_inputs_are_read_or_refused(kind, number, tmp_path):
    check((job, read(job)) for job in jobs(kind, tmp_path, number))


def test_damaged_settings_are_parsed_or_refused(tmp_path):
    ends = set()
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
            ends.add("parsed")
        except ConfigError as error:
            assert str(error).strip()
            ends.add("refused")
    assert len(ends) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", FULL)
def test_many_damaged_inputs_are_read_or_refused(kind, tmp_path):
    check(fuzz(jobs(kind, tmp_path, FULL[kind], seed=1)))


def test_undamaged_recordings_are_read_in_all_ways(tmp_path):
    write_good_recordings(tmp_path / "good")
    ways = Job("media", tmp_path, 0, 0).module.ways(tmp_path, tmp_path / "good" / "h264.mp4")
    assert {way.run() for way in ways.values()} == {None}


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
