import copy
import re

import pytest
import yaml
from huggingface_hub import ModelCard

from crossmodal.inference.card import LEAKAGE_WARNING, SYNTHETIC_WARNING, model_card
from tests.inference.conftest import LABELS


@pytest.fixture
def said(summary):
    """A summary that a test may change, and the card of it."""
    changed = copy.deepcopy(summary)
    config = {
        "labels": summary["labels"],
        "sample_rate": 16_000,
        "model": {"front_end": "lmfb", "encoder": "cnn"},
        "temperature": 1.37,
        "calibration": {"temperature": 1.37, "clips": 20, "ece_before": 0.21, "ece_after": 0.0512},
    }
    changed["config"] = config
    return changed, lambda: model_card(changed, config, 123_456)


def header(card: str) -> dict:
    _, text, _ = card.split("---\n", 2)
    return yaml.safe_load(text)


def test_it_says_what_the_model_is_and_how_it_was_measured(said):
    _, card = said
    text = card()
    assert "lmfb front end, cnn encoder, 123,456 parameters, 16000 Hz mono" in text
    assert "neutral, calm, happy, sad, angry, fearful, disgust, surprised" in text
    assert "protocol seq6, fold 0" in text
    assert "Actors trained on: 09, 10; used to choose the model: 05, 06; tested on: 01, 02" in text
    assert "| this model | 0.512 | 0.410 to 0.600 | 0.534 |" in text
    assert "chance is 0.125" in text
    assert "+2.5 points of UAR (-1.0 to +6.0), one fold and one seed. The interval holds zero" in text
    assert "divided by 1.37, which was fitted on 20 validation clips" in text
    assert "was 0.210 and is 0.051" in text
    assert "Do not use it to judge people" in text.replace("\n", " ")
    assert "None" not in text
    assert "nan" not in text


def test_it_says_how_to_use_the_model_in_three_ways(said):
    _, card = said
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", card(), re.DOTALL | re.MULTILINE)
    assert [language for language, _ in blocks] == ["python", "bash", "python"]
    for language, block in blocks:
        if language == "python":
            compile(block, "card", "exec")
    assert "EmotionRecognizer.from_pretrained" in blocks[0][1]
    assert "crossmodal predict --model" in blocks[1][1]
    assert "(batch, 8)" in blocks[2][1]


def test_the_example_for_onnxruntime_runs(onnx_folder, monkeypatch):
    blocks = re.findall(r"^```python\n(.*?)^```", (onnx_folder / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(onnx_folder)
    names: dict = {}
    exec(blocks[1], names)
    assert names["probabilities"].shape == (1, 8)


def test_the_hub_reads_its_header(said):
    _, card = said
    data = ModelCard(card()).data  # refuses results that lack what the Hub wants of them
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "cc-by-nc-sa-4.0",
        "crossmodal",
        "audio-classification",
    )
    uar, war = data.eval_results
    assert (uar.dataset_name, uar.dataset_type) == ("RAVDESS", "ravdess")
    assert uar.dataset_split == "protocol seq6, fold 0: actors 01, 02"
    assert (uar.metric_type, uar.metric_value) == ("recall", 0.512)
    assert (war.metric_type, war.metric_value) == ("accuracy", 0.534)


def test_its_control_and_its_teacher_stand_beside_it(said):
    summary, card = said
    summary["stages"]["control"] = {"test_uar": 0.487, "test_uar_ci95": [0.4, 0.57], "test_war": 0.5}
    summary["stages"]["teacher"] = {"test_uar": 0.6, "test_uar_ci95": [0.5, 0.7], "test_war": 0.61}
    assert "| the same without a teacher (control) | 0.487 | 0.400 to 0.570 | 0.500 |" in card()
    assert "| the teacher | 0.600 | 0.500 to 0.700 | 0.610 |" in card()


def test_a_gain_beyond_chance_is_not_talked_down(said):
    summary, card = said
    summary["gain"] = {"uar_pp": 4.6, "ci95_pp": [2.4, 6.6]}
    assert "+4.6 points of UAR (+2.4 to +6.6), one fold and one seed.\n" in card()


def test_without_calibration_nothing_is_said_of_it(said):
    summary, card = said
    del summary["config"]["calibration"]
    assert "## Calibration" not in card()


def test_its_header_is_the_hubs_and_its_licence_that_of_the_data(said):
    summary, card = said
    assert header(card())["license"] == "cc-by-nc-sa-4.0"
    assert header(card())["pipeline_tag"] == "audio-classification"
    assert "Livingstone & Russo 2018" in card()
    assert "no commercial use" in card()
    summary["corpus"]["kind"] = "synthetic"
    assert header(card())["license"] == "apache-2.0"
    assert "Livingstone" not in card()
    assert "commercial" not in card()


@pytest.mark.parametrize("synthetic", [True, False])
@pytest.mark.parametrize("speaker_dependent", [True, False])
def test_it_warns_of_what_its_numbers_are_not(said, synthetic, speaker_dependent):
    summary, card = said
    summary["corpus"]["kind"] = "synthetic" if synthetic else "ravdess"
    summary["speaker_dependent"] = speaker_dependent
    assert (SYNTHETIC_WARNING in card()) == synthetic
    assert (LEAKAGE_WARNING in card()) == speaker_dependent


def test_no_gain_without_its_control(said):
    summary, card = said
    del summary["gain"]
    assert "points of UAR" not in card()
    assert "| 0.512 |" in card()
    summary["stages"] = {}
    assert "## Results" not in card()
    assert "model-index" not in header(card())


def test_the_card_of_a_control_says_that_nobody_taught_it(summary):
    changed = copy.deepcopy(summary)
    changed["stages"]["control"] = {"test_uar": 0.487, "test_uar_ci95": [0.4, 0.57], "test_war": 0.5}
    model = {"front_end": "lmfb", "encoder": "cnn"}
    text = model_card(changed, {"labels": LABELS, "sample_rate": 16_000, "model": model, "stage": "control"}, 123_456)
    assert "# A voice model without a teacher" in text
    assert "taught by a face\n" not in text
    assert "| this model | 0.487 | 0.400 to 0.570 | 0.500 |" in text
    assert "| the same taught by a face | 0.512 | 0.410 to 0.600 | 0.534 |" in text
    assert header(text)["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.487


def test_the_card_lies_in_the_folder(model_folder):
    text = (model_folder / "README.md").read_text()
    assert "mfcc front end, dense encoder" in text
    assert header(text)["library_name"] == "crossmodal"
