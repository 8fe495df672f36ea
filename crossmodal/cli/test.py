"""`crossmodal test`."""

import json
from collections.abc import Sequence

from jsonargparse import ArgumentParser
from rich.console import Console

from crossmodal.datamodules import AudioDataModule
from crossmodal.errors import ConfigError
from crossmodal.evaluation.report import Report, Table, print_warnings, screen_table
from crossmodal.own_code import trusting
from crossmodal.pipeline.evaluate import evaluate, load_for_test
from crossmodal.pipeline.settings import parse_or_raise

_NO_FACES = {"face_features", "face_embeddings", "teacher_outputs", "speech_features"}


def test_command(args: Sequence[str]) -> int:
    """Run `crossmodal test`."""
    parser = ArgumentParser(prog="crossmodal test")
    parser.add_argument("--model", type=str)
    parser.add_argument("--backend", choices=("torch", "onnx", "int8"), default="torch")
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--trust_own_code", action="store_true", default=False)
    parser.add_class_arguments(AudioDataModule, "data", skip=_NO_FACES)
    settings = parse_or_raise(parser, args)
    if "model" not in settings:
        raise ConfigError("--model is missing. Pass the model folder, e.g. --model runs/fit/model.")
    with trusting(settings.get("trust_own_code", False)):
        folder = load_for_test(settings["model"], settings.get("backend", "torch"))
    result = evaluate(folder, settings.get("data", {}))
    if settings.get("format") == "json":
        print(json.dumps(result.to_dict(), indent=2))
    else:
        _print(result.report())
    return 0


def _print(report: Report) -> None:
    console = Console()
    for line in report.lines:
        console.print(line)
    for section in report.sections:
        for table in section.parts:
            assert isinstance(table, Table), "as Evaluation made it"
            console.print(screen_table(section.heading, table, box=None))
    print_warnings(console, report.warnings)
