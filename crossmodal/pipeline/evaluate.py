"""`crossmodal test`: a finished model on actors it has not seen."""

import json
from collections.abc import Sequence
from typing import Any

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table
from torch import Tensor

from crossmodal.datamodules import RAVDESSAudioDataModule
from crossmodal.errors import ConfigError, LeakageError
from crossmodal.inference.model_folder import ModelFolder, load_model_folder
from crossmodal.models import AudioClassifier
from crossmodal.pipeline.listening import store_speech_features
from crossmodal.pipeline.settings import parse_or_raise
from crossmodal.studies.predictions import Predictions
from crossmodal.studies.report import print_warnings
from crossmodal.studies.statistics import describe

# What of the data a model was trained for.
_REMEMBERED = ("channel", "label_set", "protocol", "fold")


def test_command(args: Sequence[str]) -> int:
    """`crossmodal test`."""
    parser = ArgumentParser(prog="crossmodal test")
    parser.add_argument("--model", type=str)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    skipped = {"face_features", "face_embeddings", "teacher_outputs", "speech_features"}
    parser.add_class_arguments(RAVDESSAudioDataModule, "data", skip=skipped)
    settings = parse_or_raise(parser, args)
    if "model" not in settings:
        raise ConfigError("Which model? Give its folder: --model runs/fit/model.")
    result = evaluate(load_model_folder(settings["model"]), settings.get("data", {}))
    if settings.get("format") == "json":
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return 0


def evaluate(folder: ModelFolder, data: dict[str, Any]) -> dict[str, Any]:
    """Measure a model on the test actors of a fold.

    Args:
        folder: The model.
        data: Arguments of `RAVDESSAudioDataModule`; what is not given of channel, label set, protocol and fold is what
            the model was trained for.

    Returns:
        The metrics beside what they were measured on.

    Raises:
        LeakageError: A test actor was trained on, or helped to choose the model.
        ConfigError: The model knows other labels.
    """
    config = folder.config
    datamodule = RAVDESSAudioDataModule(**{name: config[name] for name in _REMEMBERED if name in config} | data)
    if list(datamodule.labels) != config["labels"]:
        raise ConfigError(
            f"The model knows {', '.join(config['labels'])}; "
            f"label_set {datamodule.label_set} is {', '.join(datamodule.labels)}."
        )
    datamodule.prepare_data()
    datamodule.setup()
    actors = sorted({clip.actor for clip in datamodule.split["test"]})
    seen = sorted({*actors} & {*config["actors_seen"]})
    same_corpus = datamodule.is_synthetic == (config["corpus"]["kind"] == "synthetic")
    if seen and same_corpus and datamodule.protocol != "random":
        raise LeakageError(
            f"The model has seen actors {', '.join(seen)} in training or model selection: a test on them says nothing "
            f"of people it has not heard. It was trained for {config['protocol']} fold {config['fold']}: test it there."
        )
    predictions = _predict(folder, datamodule)
    return {
        "corpus": {"kind": "synthetic" if datamodule.is_synthetic else "ravdess", "clips": len(predictions.clips)},
        "protocol": datamodule.protocol,
        "fold": datamodule.fold,
        "channel": datamodule.channel,
        "label_set": datamodule.label_set,
        "actors": actors,
        "speaker_dependent": datamodule.protocol == "random",
        "labels": list(predictions.labels),
        **describe(predictions),
        "confusion": predictions.confusion().tolist(),
    }


@torch.inference_mode()
def _predict(folder: ModelFolder, datamodule: RAVDESSAudioDataModule) -> Predictions:
    clips = [clip for clip in datamodule.split["test"] if clip.label is not None]
    # Where a frozen network listens, what it said in training is there, and the batches hold that.
    datamodule.speech_features = store_speech_features(folder.model, datamodule, clips)
    probabilities = [
        _logits(folder.model, batch).double().softmax(dim=-1).numpy() for batch in datamodule.loader(clips)
    ]
    return Predictions.of_clips([(clip, "test") for clip in clips], datamodule.labels, probabilities)


def _logits(model: AudioClassifier, batch: dict[str, Any]) -> Tensor:
    if "features" in batch:
        return model.classify(model.encode(*model.normalize_clips(batch["features"], batch["feature_length"])))
    logits: Tensor = model(batch["waveform"], batch["waveform_length"])
    return logits


def _print(result: dict[str, Any]) -> None:
    low, high = result["uar_ci95"]
    console = Console()
    console.print(
        f"{result['corpus']['clips']} {result['channel']} clips of actors {', '.join(result['actors'])} "
        f"({result['protocol']}, fold {result['fold']}); chance is {1 / len(result['labels']):.3f}"
    )
    console.print(
        f"UAR {result['uar']:.3f} (95 % interval over actors {low:.3f} to {high:.3f}), WAR {result['war']:.3f}, "
        f"macro F1 {result['f1']:.3f}, calibration error {result['ece']:.3f}"
    )
    table = Table("true \\ predicted", *(label[:5] for label in result["labels"]), box=None)
    for label, row in zip(result["labels"], result["confusion"], strict=True):
        table.add_row(label, *(str(count) if count else "·" for count in row))
    console.print(table)
    print_warnings(console, result)
