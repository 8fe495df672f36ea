"""Export of a model folder's voice model as a file for onnxruntime, checked against PyTorch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmodal.errors import ExportError
from crossmodal.inference.model_config import CARD, CONFIG, ONNX, ONNX_INT8, WEIGHTS, read_config
from crossmodal.inference.onnx_check import Batch, generated_voices, hard_batches
from crossmodal.inference.onnx_model import OnnxModel
from crossmodal.inference.recognizer import VoiceModel
from crossmodal.storage import atomic_path

TOLERANCE = 1e-4  # in probability


@dataclass(frozen=True)
class Exported:
    """A file, and how its answers compare with those of what it was made of.

    Args:
        path: The file.
        size: In bytes.
        original: What it was made of.
        clips: How many generated sounds were compared.
        largest: The largest difference of a probability.
        mean: Each sound's largest difference, in the mean.
        same_label: In how many sounds the likeliest emotion is the same.
    """

    path: Path
    size: int
    original: str
    clips: int
    largest: float
    mean: float
    same_label: int


def export_model(folder: str | Path, out: str | Path | None = None, *, int8: bool = False) -> list[Exported]:
    """Write ``model.onnx``, and ``model.int8.onnx`` if asked for, if they answer as they must.

    Args:
        folder: The model folder.
        out: Where to write, beside copies of the configuration and the card: a model folder that needs no torch. The
            model folder itself if not given.
        int8: Whether to write a second, smaller file whose weights have 8 bits.

    Returns:
        What was written. A ``model.int8.onnx`` that was there and not asked for is gone: it may be another model's.

    Raises:
        ModelFolderError: The folder is incomplete, damaged or of another make.
        ExportError: The model cannot be exported, or the file would give other answers. Then nothing is written.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    from crossmodal.inference.onnx_graph import to_int8, to_onnx
    from crossmodal.inference.torch_model import load_torch_model

    folder = Path(folder)
    out = folder if out is None else Path(out)
    if out.resolve() != folder.resolve() and (out / WEIGHTS).is_file():
        raise ExportError(f"{out} is the folder of another model: say another one.")
    config, original = read_config(folder), load_torch_model(folder)
    content = to_onnx(original.network, config["labels"], config["temperature"])
    found = _compare(out / ONNX, content, original, "PyTorch", hard_batches(config["sample_rate"]))
    if not found.largest <= TOLERANCE:
        raise ExportError(
            f"The exported model would differ from PyTorch by {found.largest:.2g} in probability, more than "
            f"{TOLERANCE:g}: nothing was written. Please report it, with the folder's config.json."
        )
    exported, contents = [found], {ONNX: content}
    if int8:
        contents[ONNX_INT8] = to_int8(content)
        batches = generated_voices(config["sample_rate"])
        exported.append(_compare(out / ONNX_INT8, contents[ONNX_INT8], OnnxModel(content), ONNX, batches))
    try:
        _write(contents, folder, out)
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error.strerror or error}.") from error
    return exported


def _compare(path: Path, content: bytes, original: VoiceModel, name: str, batches: Iterable[Batch]) -> Exported:
    model = OnnxModel(content, path.name)
    answers = []
    for batch in batches:
        try:
            answers.append((model.probabilities(*batch), original.probabilities(*batch)))
        except Exception as error:  # of onnxruntime, which has a class of its own for every status
            size = " x ".join(map(str, batch[0].shape))
            raise ExportError(
                f"The exported model does not take {size} samples: something in the model has a fixed size. Nothing "
                f"was written. ({' '.join(str(error).split())[:300]})"
            ) from error
    new, old = (np.concatenate(column) for column in zip(*answers, strict=True))
    apart = np.abs(new - old).max(axis=1)
    same_label = int((new.argmax(axis=1) == old.argmax(axis=1)).sum())
    return Exported(path, len(content), name, len(apart), float(apart.max()), float(apart.mean()), same_label)


def _write(contents: dict[str, bytes], folder: Path, out: Path) -> None:
    (out / ONNX_INT8).unlink(missing_ok=True)
    for name, content in contents.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
    for name in (CARD, CONFIG):  # the configuration last: a folder that has it is whole
        if out.resolve() != folder.resolve() and (folder / name).is_file():
            with atomic_path(out / name) as temporary:
                temporary.write_bytes((folder / name).read_bytes())
