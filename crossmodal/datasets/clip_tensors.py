"""Tensors stored by clip: face embeddings, face features, teacher outputs. One safetensors file, read lazily."""

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

_SUM = "crc32"
_UNREADABLE = (OSError, AttributeError, KeyError, TypeError, ValueError, SafetensorError)


class ClipTensors:
    """A file of tensors whose first dimension is the clip; rows are read when asked for.

    Args:
        path: The safetensors file, as `save` writes it.

    Raises:
        DataError: There is no such file, or it is not one of ours.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with safe_open(self.path, framework="numpy") as file:
                self.about: dict[str, Any] = json.loads((file.metadata() or {})["about"])
                self.shapes = {name: tuple(file.get_slice(name).get_shape())[1:] for name in file.keys()}  # noqa: SIM118
            self.about.pop(_SUM, None)
            self._rows = {clip: row for row, clip in enumerate(self.about["clips"])}
        except _UNREADABLE as error:
            raise DataError(
                f"{self.path} is not a file of tensors by clip, as crossmodal writes it: {error}"
            ) from error
        self._file: Any = None

    @property
    def clips(self) -> list[str]:
        """The clips that the file holds."""
        return list(self._rows)

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        return hash_file(self.path)

    def __contains__(self, clip: str) -> bool:
        return clip in self._rows

    def __getitem__(self, clip: str) -> dict[str, NDArray[np.generic]]:
        if self._file is None:  # opened by each worker for itself, and not before it reads
            self._file = safe_open(self.path, framework="numpy").__enter__()
        row = self._rows[clip]
        return {name: self._file.get_slice(name)[row] for name in self.shapes}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    @staticmethod
    def save(path: Path, clips: Sequence[str], tensors: Mapping[str, NDArray[np.generic]], **about: Any) -> None:
        """Write tensors of shape (clips, ...) with the clips' names and whatever JSON says where they came from."""
        rows = {name: np.ascontiguousarray(value) for name, value in sorted(tensors.items())}
        about = {**about, "clips": list(clips)}
        with atomic_path(path) as temporary:
            metadata = {"about": json.dumps({**about, _SUM: _crc32(about, rows.items())})}
            save_file(rows, temporary, metadata)

    @staticmethod
    @contextlib.contextmanager
    def missing(path: Path, what: str) -> Iterator[bool]:
        """Whether the block has to make such a file in the cache; meanwhile other processes that need it wait.

        Args:
            path: The file, in a folder of the cache.
            what: Is in it, in a word for the person who waits.
        """
        told = f"{what}: another run makes the same; waiting for its result"
        with locked(path.parents[1] / "locks" / f"{path.stem}.lock", told=told):
            yield not ClipTensors.are_whole(path)

    @staticmethod
    def are_whole(path: Path) -> bool:
        """Whether there is such a file, and no bit of it has changed since it was written; all of it is read."""
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads(file.metadata()["about"])
                checksum = about.pop(_SUM)
                return bool(checksum == _crc32(about, ((name, file.get_tensor(name)) for name in sorted(file.keys()))))
        except _UNREADABLE:
            return False


def _crc32(about: dict[str, Any], tensors: Iterable[tuple[str, NDArray[np.generic]]]) -> int:
    """Of all that a file holds."""
    checksum = zlib.crc32(json.dumps(about).encode())
    for name, tensor in tensors:
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tensor.shape}".encode(), checksum)
        checksum = zlib.crc32(tensor.data.cast("B") if tensor.size else b"", checksum)
    return checksum
