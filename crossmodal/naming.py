"""From a name and keyword arguments to an object, with errors that help whoever mistyped either."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_args

from crossmodal.errors import ConfigError

Made = TypeVar("Made")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Write the sentence that names the nearest known words, empty if none is near.

    Example:
        >>> suggestion("ltsm", ["cnn", "dense", "lstm"])
        " Did you mean 'lstm'?"
    """
    near = difflib.get_close_matches(word, list(known), n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def look_up(kind: str, table: Mapping[Any, Made], name: str) -> Made:
    """Take a name's entry out of a table.

    Args:
        kind: What the table holds, for the error.
        table: From name to entry.
        name: The name.

    Returns:
        The entry.

    Raises:
        ConfigError: The table has no such name.
    """
    if name not in table:
        raise ConfigError(f"Unknown {kind} {name!r}. Known: {', '.join(table)}.{suggestion(name, table)}")
    return table[name]


def call_with_known(kind: str, make: Callable[..., Made], given: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Made:
    """Call with what we give and what the user gives, of which None means the default where None is no value.

    Args:
        kind: What is made, for the error.
        make: What to call.
        given: Arguments that are ours to give.
        kwargs: Arguments of the user's.

    Returns:
        What the call returns.

    Raises:
        ConfigError: The user gives an argument that there is not.
    """
    accepted = [name for name in inspect.signature(make).parameters if name not in given]
    for name in kwargs:
        if name not in accepted:
            raise ConfigError(
                f"The {kind} takes no argument {name!r}. Accepted: {', '.join(accepted)}.{suggestion(name, accepted)}"
            )
    return make(**given, **_set(make, kwargs))


def with_defaults(make: Callable[..., Any], kwargs: Mapping[str, Any], ours: Iterable[str]) -> dict[str, Any]:
    """Spell out the arguments that a call leaves to their defaults, so that a later default changes no stored model.

    Args:
        make: What is called.
        kwargs: The arguments given; None means the default where None is no value.
        ours: Arguments to leave out.

    Returns:
        Every optional argument with its value, tuples as lists: as JSON has them.

    Example:
        >>> with_defaults(lambda size, depth=2, width=8: None, {"width": 16}, ours=["size"])
        {'depth': 2, 'width': 16}
    """
    parameters = inspect.signature(make).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters if parameter.name not in ours}
    spelled_out = defaults | _set(make, kwargs)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in spelled_out.items()}


def _set(make: Callable[..., Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the None of an argument that is not annotated to take it."""
    parameters = inspect.signature(make).parameters
    return {
        name: value
        for name, value in kwargs.items()
        if value is not None or type(None) in get_args(parameters[name].annotation)
    }
