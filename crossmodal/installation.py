"""Versions of installed libraries, and clear errors for libraries that cannot be imported."""

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from importlib import metadata

from packaging.requirements import Requirement

from crossmodal.errors import CrossmodalError, InstallationError

TORCH_SET = ("torch", "torchvision", "torchaudio")  # each release is built for one release of torch


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution without importing it; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def requirements() -> list[Requirement]:
    """Return the requirements of crossmodal and its extras; empty if crossmodal is not installed."""
    try:
        return [Requirement(line) for line in metadata.requires("crossmodal") or []]
    except metadata.PackageNotFoundError:
        return []


@contextlib.contextmanager
def import_errors() -> Iterator[None]:
    """Convert exceptions that a library raises during its import to InstallationError, which names the remedy."""
    try:
        yield
    except CrossmodalError:
        raise
    except Exception as error:
        libraries = _failed_libraries(error)
        if not libraries:
            raise
        is_torch_set = any(name in TORCH_SET for name in libraries)
        raise InstallationError(explain_torch_set(error) if is_torch_set else _explain(libraries, error)) from error


def explain_torch_set(error: Exception | str) -> str:
    """Return the error message for torch, torchvision and torchaudio that cannot be imported together."""
    required = {one.name: one for one in requirements()}
    wanted = [required.get(name, Requirement(name)) for name in TORCH_SET]
    versions = [installed_version(name) for name in TORCH_SET]
    found = ", ".join(f"{name} {version or '(missing)'}" for name, version in zip(TORCH_SET, versions, strict=True))
    in_bounds = all(
        version and one.specifier.contains(version, prereleases=True)
        for one, version in zip(wanted, versions, strict=True)
    )
    reason = error if isinstance(error, str) else _one_line(error)
    together = ", ".join(_bounds(one) for one in wanted)
    force = "--force-reinstall " if in_bounds else ""  # pip skips a damaged distribution of the right version
    return (
        f"torch, torchvision and torchaudio cannot be imported together: {reason}\n"
        f"Found: {found}.\n"
        f"Compatible: {together}.\n"
        f"Install them: python -m pip install {force}{' '.join(repr(_bounds(one)) for one in wanted)}"
    )


def _bounds(requirement: Requirement) -> str:
    """Return a requirement in pip's format, without its marker, lower bound first."""
    bounds = sorted(map(str, requirement.specifier), key=lambda bound: bound.startswith("<"))
    return requirement.name + ",".join(bounds)


def _explain(libraries: Sequence[str], error: Exception) -> str:
    """Return the error message for any other library; the first one is the one that crossmodal imported."""
    broken = _distribution(libraries[-1])
    version = installed_version(broken)
    if version is None:
        return f"{broken} is not installed: {_one_line(error)}\nInstall it: python -m pip install {broken}"
    return (
        f"{broken} {version} is installed but cannot be imported: {_one_line(error)}\n"
        f"Reinstall it: python -m pip install --force-reinstall --no-deps {broken}"
    )


def _failed_libraries(error: Exception) -> list[str]:
    """Return the installed libraries that were being imported, outermost first, then that of the missing module."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>")
    names = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in frames]
    known = metadata.packages_distributions()
    libraries = [name for name in dict.fromkeys(names) if name in known and name != "crossmodal"]
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return [*libraries, missing] if missing not in ("", "crossmodal", *libraries) else libraries


def _distribution(module: str) -> str:
    """Return the distribution of a module, such as opencv-python-headless for cv2."""
    return metadata.packages_distributions().get(module, [module])[0]


def _one_line(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}"
