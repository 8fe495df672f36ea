"""Command line of crossmodal. This module imports nothing heavy, so that ``--help`` is fast."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossmodal.cli import data_arguments, help_texts
from crossmodal.cli.configs import configs_arguments
from crossmodal.cli.env import env_arguments
from crossmodal.errors import CrossmodalError
from crossmodal.installation import import_errors
from crossmodal.stopping import Terminated, stopped_by_signals
from crossmodal.storage import disk_errors
from crossmodal.version import __version__

INTERRUPT_STATUS = 130  # 128 + SIGINT, as shells count
TERMINATED_STATUS = 143  # 128 + SIGTERM


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Args:
        summary: Description in one line.
        target: ``module:function``, imported when the command runs.
        add_arguments: Function that adds arguments to a parser; None if the command parses its own arguments.
        usage: Help text of a command that parses its own arguments.
    """

    summary: str
    target: str
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    usage: str = ""


def _predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Predict the emotion of recordings: one label each, or a timeline. Unreadable recordings are skipped and "
        "reported on stderr, and the exit status is then 1."
    )
    inputs = "audio or video files, folders or globs; - is standard input"
    parser.add_argument("inputs", nargs="+", metavar="PATH", help=inputs)
    model = "model folder, such as runs/fit/model, or name of a model on the Hub"
    parser.add_argument("--model", required=True, metavar="MODEL", help=model)
    formats = ("table", "json", "jsonl", "csv", "audacity")
    format_help = "audacity is a label track of one recording; default: %(default)s"
    parser.add_argument("--format", choices=formats, default="table", help=format_help)
    over_time = "predict windows of recordings of any length; implied by --window, --hop, --plot and audacity"
    parser.add_argument("--timeline", action="store_true", help=over_time)
    parser.add_argument("--window", type=float, metavar="S", help="length of a window in seconds; default: 3")
    parser.add_argument("--hop", type=float, metavar="S", help="seconds from one window to the next; default: 0.5")
    plot = "plot waveform, spectrogram and emotions to a .png, .pdf or .svg file; for several recordings, a folder"
    parser.add_argument("--plot", metavar="FILE", help=plot)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="number of processes; default: %(default)s")
    backends = ("auto", "torch", "onnx", "int8")
    parser.add_argument("--backend", choices=backends, default="auto", help="default: %(default)s")


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Export the voice model to ONNX: model.onnx maps waveforms to calibrated probabilities with onnxruntime. The "
        "export is first compared with PyTorch on generated sounds of three lengths in batches of two sizes. If "
        "probabilities differ by more than 1e-4, nothing is written. Needs the extra [export]."
    )
    model = "model folder, such as runs/fit/model, or name of a model on the Hub"
    parser.add_argument("model", metavar="MODEL", help=model)
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="default: %(default)s")
    int8 = "also write model.int8.onnx with 8-bit weights: at most half the size, nearly the same predictions"
    parser.add_argument("--int8", action="store_true", help=int8)
    out = "output folder, with copies of config.json and README.md; it needs no torch; default: MODEL"
    parser.add_argument("--out", metavar="DIR", help=out)


def _push_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Upload a model folder to the Hugging Face Hub in one commit: weights, configuration, model card and exported "
        "models. The repository is created if it does not exist. Log in first with `hf auth login` or set HF_TOKEN."
    )
    parser.add_argument("model", metavar="MODEL", help="model folder, such as runs/fit/model")
    parser.add_argument("repository", metavar="OWNER/NAME", help="name of the model on the Hub")
    parser.add_argument("--private", action="store_true", help="create a private repository")
    parser.add_argument("--revision", metavar="BRANCH", help="branch; default: main")


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Serve a model over HTTP and WebSocket: a demo page at /, the interactive description of the interface at "
        "/docs, POST /v1/predict (a file; ?timeline=true), GET /v1/model and /healthz, and live sound at /v1/stream. "
        "SIGTERM or Ctrl-C stops the server after the requests in progress. Needs the extra [serve]."
    )
    _server_arguments(parser, port=8000)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Open the demo page in the browser: upload or record a voice, and see its emotions over time, live and next to "
        "the control model. This is `crossmodal serve` with another port. Needs the extra [serve]."
    )
    _server_arguments(parser, port=7860)


def _server_arguments(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model folder, such as runs/fit/model, or its name on the Hub")
    parser.add_argument("--control", metavar="MODEL", help="to compare with, such as runs/fit/control_model")
    host = "default: %(default)s, this machine only; 0.0.0.0: every machine"
    parser.add_argument("--host", default="127.0.0.1", help=host)
    parser.add_argument("--port", type=int, default=port, help="0: any free port; default: %(default)s")
    backends = ("auto", "torch", "onnx", "int8")
    parser.add_argument("--backend", choices=backends, default="auto", help="default: %(default)s")
    token = "a file with the token that clients must send; default: the variable CROSSMODAL_TOKEN, else no token"
    parser.add_argument("--token_file", metavar="FILE", help=token)
    numbers: dict[str, tuple[float, str]] = {
        "max_megabytes": (32.0, "size of an upload"),
        "max_seconds": (300.0, "duration of a recording"),
        "max_channels": (8, "channels of a recording"),
        "max_decode_seconds": (10.0, "time to decode a recording"),
        "max_requests": (64, "uploads in progress"),
        "max_streams": (16, "live streams open"),
        "max_batch": (16, "recordings in a batch"),
        "decoders": (2, "decoder processes"),
    }
    for name, (number, meaning) in numbers.items():
        text = f"{meaning}; default: {number:g}"
        parser.add_argument(f"--{name}", type=type(number), default=number, metavar="N", help=text)


def _study_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="folder of the study, such as studies/teaching")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")


COMMANDS: dict[str, Command] = {
    "fit": Command(
        "train a teacher and a student, measure the gain", "crossmodal.cli.fit:fit_command", usage=help_texts.FIT
    ),
    "test": Command(
        "evaluate a model on actors it was not trained on",
        "crossmodal.cli.test:test_command",
        usage=help_texts.TEST,
    ),
    "predict": Command(
        "predict the emotion of recordings", "crossmodal.cli.predict:predict_command", _predict_arguments
    ),
    "demo": Command("open the demo page of a model", "crossmodal.cli.serve:demo_command", _demo_arguments),
    "export": Command("export a model to ONNX", "crossmodal.cli.export:export_command", _export_arguments),
    "push": Command("upload a model to the Hugging Face Hub", "crossmodal.cli.push:push_command", _push_arguments),
    "serve": Command("serve a model over HTTP and WebSocket", "crossmodal.cli.serve:serve_command", _serve_arguments),
    "study preflight": Command(
        "check whether this teacher can help this student, before fit",
        "crossmodal.studies.preflight.run:preflight_command",
        usage=help_texts.PREFLIGHT,
    ),
    "study run": Command(
        "compare teaching methods or applications over folds and seeds",
        "crossmodal.studies.run_grid:run_command",
        usage=help_texts.STUDY_RUN,
    ),
    "study report": Command(
        "write the tables and the report of a study",
        "crossmodal.studies.study_report:report_command",
        _study_report_arguments,
    ),
    "data download": Command(
        "download and verify RAVDESS from Zenodo",
        "crossmodal.cli.data.download:download_command",
        data_arguments.download_arguments,
    ),
    "data prepare": Command(
        "decode a corpus into the cache",
        "crossmodal.cli.data.prepare:prepare_command",
        data_arguments.prepare_arguments,
    ),
    "data manifest": Command(
        "write the manifest of a published corpus: CREMA-D, MELD, RAVDESS",
        "crossmodal.cli.data.manifest:manifest_command",
        data_arguments.manifest_arguments,
    ),
    "data synthesize": Command(
        "write the synthetic corpus to a folder",
        "crossmodal.cli.data.prepare:synthesize_command",
        data_arguments.synthesize_arguments,
    ),
    "data check": Command(
        "check a RAVDESS folder for missing and damaged files",
        "crossmodal.cli.data.check:check_command",
        data_arguments.check_arguments,
    ),
    "configs": Command(
        "list the shipped configs, or print one", "crossmodal.cli.configs:configs_command", configs_arguments
    ),
    "env": Command(
        "print versions, devices and folders for a bug report", "crossmodal.cli.env:env_command", env_arguments
    ),
    "data cache": Command(
        "show or remove stored results",
        "crossmodal.cli.data.cache:cache_command",
        data_arguments.cache_arguments,
    ),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        args: Arguments without the program name. Default: those of the process.

    Returns:
        The exit status: 0 for success, 1 for an error in data or settings, 2 for an invalid command line, 130 after
        Ctrl-C and 143 after SIGTERM.
    """
    args = list(sys.argv[1:] if args is None else args)
    if args in ([], ["-h"], ["--help"], ["help"]):
        print(_overview())
        return 0
    if args == ["--version"]:
        print(f"crossmodal {__version__}")
        return 0
    name = next((name for name in COMMANDS if args[: len(name.split())] == name.split()), None)
    if name is None:
        return _unknown(args)
    return _run(name, args[len(name.split()) :])


def _run(name: str, args: list[str]) -> int:
    command = COMMANDS[name]
    if command.usage and ({"-h", "--help"} & set(args)):
        print(command.usage, end="")
        return 0
    parsed: list[str] | argparse.Namespace = args
    if command.add_arguments:
        parser = argparse.ArgumentParser(f"crossmodal {name}", description=f"{command.summary.capitalize()}.")
        command.add_arguments(parser)
        parsed = parser.parse_args(args)
    try:
        with stopped_by_signals(), disk_errors(), import_errors():
            return int(_target(command)(parsed))
    except CrossmodalError as error:
        print(f"crossmodal {name}: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"crossmodal {name}: interrupted; rerun the same command to resume", file=sys.stderr)
        return TERMINATED_STATUS if isinstance(stop, Terminated) else INTERRUPT_STATUS
    except BrokenPipeError:  # the reader, such as `| head`, closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _target(command: Command) -> Callable[..., int]:
    module, function = command.target.split(":")
    run: Callable[..., int] = getattr(importlib.import_module(module), function)
    return run


def _overview() -> str:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    return (
        "usage: crossmodal COMMAND ...\n\n"
        "Train voice emotion models with a face model as teacher. Start with: crossmodal fit\n\n"
        f"{commands}\n\nHelp on a command: crossmodal COMMAND --help. Version: crossmodal --version."
    )


def _unknown(args: list[str]) -> int:
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    if args[0] in groups and set(args[1:]) <= {"-h", "--help"}:
        print(_overview())
        return 0
    import difflib

    name = " ".join(args[:2]) if args[0] in groups else args[0]
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    print(f"crossmodal: unknown command {name!r}.{hint}\n\n{_overview()}", file=sys.stderr)
    return 2
