import pytest

from crossmodal.pipeline import Run
from crossmodal.pipeline.settings import parse_settings
from tests.pipeline.known_corpus import SPEAKERS, known_command, write_corpus, write_manifest

LINE = "Teaching is unlikely to help"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("known")
    return write_manifest(folder / "known.csv", write_corpus(folder))


@pytest.fixture
def output(manifest, tmp_path, monkeypatch, capsys):
    """Return a function that runs `fit` without training, and returns its output."""
    monkeypatch.setattr(Run, "_run_stage", lambda run, stage: None)
    monkeypatch.setattr(Run, "finalize", lambda run: None)

    def output(*more, faces="label", **how):
        Run(parse_settings(known_command(manifest, tmp_path, *more, faces=faces)), **how).fit()
        return capsys.readouterr().out

    return output


def test_the_line_is_printed_once_if_sound_carries_only_the_label_of_the_face(output):
    assert output().count(LINE) == 1


def test_the_line_is_not_printed_if_sound_carries_more_of_the_face(output):
    assert LINE not in output(faces="loudness")


@pytest.mark.parametrize("labelled", ["2", f"[{', '.join(SPEAKERS[2:4])}]"])
def test_the_line_is_not_printed_if_some_clips_have_no_label(output, labelled):
    assert LINE not in output(f"--data.labelled_actors={labelled}")


@pytest.mark.parametrize("stages", ["control", "teacher", "teacher,control"])
def test_the_line_is_about_runs_that_teach(output, stages):
    assert LINE not in output(f"--stages={stages}")


def test_studies_do_not_print_the_line(output):
    assert LINE not in output(keep_name=True)


@pytest.mark.parametrize("by", ["voice", "face"])
def test_faces_are_embedded_for_the_line_only_if_they_teach(output, monkeypatch, by):
    """A voice teacher needs no backbone, whose weights may not be available."""
    embedded = []
    monkeypatch.setattr(Run, "_fill_in_teacher", lambda run, model, data: embedded.append(1) or _features(model))
    output(f"--teaching.by={by}", "--stages=control,transfer,finetune")
    assert bool(embedded) == (by == "face")


def _features(model):
    model |= {"backbone": None, "in_features": 5}
