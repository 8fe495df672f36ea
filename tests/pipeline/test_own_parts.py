import importlib
import json
import sys
from pathlib import Path

import pytest

import crossmodal
from crossmodal import EmotionRecognizer
from crossmodal.cli.main import main
from crossmodal.cli.test import test_command as run_command
from crossmodal.errors import ConfigError, LeakageError
from crossmodal.inference.export import export_model
from tests.pipeline import fit, own_parts, reused, tiny_command

MODULE = own_parts.__name__
SMALL = ("--transfer.model.align_loss=null",)


@pytest.fixture(scope="module")
def args(tiny_ravdess, tiny_face_features, tmp_path_factory):
    """Arguments of a run with an own corpus, protocol, teacher and loss."""
    corpus = {"class_path": f"{MODULE}.FolderOfTones", "init_args": {"folder": str(tiny_ravdess)}}
    words = tiny_command(tmp_path_factory.mktemp("own"), "--data.batch_size=4")
    return [
        *(word for word in words if "protocol" not in word),
        f"--data.corpus={json.dumps(corpus)}",
        f"--data.protocol={MODULE}.LastActor",
        f"--data.face_features={tiny_face_features}",
        f"--teaching.teacher={MODULE}.MeanOfFaces",
        "--teaching.teacher_actors=[1, 2]",
        f"--transfer.model.kd_loss={json.dumps({'class_path': f'{MODULE}.Distance', 'init_args': {'power': 1.0}})}",
    ]


@pytest.fixture(scope="module")
def summary(args):
    return fit(args)


def test_a_run_with_own_parts(summary, args, tiny_ravdess, tmp_path):
    assert summary["stages"].keys() == {"control", "transfer", "finetune"}
    assert summary["corpus"]["actors"] == {"train": ["01", "02"], "val": ["03"], "test": ["04"]}
    assert (summary["corpus"]["kind"], summary["corpus"]["name"]) == ("manifest", "FolderOfTones")
    assert summary["protocol"] == f"{MODULE}.LastActor"
    assert summary["labels"] == ["angry", "happy", "neutral", "sad"]
    assert summary["speaker_dependent"] is False
    assert export_model(summary["model"])[0].same_label > 0
    assert EmotionRecognizer.from_pretrained(summary["model"])(next(tiny_ravdess.rglob("*.wav"))).label


def test_own_parts_are_reused_until_their_code_changes(summary, args, monkeypatch, tmp_path):
    assert reused(fit([*args, "--name=again"])) == ["control", "transfer", "finetune"]
    changed = tmp_path / "changed_parts.py"
    changed.write_text(Path(own_parts.__file__).read_text())
    monkeypatch.syspath_prepend(tmp_path)
    moved = [word.replace(MODULE, "changed_parts") for word in args]
    fit([*moved, "--name=moved"])
    text = changed.read_text().replace("torch.randn(", "1 + torch.randn(")
    changed.write_text(text)
    monkeypatch.delitem(sys.modules, "changed_parts")
    importlib.invalidate_caches()
    assert reused(fit([*moved, "--name=changed"])) == ["control"]


def test_a_model_of_own_parts_is_tested_with_them(summary, args, capsys):
    data = [word for word in args if word.startswith(("--data.corpus", "--data.protocol", "--data.cache"))]
    model = f"--model={summary['model']}"
    assert run_command([model, *data, "--format=json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["uar"] == pytest.approx(summary["stages"]["finetune"]["test_uar"])
    with pytest.raises(LeakageError, match="LastActor"):
        run_command([model, *data, "--data.fold=1"])
    # The protocol in the model folder is not imported: it would run the code of whoever wrote the folder.
    with pytest.raises(LeakageError, match="LastActor"):
        run_command([model, *(word for word in data if "protocol" not in word), "--data.num_folds=3"])


def test_python_takes_the_classes(summary, args, tiny_ravdess, tiny_face_features):
    values = dict(word.removeprefix("--").split("=", 1) for word in args)
    again = crossmodal.fit(
        name="python",
        runs=values["runs"],
        face_features=tiny_face_features,
        data={
            "cache": values["data.cache"],
            "batch_size": 4,
            "protocol": own_parts.LastActor,
            "corpus": {"class_path": own_parts.FolderOfTones, "init_args": {"folder": tiny_ravdess}},
        },
        trainer={"enable_progress_bar": False},
        teacher={"trainer": {"max_epochs": 1}},
        teaching={"teacher": own_parts.MeanOfFaces, "teacher_actors": [1, 2]},
        transfer={
            "model": {
                "encoder": "dense",
                "encoder_kwargs": {"hidden_size": 16},
                "kd_loss": {"class_path": own_parts.Distance, "init_args": {"power": 1.0}},
            },
            "trainer": {"max_epochs": 1},
        },
        finetune={"trainer": {"max_epochs": 1}},
    )
    assert reused(again.to_dict()) == ["control", "transfer", "finetune"]


def test_a_teacher_without_embeddings(summary, args):
    teacher = {"class_path": f"{MODULE}.MeanOfFaces", "init_args": {"embeddings": False}}
    words = [*args, f"--teaching.teacher={json.dumps(teacher)}", "--name=logits"]
    with pytest.raises(ConfigError, match="embeddings"):
        fit(words)
    assert fit([*words, "--transfer.model.align_loss=null"])["gain"]


def test_the_actors_of_an_own_teacher_are_asked_for_and_checked(summary, args):
    words = [word for word in args if "teacher_actors" not in word]
    with pytest.raises(LeakageError, match="teacher_actors"):
        fit(words)
    for actors in ("[3]", '["04"]'):
        with pytest.raises(LeakageError, match=r"04|03"):
            fit([*words, f"--teaching.teacher_actors={actors}", "--name=leak"])
    marked = fit([*words, "--teaching.teacher_actors=unknown", "--name=unknown"])
    assert marked["speaker_dependent"] is True
    for other in ("cross_fit=2", "num_teachers=2", "by=voice", "live=true", "mirror=true"):
        with pytest.raises(ConfigError, match="teaching"):
            fit([*args, f"--teaching.{other}"])


def test_a_leaky_protocol_is_refused(args):
    words = [*args, f"--data.protocol={MODULE}.Leaky", "--name=leaky"]
    with pytest.raises(LeakageError, match="04"):
        fit(words)


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("--data.protocol=seq7", "luna5"),
        (f"--data.protocol={MODULE}.Nothing", "Nothing"),
        ("--data.corpus=nowhere.Corpus", "nowhere"),
        (f"--data.corpus={MODULE}.LastActor", "CorpusSource"),
        (f"--teaching.teacher={MODULE}.LastActor", "Module"),
        ("--transfer.model.kd_loss=kdd", "logit_std"),
        ("--transfer.model.kd_loss=nowhere.Loss", "nowhere"),
        ("--data.root=x", "data.root and data.corpus"),
    ],
)
def test_an_unknown_part_is_named(args, word, named, capsys):
    assert main(["fit", *args, word, "--name=unknown_part"]) == 1
    assert named in capsys.readouterr().err
