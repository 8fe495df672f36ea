"""Writing that is whole or not there, and keys made of what a thing came from."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from crossmodal.errors import CrossmodalError, DiskSpaceError, StorageError


def cache_dir() -> Path:
    """The folder of all that can be made again: ``$CROSSMODAL_CACHE``, else ``crossmodal`` in the user's cache."""
    if folder := os.environ.get("CROSSMODAL_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossmodal"


def content_key(**made_of: Any) -> str:
    """A name for what is made of these JSON values; another value anywhere gives another name.

    Example:
        >>> content_key(size=96) == content_key(size=96), content_key(size=96) == content_key(size=112)
        (True, False)
    """
    text = json.dumps(made_of, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved there when the block ends well: a reader never sees half a file.

    Two processes that write the same path at once both succeed; the last one's file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)  # mkstemp makes files that only their owner reads
        temporary.replace(path)
    except OSError as error:  # who runs out of space in the middle of a file is not told which
        if error.errno is None and str(error).endswith("written"):  # "6400 requested and 4968 written" is numpy's way
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if error.errno is not None:
            error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True, told: str = "") -> Iterator[Literal["held", "taken", "none"]]:
    """Hold a lock file while the block runs. The system gives it back when a process ends, however it ends.

    Args:
        path: The lock file; it stays.
        wait: For whoever has it; else the block runs all the same, and is told.
        told: A line for the person who has to wait.

    Yields:
        Whether it is ``held``, ``taken`` by another process, or whether the file system has no locks (``none``).
    """
    lock = FileLock(path)
    state: Literal["held", "taken", "none"] = "held"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        state = "taken"
    except (OSError, NotImplementedError):
        state = "none"
    if state == "taken" and wait:
        if told:
            print(told, flush=True)
        lock.acquire()
        state = "held"
    try:
        yield state
    finally:
        lock.release()


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Say in our words what the system says of a disk that is full, or of a file that may not be written or read.

    Raises:
        DiskSpaceError: There is no room.
        StorageError: It may not be.
    """
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number not in _FULL | _FORBIDDEN or isinstance(error, CrossmodalError):
            raise
        where = getattr(error, "filename", None) or "a file"
        if number in _FULL:
            raise DiskSpaceError(
                f"There is no room for {where}: {os.strerror(number)}. Make room; the same command goes on where it "
                "was."
            ) from error
        raise StorageError(
            f"{where} cannot be written or read: {os.strerror(number)}. Look at its rights, its folder and its disk, "
            "or name another folder; the same command goes on where it was."
        ) from error


def _system_error(error: Exception) -> int:
    """The system's number of an error, 0 where it is none; safetensors gives it in words only."""
    if isinstance(error, OSError):
        return error.errno or 0
    told = re.search(r"os error (\d+)|code: (\d+)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(told[1] or told[2]) if told else 0


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` left behind who were killed; for whoever holds its lock, and so is the only one."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people and programs alike, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; None where there is none or it is damaged (what it said can be made again)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError):
        return None


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


class FileHashes:
    """SHA-256 of files, remembered by size and modification time so that an unchanged file is read once.

    Args:
        memory: The JSON file that remembers.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known = _read_lines(memory)
        self._changed = False

    def __getitem__(self, path: Path) -> str:
        name, mark = str(path.resolve()), _mark(path)
        if self._known.get(name, [None])[:-1] != mark:
            self._known[name] = [*mark, hash_file(path)]
            self._changed = True
        digest: str = self._known[name][-1]
        return digest

    def knows(self, path: Path) -> bool:
        """Whether the file's content need not be read, or cannot be: there is no such file."""
        try:
            return self._known.get(str(path.resolve()), [None])[:-1] == _mark(path)
        except OSError:
            return True

    def save(self) -> None:
        """Remember for the next run; what another process remembered meanwhile stays."""
        if self._changed:
            with locked(self._memory.with_suffix(".lock")) as state:
                if state == "held":
                    remove_leftovers(self._memory)
                write_json(self._memory, dict(sorted({**_read_lines(self._memory), **self._known}.items())))
            self._changed = False


def _read_lines(memory: Path) -> dict[str, list[Any]]:
    known = read_json(memory)
    lines = known.items() if isinstance(known, dict) else ()
    return {name: line for name, line in lines if isinstance(line, list)}


def _mark(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _read_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


_UMASK = _read_umask()  # once, at import: os.umask can only be read by setting it, which no thread may do later


def replace_folder(source: Path, target: Path, **copy: Any) -> None:
    """Copy a folder so that the target is whole or not there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        shutil.copytree(source, temporary / "new", **copy)
        shutil.rmtree(target, ignore_errors=True)
        (temporary / "new").replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
