"""Upload and download model folders on the Hugging Face Hub. Only files with known names are transferred."""

from pathlib import Path

from crossmodal.errors import HubError, ModelFolderError
from crossmodal.hub_access import download_files, hub_errors, is_reachable, unreachable
from crossmodal.inference.model_config import CARD, CONFIG, FRONT_END, ONNX, ONNX_INT8, WEIGHTS, read_config

FILES = (CARD, CONFIG, WEIGHTS, FRONT_END, ONNX, ONNX_INT8)  # all that is uploaded or downloaded


def fetch(repo_id: str, revision: str | None = None) -> Path:
    """Download the model folder ``owner/name`` into the cache of huggingface_hub; return its path there.

    Files in the cache are reused. Without a connection, it is the version that was downloaded last. The revision is a
    branch, tag or commit, by default ``main``.

    Raises:
        HubError: If the model or revision does not exist, is private or gated, or is not a crossmodal model, or if the
            Hub cannot be reached and the model is not in the cache.
    """
    folder = download_files(repo_id, FILES, revision)
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
    config = read_config(folder)
    files_to_push(folder, repo_id)
    if not is_reachable():
        raise unreachable(f"{folder} was not uploaded.")
    api, files = HfApi(token=token), list(FILES)
    with hub_errors(repo_id, revision):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        message = f"{config['model']['front_end']} + {config['model']['encoder']}, by crossmodal"
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=files,
            delete_patterns=files,
            commit_message=message,
            revision=revision,
        )
    return str(commit.commit_url)


def files_to_push(folder: str | Path, repo_id: str) -> list[Path]:
    """Return the files that `push` uploads, after the checks that need no connection; errors are those of `push`."""
    from huggingface_hub.utils import validate_repo_id

    read_config(folder)
    found = [path for name in FILES if (path := Path(folder) / name).is_file()]
    if not {WEIGHTS, ONNX, ONNX_INT8} & {path.name for path in found}:
        raise ModelFolderError(f"{folder} has no model to upload: neither {WEIGHTS} nor {ONNX}.")
    with hub_errors(repo_id, None):
        validate_repo_id(repo_id)
    return found
