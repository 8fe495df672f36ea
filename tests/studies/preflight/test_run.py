import functools
import json
import shutil
from copy import deepcopy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import timm
from safetensors.torch import save_file
from sklearn.metrics import balanced_accuracy_score

import crossmodal
from crossmodal.cli.main import main
from crossmodal.datasets.clip import Clip
from crossmodal.errors import ProtocolError
from crossmodal.evaluation.similarity import CARRIED_R2, CARRIED_SHARE
from crossmodal.pipeline import run as pipeline
from crossmodal.storage import read_json
from crossmodal.studies.preflight import run as command
from crossmodal.studies.preflight.advice import (
    CONVERGED_GAP,
    FUSION_GAIN,
    MEMORISED_GAP,
    MEMORISED_UAR,
    advise,
)
from crossmodal.studies.preflight.measures import Pairs, measure
from crossmodal.studies.preflight.report import plot_preflight, preflight_report
from tests.evaluation import LABELS
from tests.evaluation.test_plots import read
from tests.pipeline import fit, reused, sections_of, tiny_command
from tests.tiny_speech import BUNDLE, shrink, write_weights

K = len(LABELS)
# Actors of fold 0 of loso24 in the tiny corpus.
TRAIN, VAL, TEST = ["03", "04"], ["02"], "01"


def preflight(args):
    """Run and print a pre-flight with a command line; return its numbers."""
    report = command.run_preflight(args)
    report.print()
    return report.numbers


def make_pairs(actors, seed=0, clips=40, skill=(2.0, 2.0), width=6):
    """Return outputs of two models with the given skill, with independent errors; sound is noise."""
    rng = np.random.default_rng([seed, *map(int, actors)])
    names = [Clip(f"{actor}-{index}", actor, LABELS[index % K]) for actor in actors for index in range(clips)]
    targets = np.tile(np.arange(K), len(names) // K)
    arrays = {
        f"{model}_logits": rng.normal(size=(len(names), K)) + scale * np.eye(K)[targets]
        for model, scale in zip(("teacher", "student"), skill, strict=True)
    }
    widths = {"teacher_embedding": 4, "student_embedding": 3, "sound": width}
    return Pairs(names, targets, **arrays, **{name: rng.normal(size=(len(names), of)) for name, of in widths.items()})


def of_both(change, **options):
    """Return training and validation pairs with the same change."""
    return [replace(pairs, **change(pairs)) for pairs in (make_pairs(["01", "02", "03"], **options), val(**options))]


def val(**options):
    return make_pairs(["07", "08", "09"], **options)


def carried(change, **options):
    numbers = measure(*of_both(change, **options), LABELS)["sound_carries"]["teacher_embedding"]
    return {kind: value["median"] for kind, value in numbers.items()}


class TestAccuracy:
    def test_uar_matches_sklearn_on_both_splits(self):
        train, held_out = make_pairs(["01", "02"], skill=(9.0, 1.0)), val(skill=(2.0, 1.0))
        numbers = measure(train, held_out, LABELS)
        fused = held_out.teacher_logits - np.log(np.exp(held_out.teacher_logits).sum(axis=1, keepdims=True))
        fused = fused + held_out.student_logits - np.log(np.exp(held_out.student_logits).sum(axis=1, keepdims=True))
        logits_of = {"teacher": held_out.teacher_logits, "student": held_out.student_logits, "fusion": fused}
        for name, logits in logits_of.items():
            expected = balanced_accuracy_score(held_out.targets, logits.argmax(axis=1))
            assert numbers["uar"][name]["val"] == pytest.approx(expected)
            low, high = numbers["uar"][name]["val_ci95"]
            assert low <= expected <= high
        assert numbers["fusion_gain"]["uar"] == pytest.approx(
            numbers["uar"]["fusion"]["val"] - numbers["uar"]["student"]["val"]
        )
        assert numbers["uar"]["teacher"]["train"] > 0.99 > numbers["uar"]["student"]["train"]
        assert numbers["chance_uar"] == 1 / K

    def test_two_validation_actors_have_no_interval(self):
        numbers = measure(make_pairs(["01", "02"]), make_pairs(["07", "08"]), LABELS)
        assert {model["val_ci95"] for model in numbers["uar"].values()} == {None}
        assert numbers["fusion_gain"]["ci95"] is None

    def test_complementary_errors_are_counted(self):
        held_out = val(skill=(1.0, 1.0))
        teacher, student = (
            logits.argmax(axis=1) == held_out.targets for logits in (held_out.teacher_logits, held_out.student_logits)
        )
        numbers = measure(make_pairs(["01", "02"]), held_out, LABELS)
        agreement = numbers["agreement"]
        for one, other, name in (
            (student, teacher, "student_errors_that_teacher"),
            (teacher, student, "teacher_errors_that_student"),
        ):
            assert agreement[f"{name}_gets_right"] == pytest.approx(sum(other & ~one) / sum(~one))
        for index, label in enumerate(LABELS):
            here = held_out.targets == index
            assert agreement["clips"][label] == {
                "both_right": sum(here & teacher & student),
                "only_teacher_right": sum(here & teacher & ~student),
                "only_student_right": sum(here & student & ~teacher),
                "both_wrong": sum(here & ~student & ~teacher),
            }
        assert numbers["uar"]["oracle"]["val"] == pytest.approx(
            np.mean([(teacher | student)[held_out.targets == index].mean() for index in range(K)])
        )

    def test_a_student_without_errors_has_no_share_of_errors(self):
        numbers = measure(make_pairs(["01", "02"]), val(skill=(1.0, 99.0)), LABELS)
        assert numbers["agreement"]["student_errors_that_teacher_gets_right"] is None
        assert json.dumps(numbers, allow_nan=False)


class TestSimilarity:
    def test_equal_embeddings_are_similar_beyond_label_and_actor(self):
        train, held_out = of_both(lambda pairs: {"student_embedding": 3 * pairs.teacher_embedding + 1})
        for value in measure(train, held_out, LABELS)["similarity"].values():
            assert value["value"] == pytest.approx(1)
            assert value["shuffled"] < value["value"] - 0.5
            assert value["shuffled_in_label_and_actor"] < value["value"] - 0.5

    def test_embeddings_that_share_only_the_label_are_as_similar_when_shuffled_within_it(self):
        def only_label(pairs):
            rng = np.random.default_rng(len(pairs.clips))
            noise = 0.3 * rng.normal(size=(2, len(pairs.clips), K))
            centres = np.eye(K)[pairs.targets]
            return {"teacher_embedding": centres + noise[0], "student_embedding": centres + noise[1]}

        cka = measure(*of_both(only_label), LABELS)["similarity"]["linear_cka"]
        assert cka["value"] > cka["shuffled"] + 0.3
        assert cka["shuffled_in_label"] == pytest.approx(cka["value"], abs=0.03)

    def test_embeddings_that_share_label_and_actor_are_as_similar_when_shuffled_within_both(self):
        def label_and_actor(pairs):
            cell = 5 * np.eye(K)[pairs.targets] + 9.0 * np.array([int(actor) % 2 for actor in pairs.actors])[:, None]
            return {"teacher_embedding": cell + 0.01 * pairs.sound[:, :K], "student_embedding": cell}

        cka = measure(*of_both(label_and_actor), LABELS)["similarity"]["linear_cka"]
        assert cka["shuffled_in_label_and_actor"] == pytest.approx(cka["value"], abs=0.01)
        assert cka["shuffled_in_label"] < cka["value"] - 0.2

    def test_a_student_with_the_teachers_logits_does_not_diverge(self):
        train, held_out = of_both(lambda pairs: {"student_logits": pairs.teacher_logits + 0.1})
        divergence = measure(train, held_out, LABELS)["non_target_divergence"]
        assert divergence["value"] == pytest.approx(0, abs=1e-9)
        assert divergence["shuffled_in_label"] > 0.1
        assert divergence["shuffled_in_label_and_actor"] > 0.1


class TestSoundCarries:
    def test_a_function_of_sound_is_carried_beyond_the_label(self):
        r2 = carried(lambda pairs: {"teacher_embedding": pairs.sound[:, :4] @ np.eye(4)[::-1]})
        assert min(r2["across_actors"], r2["within_actor"], r2["beyond_label"]) > 0.9
        assert r2["label_alone"] < 0.2

    def test_noise_is_not_carried(self):
        r2 = carried(lambda pairs: {}, clips=80)
        assert max(r2.values()) < CARRIED_R2

    def test_a_function_of_the_label_is_not_carried_beyond_it(self):
        def by_label(pairs):
            one_hot = np.eye(K)[pairs.targets]
            rng = np.random.default_rng(len(pairs.clips))
            noise = 0.1 * rng.normal(size=one_hot.shape)
            return {"sound": np.hstack([one_hot, pairs.sound]), "teacher_embedding": one_hot + noise}

        r2 = carried(by_label)
        assert min(r2["within_actor"], r2["label_alone"]) > 0.8
        assert r2["beyond_label"] < CARRIED_R2

    def test_offsets_between_actors_do_not_count_within_actors(self):
        def with_offsets(pairs):
            offsets = 20 * np.array([int(actor) % 5 for actor in pairs.actors])[:, None]
            return {"teacher_embedding": pairs.sound[:, :2] + offsets}

        r2 = carried(with_offsets)
        assert r2["within_actor"] > 0.9
        assert r2["across_actors"] < 0.5

    def test_face_input_is_named_and_sorted_without_constants(self):
        def faces(pairs):
            return {"face_input": np.column_stack([np.ones(len(pairs.clips)), 0.0 * pairs.targets, pairs.sound[:, 0]])}

        numbers = measure(*of_both(faces), LABELS, face_names=["AU01", "AU02", "AU12"])["sound_carries"]["face_input"]
        within = numbers["within_actor"]
        assert within["dimensions"] == 1
        assert within["r2"][:2] == [None, None]
        assert [one["dimension"] for one in within["top"]] == ["AU12"]
        assert within["share_carried"] == 1
        assert json.dumps(numbers, allow_nan=False)

    def test_the_share_counts_dimensions_above_the_threshold(self):
        def half(pairs):
            noise = np.random.default_rng(len(pairs.clips)).normal(size=(len(pairs.clips), 2))
            return {"teacher_embedding": np.hstack([pairs.sound[:, :2], noise])}

        numbers = measure(*of_both(half, clips=80), LABELS)["sound_carries"]["teacher_embedding"]["within_actor"]
        assert numbers["share_carried"] == 0.5
        assert {one["dimension"] for one in numbers["top"][:2]} == {"0", "1"}


def healthy():
    """Return numbers to which only the last rule applies."""
    kinds = {"within_actor": 0.5, "beyond_label": 0.5, "label_alone": 0.5, "across_actors": 0.5}
    models = {"teacher": 0.6, "student": 0.5, "fusion": 0.7, "oracle": 0.8}
    return {
        "corpus": {"unlabelled_clips": 0},
        "small_faces": None,
        "chance_uar": 0.125,
        "uar": {name: {"val": value, "val_ci95": (0.4, 0.9), "train": value + 0.1} for name, value in models.items()},
        "fusion_gain": {"uar": 0.2, "ci95": (0.1, 0.3)},
        "sound_carries": {"teacher_embedding": {kind: {"share_carried": share} for kind, share in kinds.items()}},
    }


def with_value(path, value):
    *parents, last = path
    numbers = healthy()
    functools.reduce(dict.__getitem__, parents, numbers)[last] = value
    return numbers


EMBEDDING = ("sound_carries", "teacher_embedding")


class TestAdvice:
    @pytest.mark.parametrize(
        ("path", "value", "verdict", "words"),
        [
            (("chance_uar",), 0.125, "can_help", "can help"),
            (("uar", "teacher", "val_ci95"), (0.125, 0.3), "teacher_at_chance", "chance"),
            (("uar", "teacher", "val_ci95"), (0.126, 0.3), "can_help", ""),
            (("uar", "teacher"), {"val": 0.12, "val_ci95": None, "train": 0.2}, "teacher_at_chance", "UAR (0.12)"),
            (("uar", "teacher"), {"val": 0.13, "val_ci95": None, "train": 0.2}, "can_help", ""),
            (("fusion_gain", "ci95"), None, "can_help", "interval impossible"),
            (("fusion_gain", "uar"), FUSION_GAIN - 1e-6, "little_to_teach", "Unlikely to help"),
            (("fusion_gain", "uar"), FUSION_GAIN, "can_help", "+2.0 points"),
            ((*EMBEDDING, "within_actor", "share_carried"), CARRIED_SHARE - 0.01, "not_in_the_sound", "prefer soft"),
            ((*EMBEDDING, "within_actor", "share_carried"), CARRIED_SHARE, "can_help", "10% of the teacher's"),
            ((*EMBEDDING, "beyond_label", "share_carried"), CARRIED_SHARE - 0.01, "only_the_label", "9% of the teach"),
            ((*EMBEDDING, "beyond_label", "share_carried"), CARRIED_SHARE, "can_help", "can help"),
        ],
    )
    def test_the_first_rule_that_applies_gives_the_verdict(self, path, value, verdict, words):
        advice = advise(with_value(path, value))
        assert advice["verdict"] == verdict
        assert words in advice["sentence"]
        assert advice["sentence"].endswith(".")
        assert advice["sentence"].count(". ") == 0, "one sentence"

    def test_a_teacher_that_is_not_better_is_noted(self):
        numbers = with_value(("fusion_gain", "uar"), 0.0)
        numbers["uar"]["teacher"]["val"] = 0.4
        sentence = advise(numbers)["sentence"]
        assert "not better" in sentence
        assert "0.40 against 0.50" in sentence

    @pytest.mark.parametrize(
        ("model", "train", "val", "words"),
        [
            ("teacher", MEMORISED_UAR, 0.6, "--teaching.cross_fit"),
            ("teacher", MEMORISED_UAR - 0.01, 0.6, None),
            ("teacher", 0.99, 0.99 - MEMORISED_GAP + 0.01, None),
            ("student", MEMORISED_UAR, 0.5, "the student has memorised"),
            ("student", 0.5 + CONVERGED_GAP - 0.01, 0.5, "not converged"),
            ("student", 0.5 + CONVERGED_GAP + 0.01, 0.5, None),
        ],
    )
    def test_training_problems_are_appended(self, model, train, val, words):
        numbers = with_value(("uar", model, "train"), train)
        numbers["uar"][model]["val"] = val
        sentence, plain = advise(numbers)["sentence"], advise(healthy())["sentence"]
        assert sentence == plain if words is None else words in sentence and words not in plain

    def test_a_backbone_of_objects_with_small_faces_is_appended(self):
        small = {"weights": "some_in1k", "input_size": 288, "face_size": 96}
        sentence = advise(with_value(("small_faces",), small))["sentence"]
        assert sentence.startswith(advise(healthy())["sentence"].removesuffix("."))
        assert all(word in sentence for word in ("some_in1k", "288", "96", "--data.face_size"))

    def test_unlabelled_clips_help_if_sound_carries_only_the_label(self):
        numbers = with_value((*EMBEDDING, "beyond_label", "share_carried"), 0.0)
        advice = advise(numbers)
        assert advice["sentence"].startswith("Unlikely to help")
        assert "unlabelled clips" in advice["sentence"]
        assert "--teaching.by voice" in advice["sentence"]
        numbers["corpus"]["unlabelled_clips"] = 60
        advice = advise(numbers)
        assert advice["verdict"] == "can_help"
        assert "(60)" in advice["sentence"]
        assert "run fit" in advice["sentence"]
        assert advice["sentence"].count(". ") == 0, "one sentence"


@pytest.fixture(scope="module")
def make_args(tiny_face_features):
    def make(folder, root, *more):
        corpus = (f"--data.root={root}", f"--data.face_features={tiny_face_features}")
        return tiny_command(folder, *corpus, "--teacher.trainer.max_epochs=2", *more)

    return make


@pytest.fixture(scope="module")
def finished(make_args, tiny_ravdess, tmp_path_factory):
    """The folder, arguments and numbers of a pre-flight; tests must not change it."""
    folder = tmp_path_factory.mktemp("preflight")
    args = make_args(folder, tiny_ravdess)
    return folder, args, preflight(args)


class TestCommand:
    def test_it_writes_numbers_and_a_plot(self, finished):
        folder, _, numbers = finished
        assert read_json(folder / "runs" / "fit" / "preflight.json") == json.loads(json.dumps(numbers))
        read(folder / "runs" / "fit" / "preflight.png")
        assert numbers["corpus"]["clips"] == {"train": 32, "val": 16}
        assert numbers["corpus"]["unlabelled_clips"] == 0
        assert numbers["small_faces"] is None
        assert numbers["corpus"]["actors"] == {"train": TRAIN, "val": VAL}
        assert "sexes" not in numbers["corpus"]  # of test actors
        top = numbers["sound_carries"]["face_input"]["within_actor"]["top"]
        assert {one["dimension"] for one in top} <= {f"AU{index:02d}_r" for index in range(1, 7)}

    def test_uar_matches_the_stages(self, finished):
        folder, _, numbers = finished
        for model, stage in (("teacher", "teacher"), ("student", "control")):
            result = read_json(folder / "runs" / "fit" / "preflight" / stage / "result.json")
            assert numbers["uar"][model]["val"] == pytest.approx(result["metrics"]["val"]["uar"])

    def test_python_gives_the_report_of_the_command(self, finished, tmp_path):
        _, args, numbers = finished
        report = crossmodal.preflight(runs=tmp_path, **sections_of(args))
        assert json.loads(json.dumps(report.numbers)) == json.loads(json.dumps(numbers))
        page = report._repr_html_()
        assert page.count("data:image/png") == 1
        assert numbers["advice"]["sentence"][:30] in page

    def test_fit_reuses_the_stages_and_preflight_keeps_its_files(self, finished, tmp_path):
        folder, args, _ = finished
        shutil.copytree(folder, tmp_path / "copy")
        args = [arg.replace(str(folder), str(tmp_path / "copy")) for arg in args]
        summary = fit(args)
        assert reused(summary) == ["teacher", "supervised", "control"]
        before = (tmp_path / "copy" / "runs" / "fit" / "summary.json").read_bytes()
        preflight([*args, "--seed_everything=3"])
        assert (tmp_path / "copy" / "runs" / "fit" / "summary.json").read_bytes() == before

    def test_no_number_depends_on_test_actors(
        self, finished, make_args, tiny_ravdess, tiny_face_features, tmp_path, monkeypatch
    ):
        """Other audio and faces of the test actor do not change any number."""
        root = shutil.copytree(tiny_ravdess, tmp_path / "corpus")
        rng = np.random.default_rng(0)
        for wav in (root / f"Actor_{TEST}").glob("*.wav"):
            soundfile.write(wav, 0.3 * rng.standard_normal(20_000), 48_000, subtype="PCM_16")
        table = tmp_path / tiny_face_features.name
        header, *rows = tiny_face_features.read_text().splitlines()
        others = [f"{row.split(',')[0]},9,9,9,9,9,9" if row.split(",")[0].endswith(f"-{TEST}") else row for row in rows]
        assert others != rows
        table.write_text("\n".join([header, *others]))
        splits = []
        gather = command.gather
        monkeypatch.setattr(command, "gather", lambda run, split: splits.append(split) or gather(run, split))
        numbers = preflight(make_args(tmp_path, root, f"--data.face_features={table}"))
        assert splits == ["train", "val"]
        for one, other in ((numbers, finished[2]), (finished[2], numbers)):
            for name, value in one.items():
                if name != "corpus":
                    assert value == other[name], name

    def test_it_prints_table_advice_and_paths_without_test_metrics(self, finished, capsys):
        folder, args, numbers = finished
        assert main(["study", "preflight", *args]) == 0
        output = capsys.readouterr().out
        assert "teacher: reused" in output
        squeezed = " ".join(output.split())
        assert numbers["advice"]["sentence"] in squeezed
        assert str(folder / "runs" / "fit" / "preflight.png") in output
        assert f"{numbers['uar']['fusion']['val']:.3f}" in output
        assert "impossible with fewer" in squeezed  # one validation actor
        assert "UAR test" not in output
        assert "Synthetic corpus" not in output
        assert "Speaker-dependent" not in output

    def test_output_and_plot_mark_speaker_dependent_numbers(
        self, make_args, tiny_ravdess, tmp_path, monkeypatch, capsys
    ):
        notes = []
        monkeypatch.setattr(command, "plot_preflight", lambda numbers, path, note: notes.append(note))
        more = ["--data.protocol=random", "--data.allow_speaker_leakage=true"]
        preflight(make_args(tmp_path, tiny_ravdess, *more))
        assert notes[0].startswith("Speaker-dependent")
        assert "Speaker-dependent" in capsys.readouterr().out

    def test_a_single_training_actor_is_refused(self, make_args, tiny_ravdess, tmp_path):
        root = shutil.copytree(tiny_ravdess, tmp_path / "corpus")
        shutil.rmtree(root / "Actor_04")
        with pytest.raises(ProtocolError, match="two training actors"):
            preflight(make_args(tmp_path, root))


def test_a_student_with_a_pretrained_front_end(make_args, tiny_ravdess, tmp_path, monkeypatch):
    shrink(monkeypatch)
    weights = write_weights(tmp_path / "weights.safetensors")
    kwargs = f"{{model: {BUNDLE}, weights: '{weights}'}}"
    more = ["--transfer.model.front_end=pretrained", f"--transfer.model.front_end_kwargs={kwargs}"]
    numbers = preflight(make_args(tmp_path, tiny_ravdess, *more))
    result = read_json(tmp_path / "runs" / "fit" / "preflight" / "control" / "result.json")
    assert numbers["uar"]["student"]["val"] == pytest.approx(result["metrics"]["val"]["uar"])


def test_a_frozen_backbone_of_objects_with_small_faces(tiny_videos, tmp_path, capsys):
    weights = tmp_path / "imagenet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), weights)  # its input is 160
    backbone = ("--teacher.model.backbone=test_resnet", f"--teacher.model.weights={weights}")
    corpus = (f"--data.root={tiny_videos}", "--data.face_size=32", "--data.num_video_frames=2")
    split = ("--data.protocol=random", "--data.allow_speaker_leakage=true")
    numbers = preflight(tiny_command(tmp_path, *corpus, *backbone, *split))
    assert numbers["small_faces"] == {"weights": weights.name, "input_size": 160, "face_size": 32}
    assert "--data.face_size" in capsys.readouterr().out


@pytest.mark.parametrize(("weights", "size", "is_small"), [("in1k", 159, 1), ("in1k", 160, 0), ("faces", 32, 0)])
def test_faces_as_large_as_the_input_and_other_weights_are_not_reported(weights, size, is_small, monkeypatch):
    monkeypatch.setattr(pipeline.Run, "_embed_faces", lambda *_: "stored")
    run = command._StagesOnly.__new__(command._StagesOnly)
    run.corpus = SimpleNamespace(face_size=size)
    assert run._embed_faces({"backbone": "test_resnet", "pretrained": False, "weights": weights}) == "stored"
    assert bool(run.small_faces) == is_small


def test_a_report_of_a_teacher_on_pixels_with_a_warning(finished, tmp_path, capsys):
    numbers = deepcopy(finished[2])
    numbers["corpus"]["kind"] = "synthetic"
    del numbers["sound_carries"]["face_input"]
    preflight_report(tmp_path, numbers).print()
    printed = capsys.readouterr().out
    assert "Synthetic corpus" in printed
    assert "face input" not in printed
    plot_preflight(numbers, tmp_path / "plain.png")
    plot_preflight(numbers, tmp_path / "noted.png", note="Synthetic corpus")
    plain, noted = read(tmp_path / "plain.png"), read(tmp_path / "noted.png")
    assert plain.shape != noted.shape or not np.array_equal(plain, noted)
