"""`crossmodal test`: a finished model on actors it has not seen."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table
from torch import Tensor

from crossmodal.datamodules import AudioDataModule
from crossmodal.errors import ConfigError, LeakageError
from crossmodal.evaluation.labels_for_people import corpus_and_channel, corpus_name, format_for, named, protocol_name
from crossmodal.evaluation.metrics import describe
from crossmodal.evaluation.predictions import Predictions
from crossmodal.evaluation.report import print_warnings
from crossmodal.inference.model_config import read_config
from crossmodal.inference.model_folder import ModelFolder, load_model_folder
from crossmodal.inference.onnx_model import OnnxModel, load_onnx_model
from crossmodal.models import AudioClassifier
from crossmodal.pipeline.settings import parse_or_raise
from crossmodal.pipeline.stored.speech_features import store_speech_features

# What of the data a model was trained for.
_REMEMBERED = ("channel", "label_set", "protocol", "fold", "num_folds")


@dataclass(frozen=True)
class ExportedFolder:
    """An exported model with what its folder says of it.

    Args:
        model: The exported model.
        config: The content of ``config.json``.
    """

    model: OnnxModel
    config: dict[str, Any]


def test_command(args: Sequence[str]) -> int:
    """`crossmodal test`."""
    parser = ArgumentParser(prog="crossmodal test")
    parser.add_argument("--model", type=str)
    parser.add_argument("--backend", choices=("torch", "onnx", "int8"), default="torch")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    skipped = {"face_features", "face_embeddings", "teacher_outputs", "speech_features"}
    parser.add_class_arguments(AudioDataModule, "data", skip=skipped)
    settings = parse_or_raise(parser, args)
    if "model" not in settings:
        raise ConfigError("Which model? Give its folder: --model runs/fit/model.")
    result = evaluate(_load(settings["model"], settings.get("backend", "torch")), settings.get("data", {}))
    if settings.get("format") == "json":
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return 0


def _load(folder: str, backend: str) -> ModelFolder | ExportedFolder:
    if backend == "torch":
        return load_model_folder(folder)
    return ExportedFolder(load_onnx_model(folder, int8=backend == "int8"), read_config(folder))


def evaluate(folder: ModelFolder | ExportedFolder, data: dict[str, Any]) -> dict[str, Any]:
    """Measure a model on the test actors of a fold.

    Args:
        folder: The model.
        data: Arguments of `AudioDataModule`; what is not given of channel, label set, protocol and fold is what the
            model was trained for, where both are of RAVDESS's folders, or both of manifests.

    Returns:
        The metrics beside what they were measured on.

    Raises:
        LeakageError: A test actor was trained on, or helped to choose the model.
        ConfigError: The model knows other labels.
    """
    config = folder.config
    datamodule = AudioDataModule(**_remembered(config, data) | data)
    _check_labels(datamodule, config["labels"])
    datamodule.prepare_data()
    datamodule.setup()
    actors = sorted({clip.actor for clip in datamodule.split["test"]})
    seen = sorted({*actors} & {*config["actors_seen"]})
    same_corpus = datamodule.is_synthetic == (config["corpus"]["kind"] == "synthetic")
    if seen and same_corpus and not datamodule.is_speaker_dependent:
        raise LeakageError(
            f"The model has seen actors {named(seen)} in training or model selection: a test on them says nothing "
            f"of people it has not heard. It was trained for {protocol_name(config)} fold {config['fold']}: test it "
            "there. (Where other people have the same names, give them others in the manifest.)"
        )
    predictions = _predict(folder, datamodule)
    return {
        "corpus": {
            "kind": datamodule.source.kind,
            "name": datamodule.source.name,
            "clips": len(predictions.clips),
        },
        "protocol": datamodule.protocol,
        "num_folds": datamodule.num_folds if datamodule.protocol == "grouped" else None,
        "fold": datamodule.fold,
        "channel": datamodule.channel,
        "label_set": datamodule.label_set,
        "actors": actors,
        "speaker_dependent": datamodule.is_speaker_dependent,
        "labels": list(predictions.labels),
        **describe(predictions),
        "confusion": predictions.confusion().tolist(),
    }


def _remembered(config: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """What the model was trained for, as far as it goes with the data that is given."""
    of_manifest = config["corpus"]["kind"] == "manifest" or config["channel"] is None
    if of_manifest and not (data.get("manifest") or data.get("root")):
        raise ConfigError(
            f"The model was trained on the corpus {corpus_name(config['corpus'])}, of a manifest: --data.manifest FILE."
        )
    if of_manifest != bool(data.get("manifest")):
        return {}
    return {name: config[name] for name in _REMEMBERED if config.get(name) is not None}


def _check_labels(datamodule: AudioDataModule, known: list[str]) -> None:
    """Refuse a corpus with other labels than the model's; a manifest may have fewer."""
    labels = list(datamodule.labels)
    if labels != known and not (datamodule.label_set is None and {*labels} <= {*known}):
        whose = f"label_set {datamodule.label_set}" if datamodule.label_set else datamodule.source.name
        raise ConfigError(f"The model knows {', '.join(known)}; {whose} is {', '.join(labels)}.")


@torch.inference_mode()
def _predict(folder: ModelFolder | ExportedFolder, datamodule: AudioDataModule) -> Predictions:
    clips = [clip for clip in datamodule.split["test"] if clip.label is not None]
    if isinstance(folder, ExportedFolder):
        probabilities = [
            folder.model.probabilities(batch["waveform"][:, 0].numpy(), batch["waveform_length"].numpy()).astype(float)
            for batch in datamodule.loader(clips)
        ]
    else:
        # Where a frozen network listens, what it said in training is there, and the batches hold that.
        datamodule.speech_features = store_speech_features(folder.model, datamodule, clips)
        temperature = folder.config["temperature"]  # as `predict` has it
        probabilities = [
            (_logits(folder.model, batch).double() / temperature).softmax(dim=-1).numpy()
            for batch in datamodule.loader(clips)
        ]
    return Predictions.of_clips([(clip, "test") for clip in clips], tuple(folder.config["labels"]), probabilities)


def _logits(model: AudioClassifier, batch: dict[str, Any]) -> Tensor:
    if "features" in batch:
        return model.classify(model.encode(*model.normalize_clips(batch["features"], batch["feature_length"])))
    logits: Tensor = model(batch["waveform"], batch["waveform_length"])
    return logits


def _print(result: dict[str, Any]) -> None:
    low, high = result["uar_ci95"]
    console, people = Console(), format_for(result["corpus"], "actors")
    console.print(
        f"{corpus_and_channel(result)}: {result['corpus']['clips']} clips of {people} {named(result['actors'])} "
        f"({protocol_name(result)}, fold {result['fold']}); chance is {1 / len(result['labels']):.3f}"
    )
    console.print(
        f"UAR {result['uar']:.3f} (95 % interval over {people} {low:.3f} to {high:.3f}), WAR {result['war']:.3f}, "
        f"macro F1 {result['f1']:.3f}, calibration error {result['ece']:.3f}"
    )
    table = Table("true \\ predicted", *(label[:5] for label in result["labels"]), box=None)
    for label, row in zip(result["labels"], result["confusion"], strict=True):
        table.add_row(label, *(str(count) if count else "·" for count in row))
    console.print(table)
    print_warnings(console, result)
