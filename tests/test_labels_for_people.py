import pytest

from crossmodal.labels_for_people import format_for, named


@pytest.mark.parametrize("text", ["The test actors, an actor, each actor's gain; Actors.", "Factors of an actor"])
def test_format_for_replaces_whole_words(text):
    assert format_for({"kind": "ravdess"}, text) == text
    replaced = format_for({"kind": "manifest"}, text)
    assert replaced == text.replace(" actor", " speaker").replace(" Actors", " Speakers")
    assert replaced.count("Factors") == text.count("Factors")


def test_a_long_list_of_people_is_shortened():
    assert named([f"{number:02d}" for number in range(24)]).endswith("22, 23")
    assert named([f"{number:02d}" for number in range(25)]).endswith("23, and 1 more")
