"""Convert a PyTorch voice model to ONNX, and ONNX weights to 8 bits."""

import contextlib
import io
import json
import math
import tempfile
import warnings
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossmodal.errors import ExportError, MissingExtraError
from crossmodal.inference.model_config import ONNX
from crossmodal.inference.onnx_model import INPUTS, OUTPUT
from crossmodal.models import AudioClassifier, PretrainedFrontEnd
from crossmodal.own_code import own_sources
from crossmodal.version import __version__

if TYPE_CHECKING:
    from onnx import GraphProto

_OPSET = 17  # the first with layer normalization
_FRONT_END = "/front_end/"  # prefix that the exporter gives to nodes of this module
_LAYERS = "/layers."  # in the names of nodes of a transformer
_MIN_WEIGHTS = 8192  # of a node that is quantized
_AXES = {INPUTS[0]: {0: "batch", 1: "time"}, INPUTS[1]: {0: "batch"}, OUTPUT: {0: "batch"}}


def to_onnx(model: AudioClassifier, labels: Sequence[str], temperature: float) -> bytes:
    """Export a voice model in evaluation mode, for any batch size and duration; `temperature` divides the logits."""
    # The newer exporter (``dynamo=True``), as of torch 2.12, exports an LSTM for clips of the example's length only,
    # without a warning.
    pretrained = isinstance(model.front_end, PretrainedFrontEnd)
    max_batch = 1 if pretrained and not model.front_end.takes_batches else 0
    suspect = own_parts(model) or f"the encoder {model.config['encoder']!r}"
    if pretrained:
        suspect = f"the network {model.front_end.source.model}"
    return _with_metadata(
        _trace(_Pipeline(model, temperature).eval(), suspect, max_batch or 2),
        labels=json.dumps(list(labels), ensure_ascii=False),
        sample_rate=str(model.config["sample_rate"]),
        min_samples=str(model.min_samples),
        crossmodal_version=__version__,
        **({"max_batch": str(max_batch)} if max_batch else {}),
    )


def _trace(module: nn.Module, suspect: str, batch_size: int) -> bytes:
    waveform = torch.randn(batch_size, 20_000, generator=torch.Generator().manual_seed(0))
    example = waveform, torch.tensor([20_000, 9_000])[:batch_size]
    try:
        import onnx  # noqa: F401 (the exporter needs it, but fails only at the end)

        # On failure the exporter prints its whole graph. Its warnings are about compared sizes and deprecation.
        silence = contextlib.redirect_stdout(io.StringIO())
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), silence:
            warnings.simplefilter("ignore")
            path = Path(folder, ONNX)
            torch.onnx.export(
                module,
                example,
                path,
                dynamo=False,
                opset_version=_OPSET,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_axes=_AXES,
            )
            return path.read_bytes()
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"The export needs onnx: pip install 'crossmodal[export]' ({error})") from error
    except Exception as error:  # torch's exporter has two classes, and the user's own code may raise any
        cause = str(error).partition("\n")[0][:300]
        raise ExportError(f"The model cannot be written as ONNX; the cause is probably {suspect}: {cause}") from error


def own_parts(model: AudioClassifier) -> str:
    """Return the names of the parts with classes outside of crossmodal, for a message."""
    parts = (model.front_end_part, model.front_end), (model.encoder_part, model.encoder)
    return " and ".join(f"the {part.kind} {part.name}" for part, made in parts if own_sources(made.modules()))


class _Pipeline(nn.Module):
    """Map waveforms of any number and length to calibrated probabilities."""

    def __init__(self, model: AudioClassifier, temperature: float) -> None:
        super().__init__()
        self.model = _with_affine_batch_norm(deepcopy(model))
        if isinstance(model.front_end, PretrainedFrontEnd):  # a submodule has a name in the graph
            self.model.front_end.network = self.model.front_end.load()
        self.temperature = temperature

    def forward(self, waveform: Tensor, waveform_length: Tensor) -> Tensor:
        """Compute `AudioClassifier.forward` with dynamic sizes."""
        shortest = self.model.min_samples
        waveform_length = waveform_length.clamp(max=waveform.shape[1])
        waveform = F.pad(waveform, (0, shortest))[:, : waveform_length.max().clamp(min=shortest)]
        is_valid = torch.arange(waveform.shape[1], dtype=torch.int32) < waveform_length.int()[:, None]
        waveform = torch.where(is_valid, waveform, 0.0)
        features, length = self.model.front_end(waveform[:, None], waveform_length.clamp(min=shortest))
        features, length = self.model.normalize_clips(features, length)
        logits = self.model.classify(self.model.encode(features, length))
        logits = logits + 0 * waveform.sum(dim=1, keepdim=True)  # NaN stays NaN, which a maximum of onnxruntime loses
        return (logits / self.temperature).softmax(dim=-1)


def _with_affine_batch_norm(model: AudioClassifier) -> AudioClassifier:
    """Add identity weights to batch normalization without weights: the exporter reads its size from them."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.affine:
            module.affine = True
            module.weight = nn.Parameter(torch.ones(module.num_features))
            module.bias = nn.Parameter(torch.zeros(module.num_features))
    return model


def to_int8(content: bytes) -> bytes:
    """Quantize the weights after the front end, and those of pretrained layers, to 8 bits; inputs dynamically.

    Other parts of the front end are not quantized: its decibels need the precision. Small layers, such as the first
    ones of a CNN, are not quantized either: they save little space and cause most of the loss. Weights are unsigned
    because products of unsigned and signed bytes overflow on processors without VNNI.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"int8 needs onnxruntime: pip install 'crossmodal[export]' ({error})") from error
    with tempfile.TemporaryDirectory() as folder:
        original, prepared, quantized = (Path(folder, f"{name}.onnx") for name in ("original", "prepared", "quantized"))
        original.write_bytes(content)
        try:
            quant_pre_process(original, prepared, skip_symbolic_shape=True)
            kept = _nodes_to_keep(onnx.load(prepared).graph)
            quantize_dynamic(prepared, quantized, nodes_to_exclude=kept, weight_type=QuantType.QUInt8)
        except Exception as error:  # the quantizer raises many types
            raise ExportError(f"onnxruntime cannot quantize this model: {error}. Export without --int8.") from error
        return quantized.read_bytes()


def _nodes_to_keep(graph: "GraphProto") -> list[str]:
    """Return the nodes of the front end, without the layers of a pretrained one, and those with few weights."""
    sizes = {weights.name: math.prod(weights.dims) for weights in graph.initializer}
    return [
        node.name
        for node in graph.node
        if (node.name.startswith(_FRONT_END) and _LAYERS not in node.name)
        or max(sizes.get(name, 0) for name in node.input or [""]) < _MIN_WEIGHTS
    ]


def _with_metadata(content: bytes, **metadata: str) -> bytes:
    import onnx

    file = onnx.load_from_string(content)
    onnx.helper.set_model_props(file, metadata)
    return bytes(file.SerializeToString())
