"""Creation of objects from names and keyword arguments, with helpful errors for typos."""

import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar, get_args

from crossmodal.errors import ConfigError
from crossmodal.own_code import class_path_of, import_class, is_class_path

Made = TypeVar("Made")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a sentence with the most similar known words, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def lookup(kind: str, table: Mapping[Any, Made], name: str, advice: str = "") -> Made:
    """Return the entry of a name in a table; raise ConfigError, with the kind of entry, if it is unknown."""
    if name not in table:
        known = f" Known: {', '.join(table)}." if table else ""
        raise ConfigError(f"Unknown {kind} {name!r}.{known}{suggestion(name, table)}{advice}")
    return table[name]


def call_with_known(kind: str, make: Callable[..., Made], given: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Made:
    """Call with our arguments `given` and the user's `kwargs`; raise ConfigError if the user gives an unknown one.

    Our arguments that the callable does not take are ignored. A user's None stands for the default, unless the
    parameter is annotated to accept None.
    """
    parameters = _parameters(make)
    accepted = [name for name in parameters if name not in given]
    kwargs = {name: value for name, value in kwargs.items() if name not in given or value not in (None, given[name])}
    for name in kwargs:
        if name not in accepted:
            raise ConfigError(
                f"The {kind} takes no argument {name!r}. Accepted: {', '.join(accepted)}.{suggestion(name, accepted)}"
            )
    ours = {name: value for name, value in given.items() if name in parameters}
    arguments = ours | _without_none(parameters, kwargs)
    missing = [name for name, one in parameters.items() if one.default is one.empty and name not in arguments]
    if missing:
        raise ConfigError(f"The {kind} needs a value for its argument {missing[0]!r}.")
    return make(**arguments)


def with_defaults(make: Callable[..., Any], kwargs: Mapping[str, Any], ours: Iterable[str]) -> dict[str, Any]:
    """Return arguments without `ours`, completed with defaults: a later change of a default changes no stored model.

    Values are those of JSON: tuples become lists, and classes and modules `stored` parts. See `call_with_known`.

    Examples:
        >>> with_defaults(lambda size, depth=2, width=8: None, {"width": 16}, ours=["size"])
        {'depth': 2, 'width': 16}
    """
    parameters = _parameters(make)
    defaults = {name: parameter.default for name, parameter in parameters.items() if name not in ours}
    spelled_out = defaults | _without_none(parameters, kwargs)
    return {name: stored(value) for name, value in spelled_out.items()}


@dataclass(frozen=True)
class Part:
    """A part of a model as the user gives it: a built-in name, a class path, a class or an instance.

    Examples:
        >>> part = Part.parse("number", {"int": int}, "fractions.Fraction", {"numerator": 3})
        >>> part.name, part.create({"denominator": 4})
        ('fractions.Fraction', Fraction(3, 4))
    """

    kind: str  # for messages, such as "audio encoder"
    name: str  # built-in, or the path of the class
    make: Callable[..., Any]
    kwargs: dict[str, Any]  # of the user
    instance: Any = None  # if it was given, it is used as it is

    @classmethod
    def parse(
        cls,
        kind: str,
        table: Mapping[Any, Callable[..., Any]],
        given: Any,
        kwargs: Mapping[str, Any] | None = None,
        base: type = object,
    ) -> "Part":
        """Parse a name of the table, ``module.Class``, ``{class_path, init_args}``, a class, or an instance of `base`.

        ``init_args`` and `kwargs` are merged.

        Raises:
            ConfigError: If it is none of these, or the class cannot be imported or is not a subclass of `base`.
            UntrustedCodeError: If a file that is not trusted names a class of the user.
        """
        if isinstance(given, Part):
            return given
        if isinstance(given, partial):  # from jsonargparse: its instantiators, and the class
            made = next((one for one in given.args if isinstance(one, type)), given.func)
            return cls.parse(kind, table, made, {**given.keywords, **(kwargs or {})}, base)
        if isinstance(given, Mapping):
            if given.keys() - {"init_args"} != {"class_path"}:
                raise ConfigError(f"The {kind} must have the keys class_path and init_args, got {dict(given)}.")
            kwargs = {**(given.get("init_args") or {}), **(kwargs or {})}
            given = given["class_path"]
        if isinstance(given, str):
            if not is_class_path(given):
                advice = " To use your own class, give its path, such as my_module.MyClass."
                return cls(kind, given, lookup(kind, table, given, advice), dict(kwargs or {}))
            given = import_class(kind, given)
        made = given if isinstance(given, type) else type(given)
        if not issubclass(made, base):
            raise ConfigError(
                f"The {kind} must be a name, a class path, or a subclass or an instance of {base.__name__}, got "
                f"{given!r:.200}."
            )
        builtin = next((str(name) for name, entry in table.items() if entry is made), None)
        instance = None if made is given else given
        if instance is not None and kwargs:
            raise ConfigError(f"The {kind} is an object, so it takes no arguments: remove {', '.join(kwargs)}.")
        return cls(kind, builtin or class_path_of(made), made, dict(kwargs or {}), instance)

    def create(self, ours: Mapping[str, Any], width: str | None = None) -> Any:
        """Return the instance, or create it with our arguments, those that it takes, and those of the user.

        Raises:
            ConfigError: If an argument does not exist or is missing, if the instance has another value of ours, or if
                it has no attribute `width`, the size of its output.
        """
        made = self.instance
        if made is None:
            made = call_with_known(f"{self.kind} {self.name!r}", self.make, ours, self.kwargs)
        for name, value in ours.items():
            if self.instance is not None and getattr(made, name, value) != value:
                raise ConfigError(
                    f"{name} of the {self.kind} {self.name} is {getattr(made, name)}, but must be {value}."
                )
        if width and not isinstance(getattr(made, width, None), int):
            raise ConfigError(
                f"The {self.kind} {self.name} has no {width}: set self.{width} to the width of its output."
            )
        return made

    def stored_kwargs(self, ours: Iterable[str]) -> dict[str, Any]:
        """Return the arguments as JSON values, with defaults and without `ours`, to create the part again.

        Raises:
            ConfigError: If a file cannot hold the class or an argument.
        """
        module = sys.modules.get(self.make.__module__)
        if self.name == class_path_of(self.make) and not hasattr(module, self.make.__qualname__):
            raise ConfigError(
                f"The {self.kind} cannot be saved: {self.name} cannot be imported. Define the class at the top level "
                "of a module."
            )
        if self.instance is None:
            return with_defaults(self.make, self.kwargs, ours)
        # `reduction` of a loss of torch replaces two older arguments.
        names = [name for name in _parameters(self.make) if name not in {*ours, "size_average", "reduce"}]
        if missing := [name for name in names if not hasattr(self.instance, name)]:
            raise ConfigError(
                f"The {self.kind} cannot be saved: a {self.name} has no attribute {missing[0]!r}, so the value of its "
                f"argument is unknown. Set self.{missing[0]} in its __init__, or pass the class and its arguments "
                "instead of an object."
            )
        return {name: stored(getattr(self.instance, name)) for name in names}


def stored(value: Any) -> Any:
    """Return a value of an argument as JSON: tuples become lists, and a class or module ``{class_path, init_args}``.

    Raises:
        ConfigError: If JSON cannot hold it.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): stored(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [stored(one) for one in value]
    if isinstance(value, PurePath | type):
        return str(value) if isinstance(value, PurePath) else class_path_of(value)
    part = Part("argument", class_path_of(type(value)), type(value), {}, value)
    try:
        return {"class_path": part.name, "init_args": part.stored_kwargs([])}
    except ValueError as error:  # a class of C without a signature
        raise ConfigError(f"An argument cannot be saved: {value!r:.100} is not a value of JSON.") from error


def readable(value: Any) -> Any:
    """Return the `stored` form of a value, for a log, or its text if there is none."""
    try:
        return stored(value)
    except ConfigError:
        return repr(value)


def _parameters(make: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters; for ``**kwargs`` of a class, those of its base class."""
    parameters = dict(inspect.signature(make).parameters)
    variable = {name: one.kind for name, one in parameters.items() if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    for name in variable:
        del parameters[name]
    if isinstance(make, type) and inspect.Parameter.VAR_KEYWORD in variable.values():
        parameters = {**parameters, **_parameters(make.__mro__[1]), **parameters}  # in the order of the class
    return parameters


def _without_none(parameters: Mapping[str, inspect.Parameter], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Remove arguments that are None, unless the parameter has no annotation or is annotated to accept None."""

    def accepts_none(annotation: Any) -> bool:
        as_text = isinstance(annotation, str) and re.search("None|Optional|Any", annotation)
        return annotation in (inspect.Parameter.empty, Any) or type(None) in get_args(annotation) or bool(as_text)

    return {name: one for name, one in kwargs.items() if one is not None or accepts_none(parameters[name].annotation)}
