import copy as copying
import json
import shutil
import sys

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossmodal import __version__
from crossmodal.cli.main import main
from crossmodal.errors import ExportError, MissingExtraError, ModelFolderError
from crossmodal.inference import export, onnx_graph
from crossmodal.inference.export import export_model
from crossmodal.inference.onnx_check import hard_batches, voice
from crossmodal.inference.onnx_model import OnnxModel
from crossmodal.inference.torch_model import TorchModel
from crossmodal.models import AudioClassifier, list_audio_encoders, list_front_ends
from tests.inference.conftest import LABELS
from tests.tiny_speech import shrink, write_transformers, write_weights, write_whisper

SMALL = {"cnn": {"channels": [4, 8], "hidden_size": 16}, "crnn": {"channels": [4, 8], "hidden_size": 16}}
# Every encoder and front end, and every setting that adds operations.
MODELS = {
    "dense": {"front_end": "lmfb", "front_end_kwargs": {"deltas": 2, "energy": True}},
    "cnn": {"front_end": "mfcc", "clip_normalization": "mean", "encoder_kwargs": SMALL["cnn"]},
    "tdnn": {"front_end": "both", "front_end_kwargs": {"top_db": None, "deltas": 1}},
    "lstm": {"front_end": "mfcc", "encoder_kwargs": {"num_layers": 2, "pooling": "attention"}},
    "crnn": {"front_end": "lmfb", "clip_normalization": "mean_std", "encoder_kwargs": SMALL["crnn"]},
    "transformer": {"front_end": "mfcc", "front_end_kwargs": {"silence_db": None}},
    "tdnn without statistics": {"front_end": "both", "corpus_normalization": False},
    "lstm at 8 kHz": {
        "sample_rate": 8000,
        "front_end_kwargs": {"n_fft": 250, "win_length": 199, "hop_length": 77, "n_mels": 20, "n_mfcc": 13},
        "encoder_kwargs": {"subsampling": 1, "pooling": "last"},
    },
}


def random_model(encoder: str, **kwargs) -> AudioClassifier:
    """Create a model with random weights whose predictions differ between sounds."""
    torch.manual_seed(0)
    model = AudioClassifier(encoder=encoder.partition(" ")[0], **kwargs).eval()
    model.head[-1].weight.data *= 8
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def test_all_encoders_and_front_ends_are_covered():
    assert {*list_audio_encoders()} <= MODELS.keys()
    default = AudioClassifier().config["front_end"]
    assert {settings.get("front_end", default) for settings in MODELS.values()} == {*list_front_ends()} - {"pretrained"}


@pytest.fixture(scope="module", params=MODELS)
def pair(request):
    """Return a model in PyTorch and its export."""
    model = random_model(request.param, **MODELS[request.param])
    return TorchModel(model, 1.7), OnnxModel(onnx_graph.to_onnx(model, LABELS, 1.7))


def test_exported_models_predict_the_same(pair):
    original, exported = pair
    probabilities = []
    for batch in hard_batches(exported.sample_rate):
        probabilities.append(exported.probabilities(*batch))
        np.testing.assert_allclose(probabilities[-1], original.probabilities(*batch), atol=1e-5)
    np.testing.assert_allclose(np.concatenate(probabilities).sum(axis=1), 1, atol=1e-5)
    assert np.ptp(np.concatenate(probabilities), axis=0).max() > 0.05  # predictions differ between sounds


@settings(max_examples=6)
@given(lengths=st.lists(st.integers(1, 20_000), min_size=1, max_size=4), padding=st.integers(0, 5000))
def test_any_batch_size_and_any_length(pair, lengths, padding):
    original, exported = pair
    rate, size = exported.sample_rate, max(lengths) + padding
    waveforms = np.stack([voice(rate, size, seed) for seed in range(len(lengths))])
    found = exported.probabilities(waveforms, np.array(lengths))
    np.testing.assert_allclose(found, original.probabilities(waveforms, np.array(lengths)), atol=export.TOLERANCE)
    alone = exported.probabilities(waveforms[:1, : lengths[0]], np.array(lengths[:1]))
    np.testing.assert_allclose(found[:1], alone, atol=export.TOLERANCE)


def test_content_of_the_file(onnx_folder):
    file = onnx.load(onnx_folder / "model.onnx")
    onnx.checker.check_model(file, full_check=True)
    metadata = {entry.key: entry.value for entry in file.metadata_props}
    assert json.loads(metadata["labels"]) == LABELS
    assert (metadata["sample_rate"], metadata["min_samples"]) == ("16000", "1600")
    assert metadata["crossmodal_version"] == __version__
    shapes = {
        value.name: [dimension.dim_param or dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in [*file.graph.input, *file.graph.output]
    }
    assert shapes == {"waveform": ["batch", "time"], "waveform_length": ["batch"], "probabilities": ["batch", 8]}


def test_export_does_not_change_the_model():
    model = random_model("dense")
    before = copying.deepcopy(model.state_dict())
    onnx_graph.to_onnx(model, LABELS, 1.0)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("encoder", ["lstm", "tdnn"])
def test_8_bit_weights_are_smaller_and_predict_nearly_the_same(encoder):
    content = onnx_graph.to_onnx(random_model(encoder, **MODELS[encoder]), LABELS, 1.0)
    smaller = onnx_graph.to_int8(content)
    assert len(smaller) < 0.7 * len(content)
    sounds = np.stack([voice(16_000, 40_000, seed) for seed in range(8)]), np.full(8, 40_000)
    difference = OnnxModel(smaller).probabilities(*sounds) - OnnxModel(content).probabilities(*sounds)
    assert 0 < np.abs(difference).max() < 0.05
    file = onnx.load_from_string(smaller)
    integer = [node.name for node in file.graph.node if "Integer" in node.op_type or "Quantize" in node.op_type]
    assert integer
    assert not [name for name in integer if name.startswith("/front_end")]
    assert {entry.key for entry in file.metadata_props} >= {"labels", "sample_rate", "min_samples"}


def files(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_command(copy, capsys):
    assert main(["export", str(copy), "--format", "onnx", "--int8"]) == 0
    assert files(copy) == {"model.safetensors", "config.json", "README.md", "model.onnx", "model.int8.onnx"}
    first, second, advice = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{copy / 'model.onnx'} (") and "PyTorch" in first and "18" in first
    assert second.startswith(f"{copy / 'model.int8.onnx'} (") and "32" in second
    assert "crossmodal test" in advice


def test_an_output_folder_has_no_torch_weights(onnx_folder, model_folder):
    assert files(onnx_folder) == {"model.onnx", "model.int8.onnx", "config.json", "README.md"}
    for name in ("config.json", "README.md"):
        assert (onnx_folder / name).read_bytes() == (model_folder / name).read_bytes()
    assert files(model_folder) == {"model.safetensors", "config.json", "README.md"}


def test_the_export_of_an_older_model_is_removed(copy, save, model_folder):
    (copy / "model.int8.onnx").write_bytes(b"another model's")
    (exact,) = export_model(copy)
    assert (exact.path, exact.size) == (copy / "model.onnx", (copy / "model.onnx").stat().st_size)
    assert 0 <= exact.mean <= exact.largest < 1e-5
    assert (exact.original, exact.same_label, exact.clips) == ("PyTorch", 18, 18)
    assert "model.int8.onnx" not in files(copy)
    (copy / "model.safetensors").write_bytes(b"old")
    save(copy)
    assert files(copy) == files(model_folder)
    assert (copy / "model.safetensors").read_bytes() == (model_folder / "model.safetensors").read_bytes()


def test_a_rerun_for_the_same_model_keeps_the_card_and_the_8_bit_model(onnx_folder, model_folder, save, tmp_path):
    out = shutil.copytree(onnx_folder, tmp_path / "out")
    (out / "README.md").write_text("My own words.")
    export_model(model_folder, out)
    assert (out / "README.md").read_text() == "My own words."
    assert (out / "model.int8.onnx").read_bytes() == (onnx_folder / "model.int8.onnx").read_bytes()
    other = save(calibration={"temperature": 2.0})
    export_model(other, out)  # another model
    assert (out / "README.md").read_bytes() == (other / "README.md").read_bytes()
    assert "model.int8.onnx" not in files(out)


@pytest.mark.parametrize("temperature, word", [(1.01, "PyTorch"), (float("nan"), "nan")])
def test_an_export_with_other_predictions_is_not_written(copy, monkeypatch, capsys, temperature, word):
    (copy / "model.onnx").write_bytes(b"older")
    to_onnx = onnx_graph.to_onnx
    monkeypatch.setattr(onnx_graph, "to_onnx", lambda model, labels, _: to_onnx(model, labels, temperature))
    assert main(["export", str(copy), "--int8"]) == 1
    assert word in capsys.readouterr().err
    assert (copy / "model.onnx").read_bytes() == b"older"
    assert "model.int8.onnx" not in files(copy)


def test_the_folder_of_another_model_is_not_overwritten(copy, model_folder):
    with pytest.raises(ExportError, match="another model"):
        export_model(model_folder, copy)
    assert "model.onnx" not in files(copy)


def test_folders_that_cannot_be_read_or_written(copy, tmp_path, onnx_folder):
    with pytest.raises(ModelFolderError, match="nowhere"):
        export_model(tmp_path / "nowhere")
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        export_model(onnx_folder)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ExportError, match="below"):
        export_model(copy, tmp_path / "file" / "below")


@pytest.mark.parametrize(
    "owner, name, value, message",
    [
        (onnx_graph, "_AXES", {}, "1 x 800"),  # fixed sizes
        (AudioClassifier, "classify", lambda model, one: model.head(torch.fft.fft(one).real), r"dense.*fft"),
    ],
)
def test_an_export_that_fails_is_not_written(copy, monkeypatch, capsys, owner, name, value, message):
    monkeypatch.setattr(owner, name, value)
    with pytest.raises(ExportError, match=message):
        export_model(copy)
    assert "model.onnx" not in files(copy)
    assert capsys.readouterr().out == ""  # the exporter prints its whole graph


# Pretrained front ends: network, arguments of the front end and of the model.
PRETRAINED = {
    "whisper": ("whisper", {}, {}),
    "whisper, trained layers": ("whisper", {"layers": [1, 3], "trainable_layers": 2}, {"mix_layers": False}),
    "whisper, subsampling": ("whisper", {"subsampling": 2, "silence_db": 20.0}, {"clip_normalization": "mean"}),
    "whisper, all frames": ("whisper", {"layers": [2], "silence_db": None}, {"encoder": "lstm"}),
    "bundle": ("WAV2VEC2_BASE", {}, {}),
    "normalized bundle": ("HUBERT_LARGE", {"subsampling": 2}, {"mix_layers": False}),
    "bundle, trained layers": ("HUBERT_LARGE", {"layers": [3], "trainable_layers": 1}, {}),
    "wav2vec2": ("wav2vec2", {}, {"mix_layers": False}),
    "wav2vec2 stable": ("wav2vec2 stable", {"layers": [1, 3], "trainable_layers": 2}, {}),
    "data2vec-audio": ("data2vec-audio", {"subsampling": 3}, {}),
    "wavlm bundle": ("WAVLM_BASE", {"layers": [2, 3]}, {}),
    "wavlm": ("wavlm", {"layers": [2]}, {}),
}


def pretrained_model(folder, network, kwargs, settings) -> AudioClassifier:
    """Create a model with a tiny random network; the context of Whisper is 1 s, so that longer sounds are cut."""
    if network == "whisper":
        of_network = {"model": write_whisper(folder / network, positions=50)}
    elif network.isupper():
        of_network = {"model": network, "weights": write_weights(folder / f"{network}.safetensors", network)}
    else:
        pytest.importorskip("transformers")
        of_network = {"model": write_transformers(folder / network, network)}
    pooling = {} if settings.get("encoder") == "lstm" else {"encoder_kwargs": {"pooling": "stats", "hidden_size": 32}}
    settings = {"encoder": "dense", **pooling, **settings}
    model = random_model(front_end="pretrained", front_end_kwargs={**of_network, **kwargs}, **settings)
    model.front_end.load_trained_layers()
    return model


@pytest.fixture(autouse=True)
def tiny_bundles(monkeypatch):
    for name in ("WAV2VEC2_BASE", "HUBERT_LARGE", "WAVLM_BASE"):
        shrink(monkeypatch, name)


@pytest.mark.parametrize("kind", PRETRAINED)
def test_pretrained_networks_predict_the_same(tmp_path, kind):
    network, kwargs, settings = PRETRAINED[kind]
    model = pretrained_model(tmp_path, network, kwargs, settings)
    content = onnx_graph.to_onnx(model, LABELS, 1.3)
    original, exported, smaller = TorchModel(model, 1.3), OnnxModel(content), OnnxModel(onnx_graph.to_int8(content))
    probabilities = []
    for batch in hard_batches(16_000):
        probabilities.append(exported.probabilities(*batch))
        np.testing.assert_allclose(probabilities[-1], original.probabilities(*batch), atol=export.TOLERANCE)
        difference = np.abs(smaller.probabilities(*batch) - probabilities[-1])
        assert difference.max() < 0.15 and difference.mean() < 0.03
    assert np.ptp(np.concatenate(probabilities), axis=0).max() > 0.02
    metadata = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    assert metadata.get("max_batch") == (None if network == "whisper" else "1")
    sound = np.stack([voice(16_000, 8000, 0)] * 2)
    sound[0, 3000] = np.nan
    found = exported.probabilities(sound, np.array([8000, 8000]))
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_a_network_that_cannot_be_exported_is_named(tmp_path, save, capsys):
    model = pretrained_model(tmp_path, "wav2vec2-bert", {"layers": [2]}, {})
    folder = save(model=model)
    assert main(["export", str(folder)]) == 1
    assert "wav2vec2-bert" in (error := capsys.readouterr().err) and "NumPy" in error
    assert "model.onnx" not in files(folder)


@pytest.mark.parametrize(
    ("missing", "int8"), [("onnx", False), ("onnxruntime", False), ("onnxruntime.quantization", True)]
)
def test_a_missing_library_names_the_extra(copy, monkeypatch, missing, int8):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crossmodal\[export\]'"):
        export_model(copy, int8=int8)
    assert "model.onnx" not in files(copy)
