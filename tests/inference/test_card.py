import copy

import pytest
import yaml

from crossmodal.inference.card import LEAKAGE_WARNING, SYNTHETIC_WARNING, model_card


@pytest.fixture
def said(summary):
    """A summary that a test may change, and the card of it."""
    changed = copy.deepcopy(summary)
    config = {
        "labels": summary["labels"],
        "sample_rate": 16_000,
        "model": {"front_end": "lmfb", "encoder": "cnn"},
    }
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
    assert "UAR 0.512 (95 % interval over actors 0.410 to 0.600), accuracy 0.534" in text
    assert "chance is 0.125" in text
    assert "+2.5 points of UAR (-1.0 to +6.0)" in text
    assert "EmotionRecognizer.from_pretrained" in text
    assert "Do not use it to judge people" in text.replace("\n", " ")


def test_its_header_is_the_hubs_and_its_licence_that_of_the_data(said):
    summary, card = said
    assert header(card())["license"] == "cc-by-nc-sa-4.0"
    assert header(card())["pipeline_tag"] == "audio-classification"
    assert "Livingstone & Russo 2018" in card()
    summary["corpus"]["kind"] = "synthetic"
    assert header(card())["license"] == "apache-2.0"
    assert "Livingstone" not in card()


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
    assert "UAR 0.512" in card()
    summary["stages"] = {}
    assert "## Results" not in card()


def test_the_card_lies_in_the_folder(model_folder):
    text = (model_folder / "README.md").read_text()
    assert "mfcc front end, dense encoder" in text
    assert header(text)["library_name"] == "crossmodal"
