"""Versions of installed libraries, and clear errors for libraries that cannot be imported."""

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from importlib import metadata

from packaging.requirements import Requirement

from crossmodal.errors import CrossmodalError, InstallationError

TORCH_SET = ("torch", "torchvision", "torchaudio")  # each release is built for one torch


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution without importing it, None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def requirements() -> list[Requirement]:
    """Return what crossmodal requires, a requirement for each extra; empty where crossmodal is not installed."""
    try:
        return [Requirement(line) for line in metadata.requires("crossmodal") or []]
    except metadata.PackageNotFoundError:
        return []


@contextlib.contextmanager
def import_errors() -> Iterator[None]:
    """Replace an exception that a library raises while it is imported.

    Raises:
        InstallationError: A library is missing or broken, or torch, torchvision and torchaudio do not fit each other.
            The message names the versions found and the command that repairs them.
    """
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
    """Write the message for torch, torchvision and torchaudio that cannot be imported together.

    Args:
        error: The exception of the import, or its text.
    """
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
    force = "--force-reinstall " if in_bounds else ""  # pip leaves a damaged file of the right version alone
    return (
        f"torch, torchvision and torchaudio cannot be imported together: {reason}\n"
        f"Found: {found}.\n"
        f"These belong together: {together}.\n"
        f"Install them: python -m pip install {force}{' '.join(repr(_bounds(one)) for one in wanted)}"
    )


def _bounds(requirement: Requirement) -> str:
    """Return a requirement as pip takes it, without its marker, lower bound first."""
    bounds = sorted(map(str, requirement.specifier), key=lambda bound: bound.startswith("<"))
    return requirement.name + ",".join(bounds)


def _explain(libraries: Sequence[str], error: Exception) -> str:
    """Write the message for any other library; the first one is what crossmodal imported."""
    broken = _distribution(libraries[-1])
    version = installed_version(broken)
    if version is None:
        return f"{broken} is not installed: {_one_line(error)}\nInstall it: python -m pip install {broken}"
    return (
        f"{broken} {version} is installed and cannot be imported: {_one_line(error)}\n"
        f"Reinstall it: python -m pip install --force-reinstall --no-deps {broken}"
    )


def _failed_libraries(error: Exception) -> list[str]:
    """Return the installed libraries whose import was under way, outermost first, then the missing module's."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name == "<module>")
    names = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in frames]
    known = metadata.packages_distributions()
    libraries = [name for name in dict.fromkeys(names) if name in known and name != "crossmodal"]
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return [*libraries, missing] if missing not in ("", "crossmodal", *libraries) else libraries


def _distribution(module: str) -> str:
    """Return the name of the distribution that a module comes from: opencv-python-headless for cv2."""
    return metadata.packages_distributions().get(module, [module])[0]


def _one_line(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}"
