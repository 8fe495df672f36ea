"""Self-supervised speech networks with the architectures, names and weight files of torchaudio's bundles."""
# All weights were trained without labels; torchaudio's bundles with a speech recognition head are excluded.

import hashlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import torch
from safetensors.torch import save_file
from torch import nn
from torchaudio import models

from crossmodal.errors import WeightsError
from crossmodal.models.weights import read_state_dict
from crossmodal.naming import lookup
from crossmodal.progress import progress_bar
from crossmodal.storage import atomic_path

SAMPLE_RATE = 16000
# Kernel size and stride of each convolution over the waveform: a frame of 25 ms every 20 ms.
CONVOLUTIONS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))

_SOURCE = "https://download.pytorch.org/torchaudio/models"
_TIMEOUT_SECONDS = 10.0
_HEAD_PREFIX = "aux."  # head of a network that was fine-tuned for speech recognition


class SpeechBundle(NamedTuple):
    """Architecture of a network and its weights file on torchaudio's server."""

    make: Callable[[], nn.Module]  # creates the ``torchaudio.models.Wav2Vec2Model``
    file: str
    num_layers: int
    width: int  # of a layer's output
    normalizes: bool  # True if the network expects waveforms with mean 0 and variance 1


BUNDLES: dict[str, SpeechBundle] = {
    "HUBERT_BASE": SpeechBundle(models.hubert_base, "hubert_fairseq_base_ls960.pth", 12, 768, False),
    "HUBERT_LARGE": SpeechBundle(models.hubert_large, "hubert_fairseq_large_ll60k.pth", 24, 1024, True),
    "HUBERT_XLARGE": SpeechBundle(models.hubert_xlarge, "hubert_fairseq_xlarge_ll60k.pth", 48, 1280, True),
    "WAV2VEC2_BASE": SpeechBundle(models.wav2vec2_base, "wav2vec2_fairseq_base_ls960.pth", 12, 768, False),
    "WAV2VEC2_LARGE": SpeechBundle(models.wav2vec2_large, "wav2vec2_fairseq_large_ls960.pth", 24, 1024, False),
    "WAV2VEC2_LARGE_LV60K": SpeechBundle(
        models.wav2vec2_large_lv60k, "wav2vec2_fairseq_large_lv60k.pth", 24, 1024, True
    ),
    "WAV2VEC2_XLSR53": SpeechBundle(models.wav2vec2_large_lv60k, "wav2vec2_fairseq_large_xlsr53.pth", 24, 1024, True),
    "WAV2VEC2_XLSR_1B": SpeechBundle(models.wav2vec2_xlsr_1b, "wav2vec2_xlsr_1b.pth", 48, 1280, True),
    "WAV2VEC2_XLSR_2B": SpeechBundle(models.wav2vec2_xlsr_2b, "wav2vec2_xlsr_2b.pth", 48, 1920, True),
    "WAV2VEC2_XLSR_300M": SpeechBundle(models.wav2vec2_xlsr_300m, "wav2vec2_xlsr_300m.pth", 24, 1024, True),
    "WAVLM_BASE": SpeechBundle(models.wavlm_base, "wavlm_base.pth", 12, 768, False),
    "WAVLM_BASE_PLUS": SpeechBundle(models.wavlm_base, "wavlm_base_plus.pth", 12, 768, False),
    "WAVLM_LARGE": SpeechBundle(models.wavlm_large, "wavlm_large.pth", 24, 1024, True),
}


def find_weights(name: str, weights: str | Path | None = None) -> Path:
    """Return the path of a bundle's weights file: the given one, or torchaudio's own, downloaded if necessary."""
    # Requests time out after ten seconds.
    path = _download_path(name) if weights is None else Path(weights).expanduser()
    if path.is_file():
        return path
    if weights is not None:
        raise WeightsError(f"Weights file {path} does not exist. {_download_hint(name)}")
    try:
        _download(_url(name), path)
    except (OSError, HTTPException) as error:  # URLError and timeouts are subclasses of OSError
        cause = str(error) or type(error).__name__
        raise WeightsError(f"The weights of {name} cannot be downloaded ({cause}). {_download_hint(name)}") from error
    return path


def load_speech_network(name: str, weights: Path) -> nn.Module:
    """Return a network of `BUNDLES` with weights from a file, in float32, in evaluation mode and without gradients.

    The file has torchaudio's tensor names; see `read_state_dict`. No random numbers are drawn, so loading it during
    training does not change other results.
    """
    state = {key: value for key, value in read_state_dict(weights).items() if not key.startswith(_HEAD_PREFIX)}
    with torch.device("meta"):  # skips allocating and initializing random weights
        network = find_bundle(name).make()
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


def find_bundle(name: str) -> SpeechBundle:
    """Return a bundle by name; an unknown name is a `ConfigError`."""
    return lookup("speech bundle", BUNDLES, name)


def weights_digest(path: Path) -> str:
    """Hash the tensors of a weights file; a copy in another file format has the same digest."""
    digest = hashlib.sha256()
    for name, tensor in sorted(read_state_dict(path).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def copy_weights(source: Path, target: Path) -> None:
    """Write the tensors of a weights file as safetensors, atomically."""
    state = read_state_dict(source)
    with atomic_path(target) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)


def _url(name: str) -> str:
    return f"{_SOURCE}/{find_bundle(name).file}"


def _download_path(name: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / find_bundle(name).file


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
