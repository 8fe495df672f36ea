import pytest

from crossmodal.labels_for_people import corpus_name, counted, format_for, list_names, protocol_name


@pytest.mark.parametrize("text", ["The test actors, an actor, each actor's gain; Actors.", "Factors of an actor"])
def test_format_for_replaces_whole_words(text):
    assert format_for({"kind": "ravdess"}, text) == text
    replaced = format_for({"kind": "manifest"}, text)
    assert replaced == text.replace(" actor", " speaker").replace(" Actors", " Speakers")
    assert replaced.count("Factors") == text.count("Factors")


def test_names_of_corpora_protocols_and_folds():
    assert corpus_name({"kind": "ravdess"}, "song") == "RAVDESS, song"
    assert corpus_name({"kind": "manifest", "name": "cremad"}) == "cremad"
    assert (protocol_name("grouped", 5), protocol_name("seq6")) == ("grouped (5 folds)", "seq6")
    assert (counted("folds", [0, 1]), counted("seeds", [3])) == ("folds 0, 1", "seed 3")


@pytest.mark.parametrize(("number", "end"), [(24, "22, 23"), (25, "23, and 1 more")])
def test_a_long_list_of_people_is_shortened(number, end):
    assert list_names([f"{one:02d}" for one in range(number)]).endswith(end)
