"""The three claims of the thesis, tested with the runs of a study of applications."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from crossmodal.datasets.splits.protocols import LABEL_SET_OF_CHANNEL
from crossmodal.evaluation.gain import (
    LEAST_ACTORS,
    ByActor,
    Gain,
    decide,
    mean_gain,
    mean_unpaired_gain,
)
from crossmodal.evaluation.metrics import pool
from crossmodal.studies.finished import FinishedRun
from crossmodal.studies.tables import probability, with_interval


class Claim(TypedDict):
    """A question and its answer from the runs under one protocol.

    `difference` is None if no runs can be compared, `compared` names the comparisons, `runs` counts the runs of the
    first side, and `verdict` is a sentence.
    """

    question: str
    protocol: str
    difference: Gain | None
    compared: list[str]
    runs: int
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """One application against another, or against its control, on matching runs.

    Args:
        name: The names of both sides.
        runs: The number of runs of the first.
        ours: Confusion matrices of the first, by actor.
        theirs: Confusion matrices of the other.
    """

    name: str
    runs: int
    ours: ByActor
    theirs: ByActor


@dataclass(frozen=True)
class Question:
    """A claim, and how to test it.

    Args:
        text: The question.
        more: The answer for a gain.
        less: The answer for a loss.
        undecided: The answer if neither can be claimed.
        needs: The runs that are required for an answer.
        find: Returns the possible comparisons of the runs of one protocol.
        paired: True if both sides have the same actors.
    """

    text: str
    more: str
    less: str
    undecided: str
    needs: str
    find: Callable[[Sequence[FinishedRun]], list[Comparison]]
    paired: bool = True


def answer(runs: Sequence[FinishedRun]) -> list[Claim]:
    """Answer every question with the runs under one protocol.

    Args:
        runs: One or more, all of the same protocol.
    """
    return [_answer(question, runs) for question in QUESTIONS]


def _answer(question: Question, runs: Sequence[FinishedRun]) -> Claim:
    comparisons = question.find(runs)
    measure = mean_gain if question.paired else mean_unpaired_gain
    pairs = [(one.ours, one.theirs) for one in comparisons]
    difference = measure(pairs) if pairs else None
    return Claim(
        question=question.text,
        protocol=runs[0].summary["protocol"],
        difference=difference,
        compared=[one.name for one in comparisons],
        runs=sum(one.runs for one in comparisons),
        verdict=_verdict(question, difference),
    )


def _verdict(question: Question, difference: Gain | None) -> str:
    if difference is None:
        return f"Not answered: there are no finished runs of {question.needs}."
    verdict = {"more": question.more, "less": question.less, "open": question.undecided}[decide(difference)]
    actors = f"{difference['actors']} actor{'s' if difference['actors'] > 1 else ''}"
    text = f"{verdict}: {with_interval(dict(difference))} points of UAR, p {probability(difference['p'])}, {actors}."
    few = question.paired and difference["actors"] < LEAST_ACTORS
    return f"{text} With fewer than {LEAST_ACTORS} actors p cannot be below 0.05." if few else text


def _transfer(runs: Sequence[FinishedRun]) -> list[Comparison]:
    """Compare each student with its control."""
    students = [run for run in runs if {"finetune", "control"} <= run.summary["stages"].keys()]
    by_name = _by(lambda run: run.name, students)
    return [
        Comparison(f"{name} - its control", len(those), _pooled(those, "finetune"), _pooled(those, "control"))
        for name, those in ((str(key), list(places.values())) for key, places in by_name.items())
    ]


def _front_ends(runs: Sequence[FinishedRun]) -> list[Comparison]:
    """Compare MFCC with LMFB, with the same encoder on the same clips."""
    own = LABEL_SET_OF_CHANNEL.get  # a manifest has neither channel nor label set: its labels are its own
    voices = [run for run in _voices(runs) if run.summary["label_set"] == own(run.summary["channel"])]
    first, second = ([run for run in voices if run.about["front_end"] == name] for name in ("mfcc", "lmfb"))
    return _compare(first, second, lambda run: (run.about["encoder"], run.summary["channel"]))


def _channels(runs: Sequence[FinishedRun], label_set: str, paired: bool) -> list[Comparison]:
    """Compare song with speech, with the same front end and encoder."""
    voices = _voices(runs)
    first, second = ([run for run in voices if run.summary["label_set"] == name] for name in ("song6", label_set))
    return _compare(first, second, lambda run: (run.about["front_end"], run.about["encoder"]), paired)


def _compare(
    first: Sequence[FinishedRun],
    second: Sequence[FinishedRun],
    match: Callable[[FinishedRun], Hashable],
    paired: bool = True,
) -> list[Comparison]:
    """Compare applications that match; if paired, only runs with the same fold, seed and actors.

    The first by name of several matching applications is used.
    """
    ours, theirs = _by(match, first), _by(match, second)
    comparisons = []
    for key in [key for key in ours if key in theirs]:
        one, other = ours[key], theirs[key]
        if paired:
            both = [place for place in one if place in other and _people(one[place]) == _people(other[place])]
            one, other = ({place: side[place] for place in both} for side in (one, other))
        if one and other:
            sides = [list(side.values()) for side in (one, other)]
            name = " - ".join(side[0].name for side in sides)
            comparisons.append(Comparison(name, len(sides[0]), *(_pooled(side, "control") for side in sides)))
    return comparisons


def _by(
    match: Callable[[FinishedRun], Hashable], runs: Sequence[FinishedRun]
) -> dict[Hashable, dict[tuple[int, int], FinishedRun]]:
    """Group runs by the key of `match`, then by fold and seed; each group is of one application."""
    names: dict[Hashable, str] = {}
    groups: dict[Hashable, dict[tuple[int, int], FinishedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.name, run.place)):
        if names.setdefault(match(run), run.name) == run.name:
            groups.setdefault(match(run), {})[run.place] = run
    return groups


def _people(run: FinishedRun) -> dict[str, list[str]]:
    """Return the actors of each split, or of all splits where clips are divided at random."""
    actors: dict[str, list[str]] = run.summary["corpus"]["actors"]
    if run.summary["speaker_dependent"]:
        return {"all": sorted({actor for split in actors.values() for actor in split})}
    return actors


def _voices(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    return [run for run in runs if run.last_stage == "control"]


def _pooled(runs: Sequence[FinishedRun], stage: str) -> ByActor:
    return pool([run.predictions(stage).of("test") for run in runs]).confusion_by_actor()


QUESTIONS = (
    Question(
        "Does transfer help?",
        more="Transfer helps",
        less="Transfer harms",
        undecided="No significant effect of transfer",
        needs="an application with transfer and its control",
        find=_transfer,
    ),
    Question(
        "Is MFCC better than LMFB?",
        more="MFCC is better than LMFB",
        less="LMFB is better than MFCC",
        undecided="No significant difference between MFCC and LMFB",
        needs="a voice alone with MFCC and with LMFB, the same encoder and channel, and the same actors",
        find=_front_ends,
    ),
    Question(
        "Is song easier than speech (the same six emotions and actors)?",
        more="Song is easier than speech",
        less="Speech is easier than song",
        undecided="No significant difference between song and speech",
        needs="a voice alone on song6 and on speech6, the same front end, encoder, and actors in each split",
        find=lambda runs: _channels(runs, "speech6", paired=True),
    ),
    Question(
        "Is song easier than speech (as in the thesis: six emotions against eight, chance 0.167 against 0.125)?",
        more="Song's UAR is above that of speech, which has two more emotions",
        less="Song's UAR is below that of speech",
        undecided="No significant difference between the UAR of song and speech",
        needs="a voice alone on song6 and on speech8, the same front end and encoder",
        find=lambda runs: _channels(runs, "speech8", paired=False),
        paired=False,
    ),
)
