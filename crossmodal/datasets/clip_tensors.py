"""Tensors stored by clip, such as face embeddings or teacher outputs, in a safetensors file that is read lazily."""

import contextlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from crossmodal.errors import DataError
from crossmodal.storage import atomic_path, hash_file, locked

_CHECKSUM = "crc32"
_UNREADABLE = (OSError, AttributeError, KeyError, TypeError, ValueError, SafetensorError)


class ClipTensors:
    """Lazily read tensors, whose first dimension is the clip, of a safetensors file written by `save`.

    Raises:
        DataError: If the file does not exist or has another format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with safe_open(self.path, framework="numpy") as file:
                self.about: dict[str, Any] = json.loads((file.metadata() or {})["about"])
                self.shapes = {name: tuple(file.get_slice(name).get_shape())[1:] for name in file.keys()}  # noqa: SIM118
            self.about.pop(_CHECKSUM, None)
            self._rows = {clip: row for row, clip in enumerate(self.about["clips"])}
        except _UNREADABLE as error:
            raise DataError(f"Cannot read {self.path} as tensors by clip: {error}") from error
        self._file: Any = None

    @property
    def clips(self) -> list[str]:
        """Names of the clips."""
        return list(self._rows)

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hash_file(self.path)

    def __contains__(self, clip: str) -> bool:
        return clip in self._rows

    def __getitem__(self, clip: str) -> dict[str, NDArray[np.generic]]:
        if self._file is None:  # each worker opens the file at its first read
            self._file = safe_open(self.path, framework="numpy").__enter__()
        row = self._rows[clip]
        return {name: self._file.get_slice(name)[row] for name in self.shapes}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    @staticmethod
    def save(path: Path, clips: Sequence[str], tensors: Mapping[str, NDArray[np.generic]], **about: Any) -> None:
        """Write tensors of shape (clips, ...), the names of the clips, and JSON metadata `about` their origin."""
        rows = {name: np.ascontiguousarray(value) for name, value in sorted(tensors.items())}
        about = {**about, "clips": list(clips)}
        with atomic_path(path) as temporary:
            metadata = {"about": json.dumps({**about, _CHECKSUM: _crc32(about, rows.items())})}
            save_file(rows, temporary, metadata)

    @staticmethod
    @contextlib.contextmanager
    def missing(path: Path, what: str) -> Iterator[bool]:
        """Yield True if the block must create a file, in a sub-folder of the cache; other processes that need it wait.

        `what` names the content in the message to waiting users.
        """
        message = f"{what}: waiting for another run that computes the same"
        with locked(path.parents[1] / "locks" / f"{path.stem}.lock", message=message):
            yield not ClipTensors.are_whole(path)

    @staticmethod
    def are_whole(path: Path) -> bool:
        """Return True if a file exists and its checksum is right; reads the whole file."""
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads(file.metadata()["about"])
                checksum = about.pop(_CHECKSUM)
                return bool(checksum == _crc32(about, ((name, file.get_tensor(name)) for name in sorted(file.keys()))))
        except _UNREADABLE:
            return False


def _crc32(about: dict[str, Any], tensors: Iterable[tuple[str, NDArray[np.generic]]]) -> int:
    """Return the CRC-32 of the metadata and all tensors."""
    checksum = zlib.crc32(json.dumps(about).encode())
    for name, tensor in tensors:
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tensor.shape}".encode(), checksum)
        checksum = zlib.crc32(tensor.data.cast("B") if tensor.size else b"", checksum)
    return checksum
