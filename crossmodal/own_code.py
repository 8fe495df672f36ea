"""The user's own classes: their import by path, the trust that files with such a path need, and their errors."""

import contextlib
import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from crossmodal.errors import ConfigError, CrossmodalError, UntrustedCodeError

_NOT_OWN = {"crossmodal", "lightning", "timm", "torch", "torchaudio", "torchmetrics", "torchvision"}
_trusting: ContextVar[bool] = ContextVar("trusting", default=False)
_untrusted: ContextVar[str | None] = ContextVar("untrusted", default=None)  # file that is being loaded


@contextlib.contextmanager
def trusting(trusted: bool = True) -> Iterator[None]:
    """Inside the block or the decorated function, trust the class paths in files, or do not trust them."""
    token = _trusting.set(trusted)
    try:
        yield
    finally:
        _trusting.reset(token)


@contextlib.contextmanager
def own_code_of(source: str | Path) -> Iterator[None]:
    """Inside the block, refuse to import class paths, which `source` names, unless `trusting`."""
    token = _untrusted.set(_untrusted.get() if _trusting.get() else str(source))
    try:
        yield
    finally:
        _untrusted.reset(token)


@contextlib.contextmanager
def own_errors(what: str) -> Iterator[None]:
    """Convert errors of the user's code, which may be of any type, to ConfigError; `what` begins its message."""
    try:
        yield
    except CrossmodalError:
        raise
    except Exception as error:
        raise ConfigError(f"{what}: {type(error).__name__}: {error}") from error


def is_class_path(name: str) -> bool:
    """Return True for ``module.Class``, and False for a short name or the name of a timm model."""
    return "." in name and all(part.isidentifier() for part in name.split("."))


def class_path_of(made: Any) -> str:
    """Return the path under which a class is imported."""
    return f"{made.__module__}.{made.__qualname__}"


def import_class(kind: str, path: str) -> Any:
    """Import a class by its path.

    Raises:
        UntrustedCodeError: If a file that is not trusted names it.
        ConfigError: If there is no such module or class, or the module cannot be imported.
    """
    module_name, _, name = path.rpartition(".")
    _check_trust(kind, path, module_name)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # importing runs the user's code
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"The {kind} {path!r} cannot be imported: there is no module {error.name!r} in this folder, "
                f"{Path.cwd()}, or elsewhere on Python's path: {', '.join(filter(None, sys.path))}."
            ) from error
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"The {kind} {path!r} cannot be imported: {type(error).__name__}: {error} ({last.filename}, line "
            f"{last.lineno})."
        ) from error
    made = getattr(module, name, None)
    if not isinstance(made, type):
        problem = "has no class" if made is None else "defines something else than a class as"
        raise ConfigError(
            f"The {kind} {path!r} cannot be imported: the module {module_name} ({getattr(module, '__file__', '')}) "
            f"{problem} {name!r}."
        )
    _check_trust(kind, path, made.__module__)  # a module of ours also holds classes that it imports
    return made


def _check_trust(kind: str, path: str, module_name: str) -> None:
    """Raise UntrustedCodeError if a file that is not trusted names a class of a module outside of crossmodal."""
    source = _untrusted.get()
    if source is not None and module_name.partition(".")[0] != "crossmodal":
        raise UntrustedCodeError(
            f"{source} uses the {kind} {path}, which is not part of crossmodal. Loading it would run the code of the "
            f"module {module_name}. If you trust that code, pass trust_own_code=True; to a command, --trust_own_code. "
            "Functions without this argument trust it inside of `with crossmodal.own_code.trusting():`."
        )


def own_sources(objects: Iterable[object]) -> dict[str, str]:
    """Return the modules that define the classes of objects outside of our dependencies, with hashes of their sources.

    A key of a stored result includes them, so that the result is computed again after a change of the code.
    """
    classes = {made for one in objects for made in type(one).__mro__}
    own = {made for made in classes if made.__module__.partition(".")[0] not in _NOT_OWN | sys.stdlib_module_names}
    sources: dict[str, str] = {}
    for made in sorted(own, key=class_path_of):  # a notebook has several classes in one module
        before = sources.get(made.__module__, "").encode()
        sources[made.__module__] = hashlib.sha256(before + _source(made)).hexdigest()
    return sources


def _source(made: type) -> bytes:
    """Return the source of a class's module; without a file, as in a notebook, the compiled methods of the class."""
    try:
        return Path(inspect.getfile(made)).read_bytes()
    except (OSError, TypeError):
        methods = [method.__code__ for method in vars(made).values() if inspect.isfunction(method)]
        return repr([(code.co_code, code.co_names, code.co_consts) for code in methods]).encode()
