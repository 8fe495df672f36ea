"""Evaluation of a trained model on actors that it was not trained on."""

from dataclasses import dataclass
from typing import Any

from crossmodal.datamodules import AudioDataModule
from crossmodal.datasets.manifest_values import speaker_name
from crossmodal.datasets.splits.protocols import missing_classes
from crossmodal.datasets.stream.reader import read_about
from crossmodal.errors import ConfigError, LeakageError
from crossmodal.evaluation.metrics import describe
from crossmodal.evaluation.predictions import Predictions, predict
from crossmodal.inference.model_config import read_config, warning_of
from crossmodal.inference.model_folder import ModelFolder, load_model_folder
from crossmodal.inference.onnx_model import OnnxModel, load_onnx_model
from crossmodal.labels_for_people import corpus_name, list_names, protocol_name
from crossmodal.pipeline.stored.speech_features import store_speech_features

# Data arguments whose defaults are taken from the model's config.
_DATA_DEFAULTS = ("channel", "label_set", "protocol", "fold", "num_folds")


@dataclass(frozen=True)
class ExportedFolder:
    """An exported model with the content of its folder's ``config.json``."""

    model: OnnxModel
    config: dict[str, Any]


def load_for_test(folder: str, backend: str = "torch") -> ModelFolder | ExportedFolder:
    """Load a model folder, or with the backend ``onnx`` or ``int8`` its exported model."""
    if backend == "torch":
        return load_model_folder(folder)
    return ExportedFolder(load_onnx_model(folder, int8=backend == "int8"), read_config(folder))


def evaluate(folder: ModelFolder | ExportedFolder, data: dict[str, Any]) -> dict[str, Any]:
    """Evaluate a model on the test actors of a fold; raise LeakageError if one was used for training or selection.

    `data` has arguments of `AudioDataModule`. Channel, label set, protocol and fold default to those that the model was
    trained with, if both corpora are RAVDESS folders or both are manifests.
    """
    config = folder.config
    datamodule = AudioDataModule(**_data_defaults(config, data) | data)
    _check_labels(datamodule, config["labels"])
    datamodule.prepare_data()
    datamodule.setup()
    actors = sorted({clip.actor for clip in datamodule.split["test"]})
    trained = {speaker_name(name) for name in config["actors_seen"]}
    seen = sorted({actor for actor in actors if speaker_name(actor) in trained})
    same_corpus = datamodule.is_synthetic == (config["corpus"]["kind"] == "synthetic")
    if seen and same_corpus and not datamodule.is_speaker_dependent:
        protocol = protocol_name(config["protocol"], config.get("num_folds"))
        raise LeakageError(
            f"The model was trained or selected on actors {list_names(seen)}, so they cannot test it. Test it on "
            f"{protocol} fold {config['fold']}, which it was trained for. If these are different people "
            "with the same names, rename them in the manifest."
        )
    predictions, source = _predict(folder, datamodule), datamodule.source
    missing = {"missing_classes": missing_classes({"test": datamodule.split["test"]}, config["labels"])}
    return {
        "corpus": {"kind": source.kind, "name": source.name, "clips": len(predictions.clips), **missing},
        "protocol": datamodule.protocol,
        "num_folds": datamodule.num_folds if datamodule.protocol == "grouped" else None,
        "fold": datamodule.fold,
        "channel": datamodule.source.channel,
        "label_set": datamodule.source.label_set,
        "actors": actors,
        "speaker_dependent": datamodule.is_speaker_dependent,
        "warning": None if datamodule.is_synthetic else warning_of(config),
        "labels": list(predictions.labels),
        **describe(predictions),
        "confusion": predictions.confusion().tolist(),
    }


def _data_defaults(config: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the data arguments of the model's training, or none if the given corpus is of another kind."""
    kind = config["corpus"]["kind"]
    is_manifest = kind == "manifest" or config["channel"] is None
    if not any(data.get(name) for name in ("root", "manifest", "stream")) and (is_manifest or kind != "synthetic"):
        name, key = corpus_name(config["corpus"], config["channel"]), "manifest FILE" if is_manifest else "root DIR"
        raise ConfigError(f"The model was trained on {name}. Pass the recordings to test it on: --data.{key}.")
    if is_manifest != bool(data.get("manifest") or (data.get("stream") and read_about(data["stream"]).labels)):
        return {}
    return {name: config[name] for name in _DATA_DEFAULTS if config.get(name) is not None}


def _check_labels(datamodule: AudioDataModule, known: list[str]) -> None:
    """Raise ConfigError if the corpus has labels that the model does not; a manifest may have fewer."""
    labels, label_set = list(datamodule.labels), datamodule.source.label_set
    if labels != known and not (label_set is None and {*labels} <= {*known}):
        source = f"label_set {label_set}" if label_set else datamodule.source.name
        raise ConfigError(f"The model predicts {', '.join(known)}, but {source} has the labels {', '.join(labels)}.")


def _predict(folder: ModelFolder | ExportedFolder, datamodule: AudioDataModule) -> Predictions:
    clips = [clip for clip in datamodule.split["test"] if clip.label is not None]
    if isinstance(folder, ExportedFolder):
        probabilities = [
            folder.model.probabilities(batch["waveform"][:, 0].numpy(), batch["waveform_length"].numpy()).astype(float)
            for batch in datamodule.loader(clips)
        ]
    else:
        # Speech features of a frozen network may be stored from training; batches then hold them.
        datamodule.speech_features = store_speech_features(folder.model, datamodule, clips)
        temperature = folder.config["temperature"]  # as `predict` has it
        logits = predict(folder.model, datamodule.loader(clips)).logits
        probabilities = [(logits.double() / temperature).softmax(dim=-1).numpy()]
    return Predictions.of_clips([(clip, "test") for clip in clips], tuple(folder.config["labels"]), probabilities)
