"""From a voice model in PyTorch to an ONNX file's bytes, and from these to those with 8-bit weights."""

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
from crossmodal.models import AudioClassifier, SelfSupervisedFrontEnd
from crossmodal.version import __version__

if TYPE_CHECKING:
    from onnx import GraphProto

_OPSET = 17  # the first with layer normalization
_FRONT_END = "/front_end/"  # as the exporter calls what it finds in a module
_FEW = 8192  # weights
_AXES = {INPUTS[0]: {0: "batch", 1: "time"}, INPUTS[1]: {0: "batch"}, OUTPUT: {0: "batch"}}


def to_onnx(model: AudioClassifier, labels: Sequence[str], temperature: float) -> bytes:
    """Write a voice model down as an ONNX file.

    The exporter is torch's older one, which follows one call (``dynamo=False``). The newer one, as of torch 2.12,
    exports an LSTM for clips of the example's length only, and says nothing of it.

    Args:
        model: The voice model, in evaluation mode.
        labels: Its emotions.
        temperature: What its logits are divided by.

    Returns:
        The file's content. It takes waveforms and their lengths, any number of any length, and makes probabilities.

    Raises:
        ExportError: Its front end is a network that cannot be exported, or something in it is unknown to ONNX.
        MissingExtraError: onnx is not installed.
    """
    if isinstance(model.front_end, SelfSupervisedFrontEnd):
        raise ExportError(
            f"{model.front_end.bundle}, which this model listens through, hears one clip at a time, cut to its length: "
            "it normalizes over all of a clip, so that in a batch of several lengths, as an exported model takes it, "
            "the padding would be heard. Use such a model in PyTorch."
        )
    return _with_metadata(
        _trace(_Listening(model, temperature).eval(), model.config["encoder"]),
        labels=json.dumps(list(labels), ensure_ascii=False),
        sample_rate=str(model.config["sample_rate"]),
        min_samples=str(model.min_samples),
        crossmodal_version=__version__,
    )


def _trace(listening: nn.Module, encoder: str) -> bytes:
    example = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0)), torch.tensor([20_000, 9_000])
    try:
        import onnx  # noqa: F401 (the exporter needs it, and says so only at the end)

        # It prints its whole graph where it fails, and warns of sizes that it compares, and of its age.
        silence = contextlib.redirect_stdout(io.StringIO())
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), silence:
            warnings.simplefilter("ignore")
            path = Path(folder, ONNX)
            torch.onnx.export(
                listening,
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
        raise MissingExtraError(f"An export needs onnx: pip install 'crossmodal[export]' ({error})") from error
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        cause = str(error).partition("\n")[0][:300]
        raise ExportError(f"The encoder {encoder!r} cannot be written as ONNX: {cause}") from error


class _Listening(nn.Module):
    """From waveforms of any number and length to calibrated probabilities."""

    def __init__(self, model: AudioClassifier, temperature: float) -> None:
        super().__init__()
        self.model = _with_weights(deepcopy(model))
        self.temperature = temperature

    def forward(self, waveform: Tensor, waveform_length: Tensor) -> Tensor:
        """What `AudioClassifier.forward` does, with sizes that stay open."""
        shortest = self.model.min_samples
        waveform_length = waveform_length.clamp(max=waveform.shape[1])
        waveform = F.pad(waveform, (0, shortest))[:, : waveform_length.max().clamp(min=shortest)]
        own = torch.arange(waveform.shape[1], dtype=torch.int32) < waveform_length.int()[:, None]
        waveform = torch.where(own, waveform, 0.0)
        features, length = self.model.front_end(waveform[:, None], waveform_length.clamp(min=shortest))
        features, length = self.model.normalize_clips(features, length)
        logits = self.model.classify(self.model.encode(features, length))
        return (logits / self.temperature).softmax(dim=-1)


def _with_weights(model: AudioClassifier) -> AudioClassifier:
    """Give batch normalization without weights those that change nothing: the exporter asks them for its size."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.affine:
            module.affine = True
            module.weight = nn.Parameter(torch.ones(module.num_features))
            module.bias = nn.Parameter(torch.zeros(module.num_features))
    return model


def to_int8(content: bytes) -> bytes:
    """Quantize the weights behind the front end to 8 bits, and what they are multiplied with as it comes.

    The front end stays as it is: its decibels would not survive. So do small layers, such as the first ones of a CNN:
    they save nothing, and cost most of what there is to lose. Weights are unsigned, because products of unsigned and
    signed bytes overflow on processors without VNNI.

    Args:
        content: Of an ONNX file from `to_onnx`.

    Raises:
        ExportError: onnxruntime cannot do it.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"This needs onnxruntime: pip install 'crossmodal[export]' ({error})") from error
    with tempfile.TemporaryDirectory() as folder:
        original, prepared, quantized = (Path(folder, f"{name}.onnx") for name in ("original", "prepared", "quantized"))
        original.write_bytes(content)
        try:
            quant_pre_process(original, prepared, skip_symbolic_shape=True)
            kept = _nodes_to_keep(onnx.load(prepared).graph)
            quantize_dynamic(prepared, quantized, nodes_to_exclude=kept, weight_type=QuantType.QUInt8)
        except Exception as error:  # a research tool: its errors are of every kind
            raise ExportError(f"onnxruntime cannot quantize this model: {error}. Leave out --int8.") from error
        return quantized.read_bytes()


def _nodes_to_keep(graph: "GraphProto") -> list[str]:
    """Those of the front end, and those that multiply with few weights."""
    sizes = {weights.name: math.prod(weights.dims) for weights in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.name.startswith(_FRONT_END) or max(sizes.get(name, 0) for name in node.input or [""]) < _FEW
    ]


def _with_metadata(content: bytes, **said: str) -> bytes:
    import onnx

    file = onnx.load_from_string(content)
    for key, value in said.items():
        entry = file.metadata_props.add()
        entry.key, entry.value = key, value
    return bytes(file.SerializeToString())
