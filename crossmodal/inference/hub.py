"""Model folders to and from the Hugging Face Hub. Files of known names go either way, and none is executed."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from crossmodal.errors import HubError, ModelFolderError
from crossmodal.inference.model_config import CARD, CONFIG, FRONT_END, ONNX, ONNX_INT8, WEIGHTS, read_config

FILES = (CARD, CONFIG, WEIGHTS, FRONT_END, ONNX, ONNX_INT8)  # what a model folder may hold, and all that is fetched
_SECONDS = 3.0  # until a server that does not answer counts as unreachable
_LOG_IN = "log in with `hf auth login`, or set the variable HF_TOKEN"


def fetch(repo_id: str, revision: str | None = None) -> Path:
    """Fetch a model folder, or what is new of it, into the cache of huggingface_hub.

    Args:
        repo_id: Such as ``owner/name``.
        revision: Branch, tag or commit; ``main`` if not given.

    Returns:
        The folder in the cache. Without a connection, what was fetched before.

    Raises:
        HubError: There is no such model or revision, it is private or gated, it is no crossmodal model, or the Hub
            cannot be reached and the cache does not hold it.

    Example:
        ```python
        EmotionRecognizer.from_pretrained(fetch("owner/name", revision="v1"))
        ```
    """
    from huggingface_hub import constants, snapshot_download

    offline = constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT)
    with _in_our_words(repo_id, revision):
        folder = Path(
            snapshot_download(repo_id, revision=revision, allow_patterns=list(FILES), local_files_only=offline)
        )
    if not (folder / CONFIG).is_file():
        raise HubError(f"{repo_id} on the Hub is no crossmodal model: it holds no {CONFIG}.")
    return folder


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    message: str | None = None,
) -> str:
    """Put a model folder on the Hub in one commit; the repository is made if need be.

    Files of known names only go up, and those that the folder does not hold are taken off: an older model's
    ``model.onnx`` would be mistaken for this one's.

    Args:
        folder: The model folder.
        repo_id: Such as ``owner/name``.
        private: Whether a repository that is made is private; one that is there stays as it is.
        token: To write with; that of ``hf auth login`` or of the variable ``HF_TOKEN`` if not given.
        revision: The branch; ``main`` if not given.
        message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        ModelFolderError: It is no model folder, or holds no model.
        HubError: The Hub cannot be reached, or does not let you.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants

    folder = Path(folder)
    config = read_config(folder)
    here = [name for name in FILES if (folder / name).is_file()]
    if not {WEIGHTS, ONNX, ONNX_INT8} & {*here}:
        raise ModelFolderError(f"{folder} holds no model to push, neither {WEIGHTS} nor {ONNX}.")
    if not _answers(constants.ENDPOINT):
        raise HubError(_unreachable(f"{folder} was not pushed."))
    api = HfApi(token=token)
    with _in_our_words(repo_id, revision):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        there = {*api.list_repo_files(repo_id, revision=revision)} & {*FILES}
        commit = api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, folder / name) for name in here),
                *(CommitOperationDelete(name) for name in sorted(there - {*here})),
            ],
            commit_message=message or f"{config['model']['front_end']} + {config['model']['encoder']}, by crossmodal",
            revision=revision,
        )
    return str(commit.commit_url)


def _answers(endpoint: str) -> bool:
    """Whether the server takes a connection now; huggingface_hub may wait for minutes to find out."""
    parts = urlsplit(endpoint)
    if parts.scheme in getproxies():  # then it is the proxy that is to be asked, and it knows
        return True
    try:
        address = (parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443))
        socket.create_connection(address, timeout=_SECONDS).close()
    except OSError:
        return False
    return True


def _unreachable(what: str) -> str:
    from huggingface_hub import constants

    return f"The Hub cannot be reached at {constants.ENDPOINT}, or HF_HUB_OFFLINE is set. {what}"


@contextlib.contextmanager
def _in_our_words(repo_id: str, revision: str | None) -> Iterator[None]:
    """Turn every error of huggingface_hub, and of what it speaks HTTP with, into one that says what to do."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(f"{repo_id} is gated: accept its conditions on its page, and {_LOG_IN}.") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(f"There is no model {repo_id!r} on the Hub, or it is private: then {_LOG_IN}.") from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{repo_id} has no revision {revision!r}: name a branch, a tag or a commit of it.") from error
    except errors.HFValidationError as error:
        raise HubError(f"{repo_id!r} is not the name of a model on the Hub, such as owner/name.") from error
    except errors.LocalEntryNotFoundError as error:
        raise HubError(_unreachable(f"The cache holds no {repo_id}{f' at {revision}' if revision else ''}.")) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        advice = f" For this you need a token that may: {_LOG_IN}." if status in (401, 403) else ""
        raise HubError(f"The Hub refuses {repo_id}: {_first_line(error)}{advice}") from error
    except Exception as error:  # of its HTTP client, which is another one in every major version
        raise HubError(f"The Hub does not give or take {repo_id}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
