"""Self-supervised speech networks of torchaudio's bundles, with its architectures, names and weight files."""
# All weights were trained without labels; torchaudio's bundles with a speech recognition head are excluded.

from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import torch
from torch import Tensor, nn
from torchaudio import models

from crossmodal.errors import WeightsError
from crossmodal.naming import lookup
from crossmodal.progress import progress_bar
from crossmodal.storage import atomic_path

_SOURCE = "https://download.pytorch.org/torchaudio/models"
_TIMEOUT_SECONDS = 10.0


class SpeechBundle(NamedTuple):
    """Architecture of a network and its weights file on torchaudio's server."""

    make: Callable[[], Any]  # creates the ``torchaudio.models.Wav2Vec2Model``
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


class TorchaudioNetwork(nn.Module):
    """Network of a bundle up to a layer. Clips are processed one at a time."""

    layer_norm = None  # torchaudio returns the states of the layers as they are

    def __init__(self, name: str, num_layers: int) -> None:
        super().__init__()
        bundle = find_bundle(name)
        self.network = bundle.make()
        self._normalizes = bundle.normalizes
        self.has_independent_layers = not name.startswith("WAVLM")  # theirs share relative positions
        del self.layers[num_layers:]

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer layers, from the lowest."""
        layers: nn.ModuleList = self.network.encoder.transformer.layers
        return layers

    def forward(self, waveform: Tensor, length: Tensor) -> list[Tensor]:
        """Encode a clip, (1, T), to the states before the first layer and after each, (1, frames, width) each."""
        if self._normalizes:  # as in torchaudio's bundle
            waveform = standardize(waveform, 1e-5)
        return hidden_states(self.layers, lambda: self.network.extract_features(waveform))


def standardize(waveform: Tensor, eps: float) -> Tensor:
    """Scale a clip, (1, T), to mean 0 and variance 1; `eps` is added to the variance."""
    waveform = waveform - waveform.mean(dim=1, keepdim=True)
    return waveform / (waveform.square().mean(dim=1, keepdim=True) + eps).sqrt()


def hidden_states(layers: nn.ModuleList, run: Callable[[], object]) -> list[Tensor]:
    """Return the input of the first layer and the output of each layer while `run` runs the network."""
    states: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        states.extend([*([] if states else inputs[:1]), output[0] if isinstance(output, tuple) else output])

    handles = [layer.register_forward_hook(keep) for layer in layers]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return states


def download_weights(name: str) -> Path:
    """Return the path of a bundle's weights file in torchaudio's own folder, downloaded if necessary."""
    # Requests time out after ten seconds.
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


def find_bundle(name: str) -> SpeechBundle:
    """Return a bundle by name; an unknown name is a `ConfigError`."""
    return lookup("speech bundle", BUNDLES, name)


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
