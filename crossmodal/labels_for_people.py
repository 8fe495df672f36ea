"""Names of corpora, protocols and people in reports."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_NAMES = {"synthetic": "Synthetic corpus", "ravdess": "RAVDESS"}  # for summaries without a name
_MAX_NAMES = 24  # people listed by name, as many as RAVDESS has


def corpus_name(corpus: Mapping[str, Any]) -> str:
    """Return the name of a corpus.

    Args:
        corpus: Entry ``corpus`` of ``summary.json``.

    Example:
        >>> corpus_name({"kind": "ravdess"}), corpus_name({"kind": "manifest", "name": "cremad"})
        ('RAVDESS', 'cremad')
    """
    return str(corpus.get("name") or _NAMES[corpus["kind"]])


def corpus_and_channel(summary: Mapping[str, Any]) -> str:
    """Return the name of a corpus with its channel, if it has one.

    Args:
        summary: A summary, or another mapping with ``corpus`` and ``channel``.

    Example:
        >>> corpus_and_channel({"corpus": {"kind": "ravdess"}, "channel": "song"})
        'RAVDESS, song'
    """
    return ", ".join(filter(None, (corpus_name(summary["corpus"]), summary["channel"])))


def protocol_name(summary: Mapping[str, Any]) -> str:
    """Return the name of a protocol, with the number of folds if the name does not imply it.

    Example:
        >>> protocol_name({"protocol": "grouped", "num_folds": 5}), protocol_name({"protocol": "seq6"})
        ('grouped (5 folds)', 'seq6')
    """
    folds = f" ({summary['num_folds']} folds)" if summary.get("num_folds") else ""
    return f"{summary['protocol']}{folds}"


def format_for(corpus: Mapping[str, Any], text: str) -> str:
    """Replace "actor" by "speaker" for the corpus of a manifest.

    Args:
        corpus: Entry ``corpus`` of ``summary.json``.
        text: Text without names of files or people.

    Example:
        >>> format_for({"kind": "manifest"}, "Actors are drawn: each test actor once.")
        'Speakers are drawn: each test speaker once.'
    """
    if corpus["kind"] != "manifest":
        return text
    return re.sub(r"\b([Aa])ctor", lambda found: "Speaker" if found[1] == "A" else "speaker", text)


def named(people: Sequence[str]) -> str:
    """List people by name. A long list ends with the number of the others.

    Example:
        >>> named(["01", "02"]), named([str(number) for number in range(100, 300)])[-20:]
        ('01, 02', '2, 123, and 176 more')
    """
    more = f", and {len(people) - _MAX_NAMES} more" if len(people) > _MAX_NAMES else ""
    return ", ".join(people[:_MAX_NAMES]) + more
