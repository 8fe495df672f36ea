import copy
import re

import pytest
import yaml
from huggingface_hub import ModelCard

from crossmodal.inference.model_card import LEAKAGE_WARNING, SYNTHETIC_WARNING, model_card
from tests.inference.conftest import LABELS

CONFIG = {"labels": LABELS, "sample_rate": 16_000, "model": {"front_end": "lmfb", "encoder": "cnn"}}
FACTS = [
    *("lmfb", "cnn", "123,456", "16000 Hz", "protocol seq6, fold 0", r"chance is 0\.125", "judge people"),
    "neutral, calm, happy, sad, angry, fearful, disgust, surprised",
    *(r"training \| 30 \| 09, 10 \|", r"validation.*\| 20 \| 05, 06 \|", r"test \| 10 \| 01, 02 \|"),
    r"\| this model \| 0\.512 \| 0\.410 to 0\.600 \| 0\.534 \|",
    r"\+2\.5 points .*-1\.0 to \+6\.0.* no evidence",
    *(r"1\.37\b.* 20 validation clips", r"0\.210 to 0\.051"),
]


@pytest.fixture
def card_of(summary):
    """Return a summary that a test may change, and a function that returns its card."""
    changed = copy.deepcopy(summary)
    calibration = {"temperature": 1.37, "clips": 20, "ece_before": 0.21, "ece_after": 0.0512}
    changed["config"] = config = CONFIG | {"temperature": 1.37, "calibration": calibration}
    return changed, lambda: model_card(changed, config, 123_456)


def header(card: str) -> dict:
    _, text, _ = card.split("---\n", 2)
    return yaml.safe_load(text)


def test_card_describes_the_model_its_data_and_its_results(card_of):
    text = card_of[1]()
    assert [fact for fact in FACTS if not re.search(fact, text)] == []
    assert not re.search("None|nan", text)


def test_card_has_examples_for_python_shell_and_onnxruntime(card_of):
    _, card = card_of
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", card(), re.DOTALL | re.MULTILINE)
    assert [language for language, _ in blocks] == ["python", "bash", "python"]
    for (language, block), word in zip(
        blocks, ("EmotionRecognizer.from_", "predict --model", "(batch, 8)"), strict=True
    ):
        assert word in block
        if language == "python":
            compile(block, "card", "exec")


def test_the_example_for_onnxruntime_runs(onnx_folder, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", (onnx_folder / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(onnx_folder)
    names: dict = {}
    exec(blocks[1], names)
    assert names["probabilities"].shape == (1, 8)


def test_the_hub_parses_the_header(card_of):
    _, card = card_of
    data = ModelCard(card()).data  # raises if a result has missing keys
    kind = ("cc-by-nc-sa-4.0", "crossmodal", "audio-classification")
    assert (data.license, data.library_name, data.pipeline_tag) == kind
    uar, war = data.eval_results
    assert (uar.dataset_name, uar.dataset_type) == ("RAVDESS", "ravdess")
    assert uar.dataset_split == "protocol seq6, fold 0: actors 01, 02"
    assert (uar.metric_type, uar.metric_value) == ("recall", 0.512)
    assert (war.metric_type, war.metric_value) == ("accuracy", 0.534)


def test_a_significant_gain_has_no_caveat(card_of):
    summary, card = card_of
    summary["gain"] = {"uar_pp": 4.6, "ci95_pp": [2.4, 6.6]}
    assert re.search(r"\+4\.6 points .*\+2\.4 to \+6\.6", card())
    assert "no evidence of a gain" not in card()


def test_intervals_of_too_few_actors_are_impossible(card_of):
    summary, card = card_of
    summary["gain"] = {"uar_pp": 4.6, "ci95_pp": None}
    summary["stages"]["finetune"]["test_uar_ci95"] = None
    text = card()
    assert re.search(r"\| this model \| 0\.512 \| impossible .*\| 0\.534 \|", text)
    assert re.search(r"\+4\.6 points of UAR \(95 % interval impossible", text)
    assert "includes zero" not in text
    assert not re.search("None|nan", text)


@pytest.mark.parametrize(
    "kind, licence, words, others",
    [
        ("ravdess", "cc-by-nc-sa-4.0", ["Livingstone & Russo 2018", "no commercial use", "actors"], ["speakers may"]),
        ("synthetic", "apache-2.0", ["rendered by a program"], ["Livingstone", "commercial"]),
        ("manifest", "other", ["mine", "consent of their speakers", "test speakers"], ["Livingstone", "actors"]),
    ],
)
def test_licence_and_limits_are_those_of_the_data(card_of, kind, licence, words, others):
    summary, card = card_of
    summary["corpus"] |= {"kind": kind, "name": "mine"} if kind == "manifest" else {"kind": kind}
    summary["channel"] = None
    assert header(card())["license"] == licence
    assert [word for word in words if word not in card()] == []
    assert [word for word in others if word in card()] == []
    assert "None" not in card()


@pytest.mark.parametrize("synthetic", [True, False])
@pytest.mark.parametrize("speaker_dependent", [True, False])
def test_card_warns_of_synthetic_and_speaker_dependent_results(card_of, synthetic, speaker_dependent):
    summary, card = card_of
    summary["corpus"]["kind"] = "synthetic" if synthetic else "ravdess"
    summary["speaker_dependent"] = speaker_dependent
    assert (SYNTHETIC_WARNING in card()) == synthetic
    assert (LEAKAGE_WARNING in card()) == speaker_dependent


def test_parts_without_numbers_are_absent(card_of):
    summary, card = card_of
    del summary["gain"], summary["config"]["calibration"]
    assert "## Calibration" not in card()
    assert "points" not in card()
    assert "| 0.512 |" in card()
    summary["stages"] = {}
    assert "## Evaluation" not in card()
    assert "model-index" not in header(card())


def test_cards_of_a_student_and_its_control(summary):
    changed = copy.deepcopy(summary)
    changed["stages"]["control"] = {"test_uar": 0.487, "test_uar_ci95": [0.4, 0.57], "test_war": 0.5}
    changed["stages"]["teacher"] = {"test_uar": 0.6, "test_uar_ci95": [0.5, 0.7], "test_war": 0.61}
    text = model_card(changed, CONFIG, 123_456)
    assert "| control (without teacher) | 0.487 | 0.400 to 0.570 | 0.500 |" in text
    assert "| teacher | 0.600 | 0.500 to 0.700 | 0.610 |" in text
    text = model_card(changed, CONFIG | {"stage": "control"}, 123_456)
    assert "trained without a teacher" in text
    assert "| this model | 0.487 | 0.400 to 0.570 | 0.500 |" in text
    assert "| student (with teacher) | 0.512 | 0.410 to 0.600 | 0.534 |" in text
    assert header(text)["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.487
