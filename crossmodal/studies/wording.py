"""What reports call a corpus and the people in it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_NAMES = {"synthetic": "Synthetic corpus", "ravdess": "RAVDESS"}  # in summaries that were written before they had names
_MOST = 24  # people who are named one by one: RAVDESS has as many


def corpus_name(corpus: Mapping[str, Any]) -> str:
    """What a corpus is called.

    Args:
        corpus: As in ``summary.json``.

    Example:
        >>> corpus_name({"kind": "ravdess"}), corpus_name({"kind": "manifest", "name": "cremad"})
        ('RAVDESS', 'cremad')
    """
    return str(corpus.get("name") or _NAMES[corpus["kind"]])


def corpus_and_channel(summary: Mapping[str, Any]) -> str:
    """A corpus with its channel, if it has one.

    Args:
        summary: Or anything with its ``corpus`` and ``channel``.

    Example:
        >>> corpus_and_channel({"corpus": {"kind": "ravdess"}, "channel": "song"})
        'RAVDESS, song'
    """
    return ", ".join(filter(None, (corpus_name(summary["corpus"]), summary["channel"])))


def protocol_name(summary: Mapping[str, Any]) -> str:
    """A protocol, with the number of its folds where that is no part of its name.

    Example:
        >>> protocol_name({"protocol": "grouped", "num_folds": 5}), protocol_name({"protocol": "seq6"})
        ('grouped (5 folds)', 'seq6')
    """
    folds = f" ({summary['num_folds']} folds)" if summary.get("num_folds") else ""
    return f"{summary['protocol']}{folds}"


def in_words_of(corpus: Mapping[str, Any], text: str) -> str:
    """A sentence about actors, which the people of a corpus need not be.

    Args:
        corpus: As in ``summary.json``.
        text: Of ours: no name of a file or a person is in it.

    Example:
        >>> in_words_of({"kind": "manifest"}, "Actors are drawn: each test actor once.")
        'Speakers are drawn: each test speaker once.'
    """
    if corpus["kind"] != "manifest":
        return text
    return re.sub(r"\b([Aa])ctor", lambda found: "Speaker" if found[1] == "A" else "speaker", text)


def named(people: Sequence[str]) -> str:
    """People one by one, or the first of many.

    Example:
        >>> named(["01", "02"]), named([str(number) for number in range(100, 300)])[-20:]
        ('01, 02', '2, 123, and 176 more')
    """
    more = f", and {len(people) - _MOST} more" if len(people) > _MOST else ""
    return ", ".join(people[:_MOST]) + more
