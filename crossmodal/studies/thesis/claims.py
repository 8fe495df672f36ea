"""The three claims of the thesis, tested with the runs of a study of applications."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from crossmodal.datasets.splits.protocols import LABEL_SET_OF_CHANNEL
from crossmodal.evaluation.gain import LEAST_ACTORS, ByActor, Gain, decide, mean_gain
from crossmodal.evaluation.metrics import pool
from crossmodal.evaluation.report import probability, with_interval
from crossmodal.studies.finished import FinishedRun


class Claim(TypedDict):
    """A question and its answer from the runs under one protocol; `verdict` is a sentence.

    `difference` is None if no runs can be compared, `compared` names the comparisons, and `runs` counts the runs of the
    first side.
    """

    question: str
    protocol: str
    difference: Gain | None
    compared: list[str]
    runs: int
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """One application against another, or against its control, on matching runs; `sides` are by actor."""

    name: str
    runs: int
    sides: tuple[ByActor, ByActor]


@dataclass(frozen=True)
class Question:
    """A claim, the runs that it needs, its answer for each decision, and a function that finds its comparisons."""

    text: str
    needs: str
    more: str
    less: str
    undecided: str
    find: Callable[[Sequence[FinishedRun]], list[Comparison]]


def answer(runs: Sequence[FinishedRun]) -> list[Claim]:
    """Answer every question with the runs, one or more, under one protocol."""
    claims = []
    for question in QUESTIONS:
        comparisons = question.find(runs)
        difference = mean_gain([one.sides for one in comparisons]) if comparisons else None
        claims.append(
            Claim(
                question=question.text,
                protocol=runs[0].summary.protocol,
                difference=difference,
                compared=[one.name for one in comparisons],
                runs=sum(one.runs for one in comparisons),
                verdict=_verdict(question, difference),
            )
        )
    return claims


def _verdict(question: Question, difference: Gain | None) -> str:
    if difference is None:
        return f"Not answered: there are no finished runs of {question.needs}."
    answers = {"more": question.more, "less": question.less, "open": question.undecided}
    actors = f"{difference['actors']} actor{'s' if difference['actors'] > 1 else ''}"
    text = (
        f"{answers[decide(difference)]}: {with_interval(difference)} points of UAR, "
        f"p {probability(difference['p'])}, {actors}."
    )
    few = f" With fewer than {LEAST_ACTORS} actors p cannot be below 0.05."
    return text + few if difference["actors"] < LEAST_ACTORS else text


def _transfer(runs: Sequence[FinishedRun]) -> list[Comparison]:
    """Compare each student with its control."""
    students = [run for run in runs if run.last_stage == "finetune"]
    return _compare(students, students, lambda run: run.name, stage="finetune")


def _front_ends(runs: Sequence[FinishedRun]) -> list[Comparison]:
    """Compare MFCC with LMFB, with the same encoder on the same clips."""
    own = LABEL_SET_OF_CHANNEL.get  # a manifest has neither channel nor label set: its labels are its own
    voices = [run for run in _voices(runs) if run.summary.label_set == own(run.summary.channel or "")]
    first, second = ([run for run in voices if run.about["front_end"] == name] for name in ("mfcc", "lmfb"))
    return _compare(first, second, lambda run: (run.about["encoder"], run.summary.channel))


def _song_and_speech(runs: Sequence[FinishedRun]) -> list[Comparison]:
    """Compare song with speech in the emotions of song, with the same front end and encoder."""
    voices = _voices(runs)
    first, second = ([run for run in voices if run.summary.label_set == name] for name in ("song6", "speech6"))
    return _compare(first, second, lambda run: (run.about["front_end"], run.about["encoder"]))


def _compare(
    firsts: Sequence[FinishedRun],
    seconds: Sequence[FinishedRun],
    match: Callable[[FinishedRun], Hashable],
    stage: str = "control",
) -> list[Comparison]:
    """Compare the models of a stage with those of the stage ``control`` of matching applications, the first by name.

    Only runs with the same fold, seed and actors are compared.
    """
    ours, theirs = _by(match, firsts), _by(match, seconds)
    comparisons = []
    for key in [key for key in ours if key in theirs]:
        one, other = ours[key], theirs[key]
        both = [place for place in one if place in other and _people(one[place]) == _people(other[place])]
        one, other = ({place: side[place] for place in both} for side in (one, other))
        if one and other:
            names = [next(iter(side.values())).name for side in (one, other)]
            first, second = (
                pool([run.predictions[name].of("test") for run in side.values()]).confusion_by_actor()
                for side, name in ((one, stage), (other, "control"))
            )
            rival = names[1] if stage == "control" else "its control"
            comparisons.append(Comparison(f"{names[0]} - {rival}", len(one), (first, second)))
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
    actors: dict[str, list[str]] = run.summary.corpus["actors"]
    if run.summary.speaker_dependent:
        return {"all": sorted({actor for split in actors.values() for actor in split})}
    return actors


def _voices(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    return [run for run in runs if run.last_stage == "control"]


QUESTIONS = (
    Question(
        "Does transfer help?",
        needs="an application with transfer and its control",
        more="Transfer helps",
        less="Transfer harms",
        undecided="No significant effect of transfer",
        find=_transfer,
    ),
    Question(
        "Is MFCC better than LMFB?",
        needs="a voice alone with MFCC and with LMFB, the same encoder and channel, and the same actors",
        more="MFCC is better than LMFB",
        less="LMFB is better than MFCC",
        undecided="No significant difference between MFCC and LMFB",
        find=_front_ends,
    ),
    Question(
        "Is song easier than speech (the same six emotions and actors)?",
        needs="a voice alone on song6 and on speech6, the same front end, encoder, and actors in each split",
        more="Song is easier than speech",
        less="Speech is easier than song",
        undecided="No significant difference between song and speech",
        find=_song_and_speech,
    ),
)
