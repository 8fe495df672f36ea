"""Weights of a backbone out of a file that some other program wrote."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from crossmodal.errors import WeightsError


def load_backbone_weights(network: nn.Module, path: str | Path) -> None:
    """Fill a network from a safetensors file or a state dict that ``torch.save`` wrote.

    What the file holds beyond the network, such as a classifier, is left aside. A network that sees one channel gets
    the sum of a file's three colours, as timm does it: a grey picture gives the same then.

    Args:
        network: The network.
        path: The file. A state dict may lie under ``state_dict`` or ``model``, and its keys may begin with ``module.``.

    Raises:
        WeightsError: The file cannot be read, or lacks something that the network has.
    """
    weights = read_state_dict(Path(path))
    # Nothing reads the counters of batch normalization unless its momentum is None; many files leave them out.
    needed = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    weights |= {key: _in_one_channel(weights[key], value) for key, value in needed.items() if key in weights}
    unfit = [key for key, value in needed.items() if key not in weights or weights[key].shape != value.shape]
    if unfit:
        raise WeightsError(
            f"{path} does not fit: of {len(needed)} tensors of the network, {len(unfit)} are missing in the file or of "
            f"another shape, such as {', '.join(unfit[:3])}; the file has {', '.join(list(weights)[:3]) or 'none'}. "
            f"Check that the backbone and its model_kwargs are those that the weights were made for."
        )
    network.load_state_dict({key: weights[key] for key in needed}, strict=False)


def _in_one_channel(value: Tensor, needed: Tensor) -> Tensor:
    """Sum a convolution's three colours where one of a single channel is needed."""
    if value.ndim != 4 or value.shape[1] != 3 or needed.shape != (len(value), 1, *value.shape[2:]):
        return value
    return value.sum(dim=1, keepdim=True)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file or a state dict that ``torch.save`` wrote; nothing in it is executed.

    Args:
        path: The file. The state dict may lie under ``state_dict`` or ``model``, and its keys may begin with
            ``module.``, which is taken away.

    Returns:
        The tensors by name, on the CPU.

    Raises:
        WeightsError: There is no such file, or it holds something else.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # pickle, zip, safetensors and torch each have their own
        cause = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise WeightsError(
            f"{path} cannot be read as safetensors, or as a file of tensors and nothing else. A whole pickled model "
            f"can run code and is not read: save its state_dict() instead. ({cause})"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds no state dict but a {type(content).__name__}.")
    return {str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}
