"""Content of a cache."""

from pathlib import Path


def arrays(folder: Path) -> dict[str, bytes]:
    """Return the content of all arrays by path; files with a leading dot are unfinished and ignored."""
    found = folder.rglob("*.npy")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if not path.name.startswith(".")}
