"""Upload and download model folders on the Hugging Face Hub. Only files with known names are transferred."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from crossmodal.errors import HubError, ModelFolderError
from crossmodal.inference.model_config import CARD, CONFIG, FRONT_END, ONNX, ONNX_INT8, WEIGHTS, read_config

FILES = (CARD, CONFIG, WEIGHTS, FRONT_END, ONNX, ONNX_INT8)  # all that is uploaded or downloaded
_TIMEOUT = 3.0  # seconds
_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def fetch(repo_id: str, revision: str | None = None) -> Path:
    """Download the model folder ``owner/name`` into the cache of huggingface_hub; return its path there.

    Files in the cache are reused. Without a connection, it is the version that was downloaded last. The revision is a
    branch, tag or commit, by default ``main``.

    Raises:
        HubError: If the model or revision does not exist, is private or gated, or is not a crossmodal model, or if the
            Hub cannot be reached and the model is not in the cache.
    """
    from huggingface_hub import constants, snapshot_download

    offline = constants.HF_HUB_OFFLINE or not _is_reachable()
    with _hub_errors(repo_id, revision):
        path = snapshot_download(repo_id, revision=revision, allow_patterns=list(FILES), local_files_only=offline)
    folder = Path(path)
    if not (folder / CONFIG).is_file():
        raise HubError(f"{repo_id} on the Hub is not a crossmodal model: it has no {CONFIG}.")
    return folder


def push(
    folder: str | Path, repo_id: str, *, private: bool = False, token: str | None = None, revision: str | None = None
) -> str:
    """Upload a model folder to the Hub in one commit. The repository is created if it does not exist.

    Only files with known names are uploaded. Those that are missing in the folder are deleted on the Hub: a
    ``model.onnx`` of an older model would be mistaken for one of this model.

    Args:
        folder: Path of the model folder.
        repo_id: Name of the model, such as ``owner/name``.
        private: True to create a private repository. An existing repository is not changed.
        token: Token with write access. Default: the token of ``hf auth login`` or of the variable ``HF_TOKEN``.
        revision: Branch. Default: ``main``.

    Returns:
        The URL of the commit.

    Raises:
        ModelFolderError: If the folder is not a model folder, or has no weights.
        HubError: If the Hub cannot be reached or denies access.
    """
    from huggingface_hub import HfApi

    folder = Path(folder)
    model = read_config(folder)["model"]
    if not any((folder / name).is_file() for name in (WEIGHTS, ONNX, ONNX_INT8)):
        raise ModelFolderError(f"{folder} has no model to upload: neither {WEIGHTS} nor {ONNX}.")
    if not _is_reachable():
        raise _unreachable(f"{folder} was not uploaded.")
    api, files = HfApi(token=token), list(FILES)
    with _hub_errors(repo_id, revision):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=files,
            delete_patterns=files,
            commit_message=f"{model['front_end']} + {model['encoder']}, by crossmodal",
            revision=revision,
        )
    return str(commit.commit_url)


def _is_reachable() -> bool:
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


def _unreachable(consequence: str) -> HubError:
    from huggingface_hub import constants

    return HubError(f"The Hub cannot be reached at {constants.ENDPOINT}, or HF_HUB_OFFLINE is set. {consequence}")


@contextlib.contextmanager
def _hub_errors(repo_id: str, revision: str | None) -> Iterator[None]:
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
        raise _unreachable(f"{repo_id}{f' at {revision}' if revision else ''} is not in the cache.") from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        advice = f" This needs a token with access: {_LOG_IN}." if status in (401, 403) else ""
        raise HubError(f"The Hub rejected the request for {repo_id}: {_first_line(error)}{advice}") from error
    except Exception as error:  # of the HTTP client, which differs between major versions of huggingface_hub
        raise HubError(f"The transfer of {repo_id} failed: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
