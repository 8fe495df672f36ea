"""A trained classifier of the user's as a teacher."""

import hashlib
from collections.abc import Mapping
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from crossmodal.errors import ConfigError
from crossmodal.models.outputs import Outputs
from crossmodal.naming import Part
from crossmodal.own_code import own_errors, own_sources
from crossmodal.storage import content_key


class OwnTeacher(nn.Module):
    """A trained, frozen module that maps faces to logits, (B, K), or to a tuple of embeddings, (B, E), and logits.

    Its input is ``faces``, (B, N, 3, H, W) uint8, or ``face_embeddings``, (B, N, D) float, of a batch.

    Args:
        given: A class path, ``{class_path, init_args}``, a class or a module. A class loads its weights itself.
    """

    def __init__(self, given: Any) -> None:
        super().__init__()
        part = Part.parse("teacher", {}, given, base=nn.Module)
        self.name = part.name
        with own_errors(f"The teacher {self.name} failed"):
            self.network: nn.Module = part.create({}).eval().requires_grad_(False)

    @property
    def key(self) -> str:
        """Key of the network: its source, weights and class."""
        weights = {name: tensor.cpu().clone() for name, tensor in self.network.state_dict().items()}
        sources = own_sources(self.network.modules())
        return content_key(name=self.name, sources=sources, weights=hashlib.sha256(save(weights)).hexdigest())

    def predict_batch(self, batch: Mapping[str, Any]) -> Outputs:
        """Compute the outputs for a batch; raise ConfigError if they are not logits, or embeddings and logits."""
        with own_errors(f"The teacher {self.name} failed"):
            outputs = self.network(batch["face_embeddings"] if "face_embeddings" in batch else batch["faces"])
            embedding, logits = (None, outputs) if isinstance(outputs, Tensor) else tuple(outputs)[:2]
        if any(tensor is not None and tensor.ndim != 2 for tensor in (embedding, logits)):
            raise ConfigError(f"The teacher {self.name} must return logits, (B, K), or (embeddings, logits).")
        return Outputs(embedding, logits)
