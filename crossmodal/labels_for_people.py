"""Names of corpora, protocols and people in reports."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

_NAMES = {"synthetic": "Synthetic corpus", "ravdess": "RAVDESS"}  # for summaries without a name
_MAX_NAMES = 24  # people listed by name, as many as RAVDESS has
NO_INTERVAL = "impossible with fewer than 3 people"


def corpus_name(corpus: Mapping[str, Any], channel: str | None = None) -> str:
    """Return the name of a corpus in ``summary.json``, with its channel if it has one, such as ``RAVDESS, song``."""
    return ", ".join(filter(None, (str(corpus.get("name") or _NAMES[corpus["kind"]]), channel)))


def protocol_name(protocol: str, num_folds: int | None = None) -> str:
    """Return the name of a protocol, with the number of folds if it is given, such as ``grouped (5 folds)``."""
    return f"{protocol} ({num_folds} folds)" if num_folds else protocol


def format_for(corpus: Mapping[str, Any], text: str) -> str:
    """Replace "actor" by "speaker" for the corpus of a manifest; the text must have no names of files or people."""
    if corpus["kind"] != "manifest":
        return text
    return re.sub(r"\b([Aa])ctor", lambda found: "Speaker" if found[1] == "A" else "speaker", text)


def list_names(people: Sequence[str]) -> str:
    """List people by name. A long list ends with the number of the others."""
    more = f", and {len(people) - _MAX_NAMES} more" if len(people) > _MAX_NAMES else ""
    return ", ".join(people[:_MAX_NAMES]) + more


def in_ranges(people: Sequence[str]) -> str:
    """List people by name, with consecutive numbers as ranges; a long list is cut.

    Examples:
        >>> in_ranges(["01", "02", "03", "07", "08"]), in_ranges(["Joey", "Ross"])
        ('01 to 03, 07, 08', 'Joey, Ross')
    """
    groups: list[list[str]] = []
    for name in people:
        previous = groups[-1][-1] if groups else ""
        if name.isdecimal() and previous.isdecimal() and int(name) == int(previous) + 1:
            groups[-1].append(name)
        else:
            groups.append([name])
    return list_names([f"{group[0]} to {group[-1]}" if len(group) > 2 else ", ".join(group) for group in groups])


def counted(name: str, numbers: Sequence[int]) -> str:
    """Return the name of folds or seeds with their numbers, such as ``folds 0, 1`` or ``seed 3``."""
    return f"{name.removesuffix('s') if len(numbers) == 1 else name} {', '.join(map(str, numbers))}"


def interval_text(bounds: Sequence[float] | None, form: str = "{:.3f} to {:.3f}", factor: float = 1) -> str:
    """Format an interval, multiplied by a factor; None is that of too few people."""
    return NO_INTERVAL if bounds is None else form.format(*(factor * bound for bound in bounds))
