"""`crossmodal test`."""

import json
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from crossmodal.datamodules import AudioDataModule
from crossmodal.errors import ConfigError
from crossmodal.evaluation.report import print_warnings, warnings
from crossmodal.labels_for_people import corpus_name, format_for, list_names, protocol_name
from crossmodal.pipeline.evaluate import evaluate, load_for_test
from crossmodal.pipeline.settings import parse_or_raise

_NO_FACES = {"face_features", "face_embeddings", "teacher_outputs", "speech_features"}


def test_command(args: Sequence[str]) -> int:
    """Run `crossmodal test`."""
    parser = ArgumentParser(prog="crossmodal test")
    parser.add_argument("--model", type=str)
    parser.add_argument("--backend", choices=("torch", "onnx", "int8"), default="torch")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_class_arguments(AudioDataModule, "data", skip=_NO_FACES)
    settings = parse_or_raise(parser, args)
    if "model" not in settings:
        raise ConfigError("--model is missing. Pass the model folder, e.g. --model runs/fit/model.")
    folder = load_for_test(settings["model"], settings.get("backend", "torch"))
    result = evaluate(folder, settings.get("data", {}))
    if settings.get("format") == "json":
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return 0


def _print(result: dict[str, Any]) -> None:
    low, high = result["uar_ci95"]
    name = corpus_name(result["corpus"], result["channel"])
    protocol = protocol_name(result["protocol"], result["num_folds"])
    console, people = Console(), format_for(result["corpus"], "actors")
    console.print(
        f"{name}: {result['corpus']['clips']} clips of {people} {list_names(result['actors'])} "
        f"({protocol}, fold {result['fold']}); chance is {1 / len(result['labels']):.3f}"
    )
    console.print(
        f"UAR {result['uar']:.3f} (95 % interval over {people} {low:.3f} to {high:.3f}), WAR {result['war']:.3f}, "
        f"macro F1 {result['f1']:.3f}, calibration error {result['ece']:.3f}"
    )
    table = Table("true \\ predicted", *(label[:5] for label in result["labels"]), box=None)
    for label, row in zip(result["labels"], result["confusion"], strict=True):
        table.add_row(label, *(str(count) if count else "·" for count in row))
    console.print(table)
    about_data = warnings(result["corpus"], result["speaker_dependent"])
    print_warnings(console, filter(None, [*about_data, result["warning"]]))
