"""Defaults of a run with clips without labels."""

import pytest

from crossmodal.errors import ConfigError
from crossmodal.pipeline.settings import parse_settings
from crossmodal.pipeline.unlabelled import complete_for_unlabelled

FEATURES = ("--data.root=ravdess", "--data.face_features=au.csv")
HIDDEN = (*FEATURES, "--data.labelled_actors=2")


def complete(*words):
    return complete_for_unlabelled(parse_settings(list(words)))


def test_unlabelled_clips_are_taught_by_face_and_voice():
    settings = complete(*HIDDEN)
    assert settings["teaching"] == {"by": "both", "calibrate": True}
    assert settings["data"]["face_normalization"] == "actor"
    model = settings["transfer"]["model"]
    assert (model["kd_loss"], model["align_loss"], model["teach_labelled"]) == ("kd", None, False)
    assert "augmentation" in model  # the other defaults stay


def test_given_settings_have_priority():
    settings = complete(
        *HIDDEN, "--teaching.by=face", "--transfer.model.align_loss=mse", "--data.face_normalization=null"
    )
    assert settings["teaching"] == {"by": "face", "calibrate": True}
    assert settings["transfer"]["model"]["align_loss"] == "mse"
    assert settings["data"]["face_normalization"] is None


@pytest.mark.parametrize("words", [FEATURES, (*HIDDEN, "--stages=control")])
def test_other_runs_keep_their_settings(tmp_path, words):
    words = [word.replace("=ravdess", f"={tmp_path}") for word in words]
    (tmp_path / "03-01-01-01-01-01-01.wav").write_bytes(b"")  # a labelled clip
    assert complete(*words) == parse_settings(words)


def test_a_corpus_with_unlabelled_rows_is_recognised(tmp_path):
    rows = ["clip,speaker,label,audio", "a,x,sad,a.wav", "c,x,calm,c.wav", "b,y,,b.wav"]
    (tmp_path / "corpus.csv").write_text("\n".join(rows))
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).write_bytes(b"")
    manifest = f"--data.manifest={tmp_path / 'corpus.csv'}"
    assert complete(manifest, "--data.face_features=au.csv")["teaching"]["by"] == "both"
    (tmp_path / "corpus.csv").write_text("\n".join(rows[:3]))
    assert "by" not in complete(manifest, "--data.face_features=au.csv").get("teaching", {})


def test_a_teacher_on_pixels_is_not_centred_by_actor():
    pixels = ("--data.root=ravdess", "--data.labelled_actors=2")
    assert "face_normalization" not in complete(*pixels, "--teacher.model.freeze_backbone=false")["data"]
    assert complete(*pixels, "--teacher.model.freeze_backbone=true")["data"]["face_normalization"] == "actor"


def test_a_teacher_of_ones_own_has_no_voice_half():
    own = ("--teaching.teacher=my.Teacher", "--teaching.teacher_actors=[]")
    assert "by" not in complete(*HIDDEN, *own)["teaching"]


def test_teaching_nobody_is_refused(tmp_path):
    (tmp_path / "03-01-01-01-01-01-01.wav").write_bytes(b"")
    with pytest.raises(ConfigError, match="teach_labelled"):
        complete(f"--data.root={tmp_path}", "--data.face_features=au.csv", "--transfer.model.teach_labelled=false")
