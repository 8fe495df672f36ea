"""Access to the Hugging Face Hub: downloads of chosen files, and errors with advice."""

import contextlib
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from crossmodal.errors import HubError

_TIMEOUT = 3.0  # seconds
_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def download_files(repo_id: str, names: Iterable[str], revision: str | None = None) -> Path:
    """Download those of the files that a repository has into the cache of huggingface_hub; return their folder.

    Files in the cache are reused. Without a connection, it is the version that was downloaded last. The revision is a
    branch, tag or commit, by default ``main``.

    Raises:
        HubError: If the repository or revision does not exist, is private or gated, or if the Hub cannot be reached and
            the repository is not in the cache.
    """
    from huggingface_hub import constants, snapshot_download

    offline = constants.HF_HUB_OFFLINE or not is_reachable()
    with hub_errors(repo_id, revision):
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=list(names), local_files_only=offline))


def is_reachable() -> bool:
    """Return True if the Hub accepts a connection. huggingface_hub itself may wait for minutes."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    if parts.scheme in getproxies():  # a direct connection says nothing about one through a proxy
        return True
    try:
        address = (parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443))
        socket.create_connection(address, timeout=_TIMEOUT).close()
    except OSError:
        return False
    return True


def unreachable(consequence: str) -> HubError:
    """Return the error for a Hub that cannot be reached."""
    from huggingface_hub import constants

    return HubError(f"The Hub cannot be reached at {constants.ENDPOINT}, or HF_HUB_OFFLINE is set. {consequence}")


@contextlib.contextmanager
def hub_errors(repo_id: str, revision: str | None) -> Iterator[None]:
    """Convert errors of huggingface_hub and of its HTTP client to `HubError` with advice."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(f"{repo_id} is gated: accept the conditions on its page and {_LOG_IN}.") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"There is no model {repo_id!r} on the Hub. If it is private, {_LOG_IN}.") from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{repo_id} has no revision {revision!r}: give a branch, a tag or a commit.") from error
    except errors.HFValidationError as error:
        raise HubError(f"{repo_id!r} is not a valid model name: give owner/name.") from error
    except errors.LocalEntryNotFoundError as error:
        raise unreachable(f"{repo_id}{f' at {revision}' if revision else ''} is not in the cache.") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        advice = f" This needs a token with access: {_LOG_IN}." if status in (401, 403) else ""
        raise HubError(f"The Hub rejected the request for {repo_id}: {_first_line(error)}{advice}") from error
    except Exception as error:  # of the HTTP client, which differs between major versions of huggingface_hub
        raise HubError(f"The transfer of {repo_id} failed: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
