"""Creation of objects from names and keyword arguments, with helpful errors for typos."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_args

from crossmodal.errors import ConfigError

Made = TypeVar("Made")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a sentence with the most similar known words, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def lookup(kind: str, table: Mapping[Any, Made], name: str) -> Made:
    """Return the entry of a name in a table; raise ConfigError, with the kind of entry, if it is unknown."""
    if name not in table:
        raise ConfigError(f"Unknown {kind} {name!r}. Known: {', '.join(table)}.{suggestion(name, table)}")
    return table[name]


def call_with_known(kind: str, make: Callable[..., Made], given: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Made:
    """Call with our arguments `given` and the user's `kwargs`; raise ConfigError if the user gives an unknown one.

    Own arguments that the callable does not take are ignored. A user's None stands for the default, unless the
    parameter is annotated to accept None.
    """
    parameters = _parameters(make)
    accepted = [name for name in parameters if name not in given]
    for name in kwargs:
        if name not in accepted:
            raise ConfigError(
                f"The {kind} takes no argument {name!r}. Accepted: {', '.join(accepted)}.{suggestion(name, accepted)}"
            )
    ours = {name: value for name, value in given.items() if name in parameters}
    return make(**ours, **_without_none(parameters, kwargs))


def create(
    kind: str, table: Mapping[Any, Callable[..., Made]], name: str, given: Mapping[str, Any], kwargs: Mapping[str, Any]
) -> Made:
    """Create an object by its name in a table; `lookup` and `call_with_known` describe arguments and errors."""
    return call_with_known(f"{kind} {name!r}", lookup(kind, table, name), given, kwargs)


def with_defaults(make: Callable[..., Any], kwargs: Mapping[str, Any], ours: Iterable[str]) -> dict[str, Any]:
    """Return arguments without `ours`, completed with defaults: a later change of a default changes no stored model.

    Tuples become lists, as in JSON. See `call_with_known`.

    Examples:
        >>> with_defaults(lambda size, depth=2, width=8: None, {"width": 16}, ours=["size"])
        {'depth': 2, 'width': 16}
    """
    parameters = _parameters(make)
    defaults = {name: parameter.default for name, parameter in parameters.items() if name not in ours}
    spelled_out = defaults | _without_none(parameters, kwargs)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in spelled_out.items()}


def _parameters(make: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters; for ``**kwargs`` of a class, those of its base class."""
    parameters = dict(inspect.signature(make).parameters)
    if isinstance(make, type) and "kwargs" in parameters:
        del parameters["kwargs"]
        parameters = {**parameters, **_parameters(make.__mro__[1]), **parameters}  # in the order of the class
    return parameters


def _without_none(parameters: Mapping[str, inspect.Parameter], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Remove arguments that are None, unless the parameter is annotated to accept None."""
    return {
        name: value
        for name, value in kwargs.items()
        if value is not None or type(None) in get_args(parameters[name].annotation)
    }
