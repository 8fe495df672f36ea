"""Self-supervised speech networks: architectures and weights.

The architectures, bundle names and weight format are torchaudio's. The weights of all bundles listed here were trained
without labels; torchaudio's bundles with a speech recognition head are excluded.
"""

import hashlib
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.request import urlopen

import torch
import torchaudio
from safetensors.torch import save_file
from torch import Tensor, nn
from torchaudio.models import wav2vec2_model, wavlm_model

from crossmodal.errors import ConfigError, WeightsError
from crossmodal.models.weights import read_state_dict
from crossmodal.naming import suggestion
from crossmodal.progress import progress_bar
from crossmodal.storage import atomic_path

BundleName = Literal[
    "HUBERT_BASE",
    "HUBERT_LARGE",
    "HUBERT_XLARGE",
    "WAV2VEC2_BASE",
    "WAV2VEC2_LARGE",
    "WAV2VEC2_LARGE_LV60K",
    "WAV2VEC2_XLSR53",
    "WAV2VEC2_XLSR_1B",
    "WAV2VEC2_XLSR_2B",
    "WAV2VEC2_XLSR_300M",
    "WAVLM_BASE",
    "WAVLM_BASE_PLUS",
    "WAVLM_LARGE",
]
_FACTORIES = {"Wav2Vec2": wav2vec2_model, "WavLM": wavlm_model}
_SOURCE = "https://download.pytorch.org/torchaudio/models"
_TIMEOUT_SECONDS = 10.0
_HEAD_PREFIX = "aux."  # head of a network that was fine-tuned for speech recognition


def find_bundle(name: str) -> Any:
    """Return a torchaudio bundle by name.

    Args:
        name: One of `BundleName`.

    Returns:
        The ``torchaudio.pipelines.Wav2Vec2Bundle``.

    Raises:
        ConfigError: If there is no bundle of that name, or if it has a head.
    """
    names = get_args(BundleName)
    if name not in names:
        raise ConfigError(f"Unknown speech bundle {name!r}. Known: {', '.join(names)}.{suggestion(name, names)}")
    return getattr(torchaudio.pipelines, name)


def find_weights(name: str, weights: str | Path | None = None) -> Path:
    """Return the path of a bundle's weights file, downloading it to torchaudio's own location if necessary.

    Args:
        name: One of `BundleName`.
        weights: Path of a local file to use instead.

    Returns:
        Path of the file.

    Raises:
        WeightsError: If the file does not exist or cannot be downloaded; requests time out after ten seconds.
    """
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(f"Weights file {path} does not exist. {_download_hint(name)}")
        return path
    path = _download_path(name)
    if not path.is_file():
        try:
            _download(_url(name), path)
        except (OSError, HTTPException) as error:  # URLError and timeouts are subclasses of OSError
            cause = str(error) or type(error).__name__
            raise WeightsError(
                f"The weights of {name} cannot be downloaded ({cause}). {_download_hint(name)}"
            ) from error
    return path


def load_speech_network(name: str, weights: Path) -> nn.Module:
    """Build a network and load its weights, in evaluation mode and without gradients.

    No random numbers are drawn, so loading it during training does not change other results.

    Args:
        name: One of `BundleName`.
        weights: Path of a safetensors file, or of a state dict written by ``torch.save``, with torchaudio's tensor
            names.

    Returns:
        The ``torchaudio.models.Wav2Vec2Model``, in float32.

    Raises:
        WeightsError: If the file cannot be read or holds another network.
    """
    bundle = find_bundle(name)
    state = {key: value for key, value in read_state_dict(weights).items() if not key.startswith(_HEAD_PREFIX)}
    with torch.device("meta"):  # skips allocating and initializing random weights
        network: nn.Module = _FACTORIES[bundle._model_type](**bundle._params)
    try:
        # Strict works: torch renames the keys of older versions of weight normalization.
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{weights} does not fit {name}: its {len(state)} tensors ({', '.join(list(state)[:2]) or 'none'}, ...) do "
            f"not match the architecture. It may belong to another bundle, or be in the format of fairseq or "
            f"transformers. {_download_hint(name)} ({_first_difference(error)})"
        ) from error
    return network.float().eval().requires_grad_(False)


def weights_digest(path: Path) -> str:
    """Hash the tensors of a weights file; a copy in another file format has the same digest.

    Raises:
        WeightsError: If the file cannot be read.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(read_state_dict(path).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def copy_weights(source: Path, target: Path) -> None:
    """Write the tensors of a weights file as safetensors, atomically.

    Raises:
        WeightsError: If the source cannot be read.
    """
    state: Mapping[str, Tensor] = read_state_dict(source)
    with atomic_path(target) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)


def _url(name: str) -> str:
    return f"{_SOURCE}/{find_bundle(name)._path}"


def _download_path(name: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / find_bundle(name)._path


def _download_hint(name: str) -> str:
    return (
        f"Download {_url(name)} on a machine with a network connection, then pass the file with "
        f"--transfer.model.front_end_kwargs.weights FILE (in Python, front_end_kwargs={{'weights': FILE}}) "
        f"or save it as {_download_path(name)}."
    )


def _download(url: str, target: Path) -> None:
    """Download a file with a progress bar. `torch.hub` has no timeout."""
    with (
        urlopen(url, timeout=_TIMEOUT_SECONDS) as response,
        atomic_path(target) as temporary,
        progress_bar() as progress,
    ):
        size = int(response.headers["Content-Length"] or 0)
        task = progress.add_task(f"Downloading {target.name} (MB)", total=size // 10**6 or None)
        with temporary.open("wb") as file:
            while chunk := response.read(1 << 20):
                file.write(chunk)
                progress.update(task, completed=file.tell() // 10**6)
            if size and file.tell() != size:
                raise OSError(f"the connection ended after {file.tell()} of {size} bytes")


def _first_difference(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines[1:] if line), lines[0])[:200]
