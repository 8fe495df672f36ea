"""What a cache holds."""

from pathlib import Path


def arrays(folder: Path) -> dict[str, bytes]:
    """What the cache holds, whoever wrote it; a name with a dot in front is a file that was never finished."""
    found = folder.rglob("*.npy")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found if not path.name.startswith(".")}
