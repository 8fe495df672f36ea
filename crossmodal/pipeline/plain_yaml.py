"""YAML as it is read here: how much it stands for is counted before anything is made of it.

By anchors a file of a kilobyte can stand for a thousand million values, or hold itself: who walks through it never
comes to an end. And a file that opens a hundred thousand brackets has libyaml end the process.
"""

from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

PLAIN_YAML = "plain_yaml"  # as jsonargparse calls it
_MOST_VALUES, _MOST_LEVELS = 100_000, 100


def load_yaml(text: str) -> Any:
    """Load YAML as jsonargparse does, who reads 1e-3 as a number and leaves dates as text.

    Raises:
        yaml.YAMLError: It is none, or holds itself, too many values or too many levels.
    """
    _check_size(text)
    try:
        return get_loader("yaml")(text)
    except (ValueError, TypeError, AttributeError) as error:  # a number of 5,000 digits; a key that is a list
        raise yaml.YAMLError(str(error)) from error


def _check_size(text: str) -> None:
    """Count values, those that anchors stand for too; one that is asked for within itself is infinitely many."""
    known: dict[str | None, float] = {}
    parts: list[tuple[str | None, float]] = [(None, 0)]  # that are open, and the values in each so far
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            parts.append((event.anchor, 1))
            known[event.anchor] = float("inf")
            if len(parts) > _MOST_LEVELS:
                raise yaml.YAMLError(f"it has more than {_MOST_LEVELS} levels")
            continue
        anchor, values = getattr(event, "anchor", None), float(isinstance(event, yaml.ScalarEvent))
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, values = parts.pop()
        elif isinstance(event, yaml.AliasEvent):
            values = known.get(anchor, 0)
        known[anchor] = values
        parts[-1] = parts[-1][0], parts[-1][1] + values
        if parts[-1][1] > _MOST_VALUES:
            raise yaml.YAMLError(f"it holds itself, or more than {_MOST_VALUES:,} values, its anchors written out")


set_loader(PLAIN_YAML, load_yaml, exceptions=(yaml.YAMLError,))
