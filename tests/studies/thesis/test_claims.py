import numpy as np
import pytest

from crossmodal.evaluation.metrics import pool
from crossmodal.studies.finished import load_runs
from crossmodal.studies.thesis.claims import QUESTIONS, answer
from tests.studies.finished_runs import TRAINING_ACTORS, make_predictions, write_application

ACTORS = [f"{number:02d}" for number in range(1, 9)]
TRANSFER, FRONT_END, SONG = range(3)
MFCC, LMFB, SONG_MODEL = ("speech8", "mfcc", "dense"), ("speech8", "lmfb", "dense"), ("song6", "mfcc", "dense")


def voices(test: dict[str, int], val: dict[str, int] | None = None):
    """Return predictions with the given number of correct clips of ten, by actor."""
    parts = [make_predictions({actor: [hits] * 4 for actor, hits in (val or {"09": 5}).items()}, "val")]
    return pool([*parts, make_predictions({actor: [hits] * 4 for actor, hits in test.items()}, "test")])


def hits(number: int, *gains: int) -> dict[str, int]:
    return {actor: number + gain for actor, gain in zip(ACTORS, gains or [0] * len(ACTORS), strict=True)}


@pytest.fixture
def study(tmp_path):
    """Return a function that writes audio-only applications: name, correct clips, label set, front end, encoder."""

    def write(*applications, fold=0, protocol="seq6", **summary):
        for name, num_correct, *model in applications:
            stages = {"control": voices(num_correct)}
            write_application(tmp_path, name, protocol, fold, 0, stages, *model, **summary)
        return tmp_path

    return write


def claim_of(folder, question):
    claims = answer(load_runs(folder))
    assert [claim["question"] for claim in claims] == [one.text for one in QUESTIONS]
    return claims[question]


class TestTransfer:
    def write(self, folder, *gains):
        stages = {stage: voices(hits(5)) for stage in ("teacher", "supervised", "control", "transfer")}
        for fold, half in enumerate((ACTORS[:4], ACTORS[4:])):
            student = {actor: number for actor, number in hits(5, *gains).items() if actor in half}
            of_fold = {stage: voices({actor: 5 for actor in half}) for stage in stages}
            of_fold["finetune"] = voices(student)
            write_application(folder, "transfer", "seq6", fold, 0, of_fold)

    @pytest.mark.parametrize(
        ("gains", "verdict"),
        [
            ((1, 2, 1, 3, 1, 2, 1, 1), "Transfer helps: +15.0 (+11."),
            ((-1, -2, -1, -3, -1, -2, -1, -1), "Transfer harms: -15.0 ("),
            ((1, -1, 2, -1, 1, 0, -1, 1), "No significant effect of transfer: +2.5 ("),
        ],
    )
    def test_the_gain_is_over_the_own_control_and_actors_of_all_folds(self, tmp_path, gains, verdict):
        self.write(tmp_path, *gains)
        claim = claim_of(tmp_path, TRANSFER)
        assert claim["difference"]["gain_pp"] == pytest.approx(10 * sum(gains) / 8)
        assert (claim["runs"], claim["compared"]) == (2, ["transfer - its control"])
        assert claim["verdict"].startswith(verdict)
        if len(set(map(np.sign, gains))) == 1:  # all eight signs are equal
            assert claim["difference"]["p"] == pytest.approx(2 / 2**8)
            assert claim["verdict"].endswith("points of UAR, p 0.008, 8 actors.")


class TestFrontEnds:
    def test_the_difference_is_the_mean_over_encoders_and_channels(self, study):
        folder = study(
            ("a", hits(5, 1, 1, 1, 1, 1, 1, 1, 1), *MFCC),
            ("b", hits(5), *LMFB),
            ("c", hits(5, 3, 3, 3, 3, 3, 3, 3, 3), *SONG_MODEL),
            ("d", hits(5), "song6", "lmfb", "dense"),
            ("e", hits(9), "speech8", "mfcc", "lstm"),  # no counterpart
            ("f", hits(9), "speech6", "mfcc", "dense"),  # the same clips as a
            ("g", hits(5), "speech6", "lmfb", "dense"),
        )
        claim = claim_of(folder, FRONT_END)
        assert claim["compared"] == ["a - b", "c - d"]
        assert claim["difference"]["gain_pp"] == pytest.approx(20)
        assert claim["verdict"].startswith("MFCC is better than LMFB: +20.0")

    def test_only_runs_of_the_same_fold_are_compared(self, study):
        study(("a", hits(7), *MFCC), ("b", hits(5), *LMFB))
        folder = study(("a", hits(9), *MFCC), fold=1)
        claim = claim_of(folder, FRONT_END)
        assert claim["runs"] == 1
        assert claim["difference"]["gain_pp"] == pytest.approx(20)

    def test_the_first_of_two_matching_applications_is_used(self, study):
        folder = study(("z", hits(9), *MFCC), ("a", hits(7), *MFCC), ("b", hits(5), *LMFB))
        assert claim_of(folder, FRONT_END)["compared"] == ["a - b"]


class TestSong:
    def test_song_and_speech6_are_paired_by_actor(self, study):
        folder = study(
            ("song", hits(5, 1, 1, 2, 1, 1, 1, 1, 0), *SONG_MODEL),
            ("six", hits(5), "speech6", "mfcc", "dense"),
            ("eight", hits(3), *MFCC),
        )
        claim = claim_of(folder, SONG)
        assert claim["compared"] == ["song - six"]
        assert claim["difference"]["gain_pp"] == pytest.approx(10)
        assert claim["difference"]["by_actor_pp"]["08"] == 0

    def test_different_training_actors_are_not_compared(self, study):
        study(("song", hits(8), *SONG_MODEL))
        corpus = {"kind": "ravdess", "faces": "pixels", "actors": {"train": ["12"], "val": ["09"], "test": ACTORS}}
        folder = study(("six", hits(5), "speech6", "mfcc", "dense"), corpus=corpus)
        claim = claim_of(folder, SONG)
        assert claim["difference"] is None
        assert "actors" in claim["verdict"]

    def test_random_splits_compare_the_actors_of_all_splits(self, study):
        study(("song", hits(8), *SONG_MODEL), protocol="random")
        actors = {"train": ACTORS, "val": [], "test": [*TRAINING_ACTORS, "09"]}  # in other splits than those of song
        corpus = {"kind": "ravdess", "faces": "pixels", "actors": actors}
        folder = study(("six", hits(5), "speech6", "mfcc", "dense"), protocol="random", corpus=corpus)
        assert claim_of(folder, SONG)["difference"]["gain_pp"] == pytest.approx(30)


def test_claims_without_runs_name_the_required_runs(study):
    folder = study(("a", hits(5), *MFCC))
    verdicts = [claim["verdict"] for claim in answer(load_runs(folder))]
    assert all(verdict.startswith("Not answered") for verdict in verdicts)
    assert "with transfer and its control" in verdicts[TRANSFER]
    assert "with MFCC and with LMFB" in verdicts[FRONT_END]


def test_few_actors_are_noted(study):
    few = {actor: 8 for actor in ACTORS[:5]}
    folder = study(("a", few, *MFCC), ("b", dict.fromkeys(few, 5), *LMFB))
    verdict = claim_of(folder, FRONT_END)["verdict"]
    assert "No significant difference" in verdict
    assert "+30.0" in verdict
    assert "fewer than 6 actors" in verdict


def test_a_single_actor(study):
    folder = study(("a", {"01": 8}, *MFCC), ("b", {"01": 5}, *LMFB))
    verdict = claim_of(folder, FRONT_END)["verdict"]
    assert verdict.startswith("No significant difference")
    assert all(words in verdict for words in ("+30.0 (interval impossible", "p 1.000, 1 actor."))
