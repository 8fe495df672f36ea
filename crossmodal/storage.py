"""Atomic writes, file locks, file hashes, content keys and listings of folders."""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import tempfile
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from crossmodal.errors import CrossmodalError, DiskSpaceError, StorageError


def cache_dir() -> Path:
    """Return the cache folder: ``$CROSSMODAL_CACHE``, else ``crossmodal`` in the user's cache folder."""
    if folder := os.environ.get("CROSSMODAL_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossmodal"


def content_key(**inputs: Any) -> str:
    """Return a key for a result from the JSON values that determine it; any different value gives a different key."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` if the block succeeds: no reader sees a partial file.

    If two processes write the same path at once, both succeed and the last one's file stays.
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
    except OSError as error:  # an error in the middle of a write does not name its file
        if error.errno is None and str(error).endswith("written"):  # NumPy's "6400 requested and 4968 written"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if error.errno is not None:
            error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True, message: str = "") -> Iterator[Literal["held", "taken", "none"]]:
    """Hold a lock file, which is not removed, while the block runs. It is released even if the process crashes.

    Yields ``held``, or without `wait` ``taken`` if another process holds the lock, or ``none`` if the file system does
    not support locks. The message is printed before waiting.
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
        if message:
            print(message, flush=True)
        lock.acquire()
        state = "held"
    try:
        yield state
    finally:
        lock.release()


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
# A file in place of a folder, and the reverse; a missing folder; a name that no file can have.
_FORBIDDEN |= {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP}


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Convert system errors inside the block to DiskSpaceError (full disk) or StorageError (unusable path)."""
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number not in _FULL | _FORBIDDEN or isinstance(error, CrossmodalError):
            raise
        where = getattr(error, "filename", None) or "a file"
        if number in _FULL:
            raise DiskSpaceError(
                f"No space left for {where}: {os.strerror(number)}. Free some space, then rerun the same command to "
                "resume."
            ) from error
        raise StorageError(
            f"Cannot read or write {where}: {os.strerror(number)}. Check its permissions, its folder and its disk, or "
            "choose another folder. Then rerun the same command to resume."
        ) from error


def _system_error(error: Exception) -> int:
    """Return the errno of an error, or 0; safetensors gives it only in its message."""
    if isinstance(error, OSError):
        return error.errno or 0
    match = re.search(r"os error (\d+)|code: (\d+)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(match[1] or match[2]) if match else 0


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of killed writers of `path`; the caller must hold the lock of `path`."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    with atomic_path(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        # A file name that is not UTF-8 has lone surrogates. Their escapes are those of JSON, and are read back.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> Any:
    """Read a JSON file of the cache; return None if it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError):
        return None


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


class FileHashes:
    """SHA-256 of files, cached in a JSON file by size and modification time: an unchanged file is read once."""

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
        """Return True if the hash of a file is cached, or the file does not exist."""
        try:
            return self._known.get(str(path.resolve()), [None])[:-1] == _mark(path)
        except OSError:
            return True

    def save(self) -> None:
        """Write the hashes to the JSON file, merged with those that other processes added meanwhile."""
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


_UMASK = os.umask(0)  # at import: os.umask can only be read by setting it, which is not thread-safe
os.umask(_UMASK)


def is_metadata(name: str) -> bool:
    """Return True for the name of a folder or file that macOS adds to zips and to disks of other systems."""
    return name == "__MACOSX" or name.startswith("._")


def paths_below(folder: Path) -> list[Path]:
    """Return all files and folders below a folder, sorted, without metadata of macOS.

    Links to folders are followed. A folder that is reached twice, as in a loop of links, is searched once: under its
    own path if that is below `folder`, else under the first link to it. Folders that cannot be read are empty.
    """
    found: list[Path] = []
    folders, links, searched = [folder], deque[Path](), set()
    while folders or links:
        current = folders.pop() if folders else links.popleft()
        if (real := os.path.realpath(current)) in searched:
            continue
        searched.add(real)
        with contextlib.suppress(PermissionError), os.scandir(current) as entries:
            for entry in sorted((one for one in entries if not is_metadata(one.name)), key=lambda one: one.name):
                path = current / entry.name
                found.append(path)
                if entry.is_symlink() and path.is_dir():
                    links.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(path)
    return sorted(found)


def move_aside(folder: Path, keep: Collection[str] = ()) -> Path:
    """Move the content of a folder, except the names to keep, to a new folder beside it, and return that folder."""
    numbered = (folder.with_name(f"{folder.name}.old{number}") for number in itertools.count(1))
    target = next(path for path in numbered if not path.exists())
    target.mkdir()
    for path in [path for path in folder.iterdir() if path.name not in keep]:
        path.rename(target / path.name)
    return target
