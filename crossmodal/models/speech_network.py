"""Self-supervised networks of speech: their architectures, and where their weights come from.

The architectures are torchaudio's, by the names of its bundles, and so is the format of the weights. The weights of all
bundles named here were learned without labels; those that torchaudio has with a head for speech recognition are not
among them.
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
_SECONDS = 10.0  # without a word from the server, until it counts as unreachable
_HEAD = "aux."  # of a network that was fine-tuned to recognise speech


def find_bundle(name: str) -> Any:
    """Look up a bundle of torchaudio.

    Args:
        name: One of `BundleName`.

    Returns:
        The ``torchaudio.pipelines.Wav2Vec2Bundle``.

    Raises:
        ConfigError: There is no bundle of that name, or it is one with a head.
    """
    names = get_args(BundleName)
    if name not in names:
        raise ConfigError(f"Unknown speech bundle {name!r}. Known: {', '.join(names)}.{suggestion(name, names)}")
    return getattr(torchaudio.pipelines, name)


def find_weights(name: str, weights: str | Path | None = None) -> Path:
    """Find the file of a bundle's weights; without one, fetch it to where torchaudio itself would look for it.

    Args:
        name: One of `BundleName`.
        weights: A local file, used as it is.

    Returns:
        The file.

    Raises:
        WeightsError: There is no such file, or it cannot be fetched; a server that does not answer is given up after
            ten seconds.
    """
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(f"There is no weights file {path}. {_how_to_get(name)}")
        return path
    fetched = _place(name)
    if not fetched.is_file():
        try:
            _fetch(_address(name), fetched)
        except (OSError, HTTPException) as error:  # URLError and time-outs are kinds of OSError
            cause = str(error) or type(error).__name__
            raise WeightsError(f"The weights of {name} cannot be fetched ({cause}). {_how_to_get(name)}") from error
    return fetched


def load_speech_network(name: str, weights: Path) -> nn.Module:
    """Build a network and fill it, in evaluation mode and without gradients.

    No random number is drawn: whoever loads it in the middle of a training changes nothing else.

    Args:
        name: One of `BundleName`.
        weights: A safetensors file, or a state dict that ``torch.save`` wrote, with torchaudio's names of the tensors.

    Returns:
        The ``torchaudio.models.Wav2Vec2Model``, in float32.

    Raises:
        WeightsError: The file cannot be read, or holds another network.
    """
    bundle = find_bundle(name)
    state = {key: value for key, value in read_state_dict(weights).items() if not key.startswith(_HEAD)}
    with torch.device("meta"):  # no memory, and no time, for random weights that nobody needs
        network: nn.Module = _FACTORIES[bundle._model_type](**bundle._params)
    try:
        # Strict: torch itself renames what older versions of weight normalization wrote.
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{weights} does not fit {name}: its {len(state)} tensors, such as {', '.join(list(state)[:2]) or 'none'}, "
            f"are not those of the architecture. Is it another bundle's, or in the format of fairseq or transformers? "
            f"{_how_to_get(name)} ({_first_difference(error)})"
        ) from error
    return network.float().eval().requires_grad_(False)


def weights_digest(path: Path) -> str:
    """Hash what a file of weights holds: a copy in another format has the same digest.

    Raises:
        WeightsError: The file cannot be read.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(read_state_dict(path).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def copy_weights(source: Path, target: Path) -> None:
    """Write the same tensors as safetensors, whole or not at all.

    Raises:
        WeightsError: The source cannot be read.
    """
    state: Mapping[str, Tensor] = read_state_dict(source)
    with atomic_path(target) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)


def _address(name: str) -> str:
    return f"{_SOURCE}/{find_bundle(name)._path}"


def _place(name: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / find_bundle(name)._path


def _how_to_get(name: str) -> str:
    return (
        f"Fetch {_address(name)} where there is a network, and either name the file, "
        f"--transfer.model.front_end_kwargs.weights FILE (in Python, front_end_kwargs={{'weights': FILE}}), "
        f"or put it at {_place(name)}."
    )


def _fetch(address: str, target: Path) -> None:
    """Download with a bar. `torch.hub` would wait for a silent server without end."""
    with urlopen(address, timeout=_SECONDS) as answer, atomic_path(target) as temporary, progress_bar() as progress:
        size = int(answer.headers["Content-Length"] or 0)
        task = progress.add_task(f"Fetching {target.name} (MB)", total=size // 10**6 or None)
        with temporary.open("wb") as file:
            while piece := answer.read(1 << 20):
                file.write(piece)
                progress.update(task, completed=file.tell() // 10**6)
            if size and file.tell() != size:
                raise OSError(f"the connection ended after {file.tell()} of {size} bytes")


def _first_difference(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines[1:] if line), lines[0])[:200]
