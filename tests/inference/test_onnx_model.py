import json
import re
import shutil
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from crossmodal import EmotionRecognizer
from crossmodal.errors import MissingExtraError, ModelFolderError
from crossmodal.inference.onnx_check import voice
from crossmodal.inference.onnx_model import OnnxModel, load_onnx_model
from tests.inference.conftest import LABELS


@pytest.fixture
def copy(onnx_folder, tmp_path):
    return shutil.copytree(onnx_folder, tmp_path / "copy")


def rewrite(path, change) -> None:
    file = onnx.load(path)
    change(file)
    path.write_bytes(file.SerializeToString())


def test_backends_predict_the_same(onnx_folder, model_folder, tiny_ravdess):
    torch_recognizer = EmotionRecognizer.from_pretrained(model_folder, backend="torch")
    recognizer = EmotionRecognizer.from_pretrained(onnx_folder)
    int8 = EmotionRecognizer.from_pretrained(onnx_folder, backend="int8")
    assert (recognizer.backend, torch_recognizer.backend, int8.backend) == ("onnx", "torch", "int8")
    wavs = sorted(tiny_ravdess.rglob("*.wav"))[:10]
    exact, onnx_, rounded = (
        [list(one.probabilities.values()) for one in each(wavs)] for each in (torch_recognizer, recognizer, int8)
    )
    np.testing.assert_allclose(onnx_, exact, atol=1e-4)
    np.testing.assert_allclose(rounded, exact, atol=0.05)
    assert not np.array_equal(onnx_, rounded)
    model = load_onnx_model(onnx_folder)
    assert (list(model.labels), model.sample_rate, model.min_samples) == (LABELS, 16_000, 1600)
    found = model.probabilities(np.stack([voice(16_000, 20_000, seed) for seed in (0, 1)]), np.array([20_000, 100]))
    assert (found.shape, found.dtype) == ((2, 8), np.float32)


@pytest.mark.parametrize(("variable", "expected"), [("3", 3), (None, 1), ("0", 1), ("many", 1)])
def test_threads(onnx_folder, monkeypatch, variable, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    options = load_onnx_model(onnx_folder)._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (expected, 1)


@pytest.mark.parametrize("int8", [False, True])
def test_a_missing_file_names_the_command(model_folder, int8):
    option, name = (" --int8", r"model\.int8\.onnx") if int8 else ("", r"model\.onnx")
    with pytest.raises(ModelFolderError, match=f"{name}.*crossmodal export MODEL{option}"):
        load_onnx_model(model_folder, int8=int8)


@pytest.mark.parametrize(
    "change",
    [
        *(lambda content, size=size: content[:size] for size in (0, 1, 1000, -1000)),
        *(lambda _, other=other: other for other in (b"text", bytes(5000), np.random.default_rng(0).bytes(5000))),
    ],
)
def test_a_file_that_is_damaged_or_of_another_kind(copy, change, capfd):
    path = copy / "model.onnx"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelFolderError, match=r"model\.onnx (is damaged|was not exported by crossmodal)"):
        load_onnx_model(copy)
    assert capfd.readouterr() == ("", "")  # the default of onnxruntime is to print


def test_a_model_of_another_program_or_with_its_operators(copy):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rewrite(copy / "model.onnx", lambda file: setattr(file.graph.node[-1], "domain", "com.evil"))
    with pytest.raises(ModelFolderError, match=r"model\.onnx.*com\.evil"):
        load_onnx_model(copy)
    (copy / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelFolderError, match="not exported by crossmodal"):
        load_onnx_model(copy)


@pytest.mark.parametrize(
    "key, value",
    [
        *((key, None) for key in ("labels", "sample_rate", "crossmodal_version", "min_samples")),
        *(("labels", "neutral"), ("labels", "8"), ("sample_rate", "16 kHz")),
    ],
)
def test_missing_or_invalid_metadata(copy, key, value):
    def change(file) -> None:
        metadata = {entry.key: entry.value for entry in file.metadata_props} | {key: value}
        onnx.helper.set_model_props(file, {name: text for name, text in metadata.items() if text is not None})

    rewrite(copy / "model.onnx", change)
    with pytest.raises(ModelFolderError, match="metadata"):
        load_onnx_model(copy)


@pytest.mark.parametrize("changes", [{"labels": LABELS[::-1]}, {"labels": LABELS[:2]}, {"sample_rate": 8000}])
def test_a_file_of_another_model(copy, changes):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(ModelFolderError, match=r"neutral, calm.*16000 Hz"):
        load_onnx_model(copy)


@pytest.mark.parametrize("place", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_external_weights_are_not_read(copy, place):
    (copy / "weights.bin").write_bytes(bytes(10_000))

    def refer(file) -> None:
        tensor = max(file.graph.initializer, key=lambda initializer: len(initializer.raw_data))
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        tensor.ClearField("raw_data")

    rewrite(copy / "model.onnx", refer)
    with pytest.raises(ModelFolderError, match="other files"):
        load_onnx_model(copy)


def test_missing_onnxruntime_names_the_extra(onnx_folder, model_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'crossmodal[export]'")):
        OnnxModel((onnx_folder / "model.onnx").read_bytes())
