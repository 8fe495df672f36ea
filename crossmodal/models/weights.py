"""Loading of weights files that other programs wrote, and hashes of tensors."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from crossmodal.errors import WeightsError


def load_backbone_weights(network: nn.Module, path: str | Path) -> None:
    """Load weights into a network from a file; extra tensors in it, such as a classifier, are ignored.

    Raises WeightsError if the file does not fit.
    """
    weights = read_state_dict(Path(path))
    # The counters of batch normalization matter only if its momentum is None, and many files omit them.
    expected = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    missing = [key for key, value in expected.items() if key not in weights or weights[key].shape != value.shape]
    if missing:
        raise WeightsError(
            f"{path} does not fit: {len(missing)} of {len(expected)} tensors of the network are missing in the file or "
            f"have another shape, such as {', '.join(missing[:3])}; the file has "
            f"{', '.join(list(weights)[:3]) or 'none'}. "
            f"Check that the backbone and its model_kwargs match the weights."
        )
    network.load_state_dict({key: weights[key] for key in expected}, strict=False)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file or a state dict written by ``torch.save`` to the CPU; no code in it is executed.

    The state dict may be under ``state_dict`` or ``model``. The prefix ``module.`` of its keys is removed.
    """
    if not path.is_file():
        raise WeightsError(f"Weights file {path} does not exist.")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # the errors of pickle, zip, safetensors and torch have no narrower common base
        cause = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise WeightsError(
            f"{path} is not a safetensors file or a state dict of tensors. Pickled models are not loaded, because they "
            f"can execute code: save the model's state_dict() instead. ({cause})"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} must hold a state dict, got {type(content).__name__}.")
    return {str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Hash tensors by name; those of a copy in another file format have the same hash."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
