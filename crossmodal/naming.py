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
        path = class_path_of(given if hasattr(given, "__qualname__") else made)  # of a function, its own
        return cls(kind, builtin or path, made, dict(kwargs or {}), instance)

    def create(self, ours: Mapping[str, Any], width: str | None = None) -> Any:
        """Return the instance, or create it with our arguments, those that it takes, and those of the user.

        A user's None stands for the default, unless the parameter is annotated to accept None.

        Raises:
            ConfigError: If an argument does not exist or is missing, if the instance has another value of ours, or if
                it has no attribute `width`, the size of its output.
        """
        made = self.instance
        if made is None:
            made = self.make(**self._arguments(ours))
        elif wrong := [name for name, value in ours.items() if getattr(made, name, value) != value]:
            found, wanted = getattr(made, wrong[0]), ours[wrong[0]]
            raise ConfigError(f"{wrong[0]} of the {self.kind} {self.name} is {found}, but must be {wanted}.")
        if width and not isinstance(getattr(made, width, None), int):
            raise ConfigError(
                f"The {self.kind} {self.name} has no {width}: set self.{width} to the width of its output."
            )
        return made

    def _arguments(self, ours: Mapping[str, Any]) -> dict[str, Any]:
        parameters, what = _parameters(self.make), f"The {self.kind} {self.name!r}"
        accepted = [name for name in parameters if name not in ours]
        kwargs = {
            name: value for name, value in self.kwargs.items() if name not in ours or value not in (None, ours[name])
        }
        if unknown := [name for name in kwargs if name not in accepted]:
            known = f"Accepted: {', '.join(accepted)}.{suggestion(unknown[0], accepted)}"
            raise ConfigError(f"{what} takes no argument {unknown[0]!r}. {known}")
        arguments = {name: ours[name] for name in ours if name in parameters} | _without_none(parameters, kwargs)
        missing = [name for name, one in parameters.items() if one.default is one.empty and name not in arguments]
        if missing:
            raise ConfigError(f"{what} needs a value for its argument {missing[0]!r}.")
        return arguments

    def stored_kwargs(self, ours: Iterable[str]) -> dict[str, Any]:
        """Return the arguments as JSON values, without `ours`, to create the part again.

        Defaults are included, so that a later change of one changes no stored model.

        Raises:
            ConfigError: If a file cannot hold the class or an argument.
        """
        problem, module = f"The {self.kind} cannot be saved", sys.modules.get(self.make.__module__)
        if self.name == class_path_of(self.make) and not hasattr(module, self.make.__qualname__):
            advice = "Define the class at the top level of a module."
            raise ConfigError(f"{problem}: {self.name} cannot be imported. {advice}")
        parameters = {name: one for name, one in _parameters(self.make).items() if name not in {*ours}}
        if self.instance is None:
            values = {name: one.default for name, one in parameters.items()} | _without_none(parameters, self.kwargs)
            return {name: stored(value) for name, value in values.items()}
        # `reduction` of a loss of torch replaces two older arguments.
        names = [name for name in parameters if name not in ("size_average", "reduce")]
        if missing := [name for name in names if not hasattr(self.instance, name)]:
            raise ConfigError(
                f"{problem}: a {self.name} has no attribute {missing[0]!r}, so the value of its argument is unknown. "
                f"Set self.{missing[0]} in its __init__, or pass the class and its arguments instead of an object."
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
        return class_path_of(value) if isinstance(value, type) else str(value)
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
    found = dict(inspect.signature(make).parameters)
    named = {name: one for name, one in found.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
    if isinstance(make, type) and any(one.kind is one.VAR_KEYWORD for one in found.values()):
        named = {**named, **_parameters(make.__mro__[1]), **named}  # in the order of the class
    return named


def _without_none(parameters: Mapping[str, inspect.Parameter], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Remove arguments that are None, unless the parameter has no annotation or is annotated to accept None."""

    def accepts_none(annotation: Any) -> bool:
        as_text = isinstance(annotation, str) and re.search("None|Optional|Any", annotation)
        return annotation in (inspect.Parameter.empty, Any) or type(None) in get_args(annotation) or bool(as_text)

    return {name: one for name, one in kwargs.items() if one is not None or accepts_none(parameters[name].annotation)}
