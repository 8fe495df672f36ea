"""Losses, teacher, protocol and corpus of docs/extending.md, through `fit`."""

import csv
import importlib
import itertools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import crossmodal
from crossmodal import EmotionRecognizer
from crossmodal.cli.main import main
from crossmodal.cli.test import test_command as run_command
from crossmodal.datasets import index_ravdess
from crossmodal.errors import ConfigError, DataError, LeakageError, ProtocolError
from crossmodal.inference.export import export_model
from crossmodal.pipeline.settings import parse_settings
from tests.pipeline import fit, reused, tiny_command
from tests.test_docs import command_lines, page_modules

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
NAMES = {"01": "ada", "02": "bo", "03": "cy", "04": "di"}
PARTS = "my_teaching"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The module of the page, in the current folder."""
    with page_modules(PAGE, tmp_path_factory.mktemp("teaching")):
        yield importlib.import_module(PARTS)


@pytest.fixture(scope="module")
def args(parts, tiny_ravdess):
    """The command line of the page, with tiny data and one epoch."""
    generator = np.random.default_rng(0)
    Path("recordings").mkdir()
    rows = []
    for clip in index_ravdess(tiny_ravdess).clips:
        if clip.label in ("angry", "happy", "neutral", "sad"):
            name = f"{NAMES[clip.actor]}_{clip.label}_{clip.clip.split('-')[3]}"
            shutil.copy(clip.audio, f"recordings/{name}.wav")
            rows.append([name, *generator.normal(len(clip.label), 0.5, 6).round(4)])
    with Path("features.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["clip", *(f"AU{number:02d}_r" for number in range(1, 7))], *rows])
    torch.manual_seed(0)
    torch.save(torch.nn.Linear(6, 4).state_dict(), "head.pt")
    words = next(words for words in command_lines(PAGE) if any(PARTS in word for word in words))[1:]
    tiny = [word for word in tiny_command(Path.cwd(), "--data.batch_size=4") if "protocol" not in word]
    return [*tiny, *words]


@pytest.fixture(scope="module")
def summary(args):
    return fit(args)


def test_a_run_with_own_parts(summary):
    assert summary["stages"].keys() == {"supervised", "control", "transfer", "finetune"}
    assert summary["corpus"]["actors"] == {"train": ["ada", "bo"], "val": ["cy"], "test": ["di"]}
    assert (summary["corpus"]["kind"], summary["corpus"]["name"]) == ("manifest", "Folder")
    assert summary["protocol"] == f"{PARTS}.LastActor"
    assert summary["labels"] == ["angry", "happy", "neutral", "sad"]
    assert summary["speaker_dependent"] is False
    assert export_model(summary["model"])[0].same_label > 0
    assert EmotionRecognizer.from_pretrained(summary["model"])("recordings/di_sad_01.wav").label


def test_results_are_reused_until_the_code_or_the_weights_change(summary, args, monkeypatch):
    assert reused(fit([*args, "--name=again"])) == ["supervised", "control", "transfer", "finetune"]
    changed = Path("changed.py")
    changed.write_text(Path(f"{PARTS}.py").read_text())
    moved = [word.replace(PARTS, "changed") for word in args]
    fit([*moved, "--name=moved"])
    changed.write_text(changed.read_text().replace(".abs()", ".square()"))
    monkeypatch.delitem(sys.modules, "changed")
    importlib.invalidate_caches()
    assert reused(fit([*moved, "--name=changed"])) == ["supervised", "control"]
    torch.save(torch.nn.Linear(6, 4).state_dict(), "other.pt")
    others = [word.replace("head.pt", "other.pt") for word in args]
    assert reused(fit([*others, "--name=other"])) == ["supervised", "control"]


def test_a_model_of_own_parts_is_tested_with_them(summary, args, capsys):
    keys = ("--data.corpus", "--data.protocol")
    data = [word for key, value in itertools.pairwise(args) if key in keys for word in (key, value)]
    data += [word for word in args if word.startswith("--data.cache")]
    model = f"--model={summary['model']}"
    assert run_command([model, *data, "--format=json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["uar"] == pytest.approx(summary["stages"]["finetune"]["test_uar"])
    with pytest.raises(LeakageError, match="LastActor"):
        run_command([model, *data, "--data.fold=1"])
    # The protocol in the model folder is not imported: it would run code that came with the folder.
    own = data.index("--data.protocol")
    with pytest.raises(LeakageError, match="LastActor"):
        run_command([model, *data[:own], *data[own + 2 :], "--data.num_folds=3"])


def test_python_takes_classes(summary, args, parts):
    again = crossmodal.fit(
        parse_settings(args),
        name="python",
        data={"protocol": parts.LastActor, "corpus": {"class_path": parts.Folder}},
        teaching={"teacher": {"class_path": parts.MeanOfFeatures}},
        transfer={"model": {"kd_loss": {"class_path": parts.Distance}, "align_loss": parts.WeightedDistance}},
    )
    assert reused(again.to_dict()) == ["supervised", "control", "transfer", "finetune"]


def test_a_teacher_without_embeddings(summary, args):
    words = [word.replace("head.pt", "head.pt, embeddings: false") for word in args]
    with pytest.raises(ConfigError, match="embeddings"):
        fit([*words, "--name=logits"])
    assert fit([*words, "--name=logits", "--transfer.model.align_loss=null"])["gain"]


def test_the_actors_of_a_teacher_are_asked_for_and_checked(summary, args):
    asked = args.index("--teaching.teacher_actors")
    words = [*args[:asked], *args[asked + 2 :]]
    with pytest.raises(LeakageError, match="teacher_actors"):
        fit(words)
    with pytest.raises(LeakageError, match="cy"):
        fit([*words, "--teaching.teacher_actors=[cy, ada]", "--name=leak"])
    marked = fit([*words, "--teaching.teacher_actors=unknown", "--name=unknown"])
    assert marked["speaker_dependent"] is True
    for other in ("cross_fit=2", "by=voice"):
        with pytest.raises(ConfigError, match="teaching"):
            fit([*args, f"--teaching.{other}"])


def wrong(change):
    """Return a protocol whose split is changed."""

    def protocol(clips, fold):
        actors = sorted({clip.actor for clip in clips})
        parts = zip(("test", "val", "train"), (actors[:1], actors[1:2], actors[2:]), strict=True)
        divided = {name: [clip for clip in clips if clip.actor in members] for name, members in parts}
        change(divided)
        return divided

    return protocol


@pytest.mark.parametrize(
    ("protocol", "error", "word"),
    [
        (wrong(lambda divided: divided["train"].append(divided["test"].pop())), LeakageError, "ada"),
        (wrong(lambda divided: divided["train"].append(divided["train"][0])), ProtocolError, "twice"),
        (wrong(lambda divided: divided.update(val=[])), ProtocolError, "val"),
        (wrong(lambda divided: divided.pop("test")), ProtocolError, "test"),
        (Path, ProtocolError, "callable"),
    ],
)
def test_a_wrong_protocol_is_refused(args, parts, protocol, error, word):
    data = crossmodal.AudioDataModule(corpus=parts.Folder("recordings"), protocol=protocol)
    with pytest.raises(error, match=word):
        data.setup()


def test_a_protocol_may_be_an_object_or_a_function(args, parts):
    for protocol in (parts.LastActor(), lambda clips, fold: parts.LastActor()(clips, fold)):
        data = crossmodal.AudioDataModule(corpus=parts.Folder("recordings"), protocol=protocol)
        data.setup()
        assert {clip.actor for clip in data.split["test"]} == {"di"}


def test_two_clips_with_one_name_are_refused(args, parts):
    class Doubled(parts.Folder):
        def index(self):
            clips, excluded = super().index()
            return [*clips, clips[0]], excluded

    with pytest.raises(DataError, match="same name"):
        crossmodal.AudioDataModule(corpus=Doubled("recordings")).setup()


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("--data.protocol=seq7", "luna5"),
        (f"--data.protocol={PARTS}.Nothing", "Nothing"),
        ("--data.corpus=nowhere.Corpus", "nowhere"),
        (f"--data.corpus={PARTS}.LastActor", "CorpusSource"),
        (f"--teaching.teacher={PARTS}.LastActor", "Module"),
        (f"--teaching.teacher={{class_path: {PARTS}.MeanOfFeatures, init_args: {{weights: no.pt}}}}", "no.pt"),
        ("--transfer.model.kd_loss=kdd", "logit_std"),
        ("--transfer.model.kd_loss=nowhere.Loss", "nowhere"),
        ("--data.root=x", "data.root and data.corpus"),
    ],
)
def test_an_unknown_part_is_named(args, word, named, capsys):
    assert main(["fit", *args, word, "--name=unknown_part"]) == 1
    assert named in capsys.readouterr().err


def test_resume_needs_a_run(summary, args, capsys):
    assert main(["fit", *args, "--resume=true"]) == 0
    for changed in ("--name=nothing", "--seed_everything=7"):
        assert main(["fit", *args, "--resume=true", changed]) == 1
        assert "nothing to resume" in capsys.readouterr().err


def test_the_control_ends_with_its_model(summary, args, capsys):
    assert main(["fit", *args, "--stages=control", "--name=control_alone"]) == 0
    assert "predict --model " in capsys.readouterr().out.replace("\n", "")
