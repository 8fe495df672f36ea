"""Export a voice model to ONNX and compare it with PyTorch."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossmodal.errors import ExportError
from crossmodal.inference.model_config import CARD, CONFIG, ONNX, ONNX_INT8, WEIGHTS, read_config
from crossmodal.inference.onnx_check import Batch, generated_voices, hard_batches
from crossmodal.inference.onnx_model import OnnxModel
from crossmodal.inference.recognizer import VoiceModel
from crossmodal.own_code import trusting
from crossmodal.storage import atomic_path

TOLERANCE = 1e-4  # in probability


@dataclass(frozen=True)
class Exported:
    """An exported file and the difference between its probabilities and those of the original model.

    Args:
        path: Path of the file.
        size: Size in bytes.
        original: Name of the original model.
        clips: Number of generated sounds that were compared.
        largest: Largest difference in probability.
        mean: Mean over sounds of the largest difference in probability.
        same_label: Number of sounds with the same predicted emotion.
    """

    path: Path
    size: int
    original: str
    clips: int
    largest: float
    mean: float
    same_label: int


def export_model(
    folder: str | Path, out: str | Path | None = None, *, int8: bool = False, trust_own_code: bool = False
) -> list[Exported]:
    """Write ``model.onnx``, and optionally ``model.int8.onnx``, after a comparison with the original model.

    Args:
        folder: Path of the model folder.
        out: Folder of the exported files, with copies of the configuration and the card: a model folder that needs no
            torch. Default: the model folder.
        int8: True to write a second, smaller file with 8-bit weights.
        trust_own_code: As in `EmotionRecognizer.from_pretrained`. The exported files need no code of yours.

    Returns:
        The written files. A rerun for the same model keeps the card in `out` and an existing ``model.int8.onnx``; that
        of another model is removed.

    Raises:
        ModelFolderError: If the folder is incomplete, damaged or not from crossmodal.
        ExportError: If the model cannot be exported, or the file would predict other probabilities. Nothing is written
            then.
        MissingExtraError: If onnx or onnxruntime is not installed.
    """
    from crossmodal.inference.onnx_graph import own_parts, to_int8, to_onnx
    from crossmodal.inference.torch_model import load_torch_model

    folder = Path(folder)
    out = folder if out is None else Path(out)
    if out.resolve() != folder.resolve() and (out / WEIGHTS).is_file():
        raise ExportError(f"{out} holds another model: choose another output folder.")
    config = read_config(folder)
    with trusting(trust_own_code):
        original = load_torch_model(folder, config)
    content = to_onnx(original.network, config["labels"], config["temperature"])
    report = _compare(out / ONNX, content, original, "PyTorch", hard_batches(config["sample_rate"]))
    if not report.largest <= TOLERANCE:  # also true for nan
        own = own_parts(original.network)
        advice = f"Check {own}" if own else "Please report this bug with the folder's config.json"
        raise ExportError(
            f"Probabilities of the exported model would differ from PyTorch by {report.largest:.2g}, more than "
            f"{TOLERANCE:g}. Nothing was written. {advice}."
        )
    exported, contents = [report], {ONNX: content}
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
    pairs = []
    for batch in batches:
        try:
            pairs.append((model.probabilities(*batch), original.probabilities(*batch)))
        except Exception as error:  # onnxruntime has one exception class for each status
            size = " x ".join(map(str, batch[0].shape))
            raise ExportError(
                f"The exported model does not take {size} samples: a part of the model has a fixed size. Nothing was "
                f"written. ({' '.join(str(error).split())[:300]})"
            ) from error
    new, old = (np.concatenate(column) for column in zip(*pairs, strict=True))
    difference = np.abs(new - old).max(axis=1)
    same_label = int((new.argmax(axis=1) == old.argmax(axis=1)).sum())
    return Exported(
        path, len(content), name, len(difference), float(difference.max()), float(difference.mean()), same_label
    )


def _write(contents: dict[str, bytes], folder: Path, out: Path) -> None:
    is_new = not (out / ONNX).is_file() or (out / ONNX).read_bytes() != contents[ONNX]
    if is_new:
        (out / ONNX_INT8).unlink(missing_ok=True)
    if out.resolve() != folder.resolve():  # the configuration last: a folder with a configuration is complete
        wanted = [name for name in (CARD, CONFIG) if is_new or not (out / name).is_file()]
        copied = [name for name in wanted if (folder / name).is_file()]
        contents = contents | {name: (folder / name).read_bytes() for name in copied}
    for name, content in contents.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
