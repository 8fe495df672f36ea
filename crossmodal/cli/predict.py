"""`crossmodal predict`."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from crossmodal.errors import ConfigError
from crossmodal.inference.model_config import read_config
from crossmodal.inference.predict.formats import FORMATS
from crossmodal.inference.predict.inputs import STANDARD_INPUT, Input, find_inputs
from crossmodal.inference.predict.listening import Heard, Order, listen
from crossmodal.inference.predict.plot import PICTURES
from crossmodal.inference.recognizer import HOP, WINDOW, find_model
from crossmodal.progress import progress_bar

_MANY = 20  # recordings; a progress bar is shown for more
_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `predict`."""
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


def predict_command(args: argparse.Namespace) -> int:
    """Run `crossmodal predict`; the status is 1 if a recording could not be predicted."""
    try:
        with tempfile.TemporaryDirectory(prefix="crossmodal-") as folder:
            return _predict(args, Path(folder), sys.stdout)
    except KeyboardInterrupt:
        print("crossmodal predict: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _predict(args: argparse.Namespace, folder: Path, out: TextIO) -> int:
    if args.jobs < 1:
        raise ConfigError(f"--jobs is the number of processes, 1 or more, not {args.jobs}.")
    model = find_model(args.model)
    labels = read_config(model)["labels"]
    inputs = find_inputs(args.inputs, folder)
    order = _order(args, str(model), inputs)
    over_time = order.window is not None
    # A progress bar would mix with results that are printed line by line.
    streaming = _is_screen(out) and args.format != "table"
    show_progress = _is_screen(sys.stderr) and not streaming and len(inputs) > (1 if over_time else _MANY)
    failures: list[str] = []
    results = _track(listen(inputs, order, args.jobs), len(inputs) if show_progress else None, failures)
    FORMATS[args.format](results, labels, over_time, out)
    return int(bool(failures))


def _is_screen(stream: TextIO) -> bool:
    return stream.isatty()


def _track(results: Iterable[Heard], total: int | None, failures: list[str]) -> Iterator[Heard]:
    """Print errors, and a progress bar if `total` is given, on stderr. Collect the names of failed recordings."""
    with ExitStack() as stack:
        if total is not None:
            results = stack.enter_context(progress_bar()).track(results, total=total, description="Predicting")
        for result in results:
            if result.error is not None:
                failures.append(result.name)
                print(f"crossmodal predict: {result.error}", file=sys.stderr)
            yield result


def _order(args: argparse.Namespace, model: str, inputs: Sequence[Input]) -> Order:
    options = (args.plot, args.window, args.hop)
    over_time = args.timeline or args.format == "audacity" or any(option is not None for option in options)
    if args.format == "audacity" and len(inputs) > 1:
        raise ConfigError(f"A label track takes one recording, not {len(inputs)}: use --format csv or json.")
    return Order(
        model,
        args.backend,
        window=(WINDOW if args.window is None else args.window) if over_time else None,
        hop=HOP if args.hop is None else args.hop,
        pictures={} if args.plot is None else picture_paths(args.plot, inputs),
    )


def picture_paths(plot: str, inputs: Sequence[Input]) -> dict[str, Path]:
    """Return the path of the plot of each input, by name.

    Args:
        plot: Path of a file for one input, or of a folder for several.
        inputs: Recordings.

    Raises:
        ConfigError: If the suffix is not supported, or a file is given for several inputs.
    """
    target = Path(plot)
    if len(inputs) == 1 and not target.is_dir():
        if target.suffix.lower() not in PICTURES:
            raise ConfigError(f"--plot {plot} must end in {', '.join(PICTURES)}, or be a folder.")
        return {inputs[0].name: target}
    if target.suffix and not target.is_dir():
        raise ConfigError(f"--plot {plot} is one file, but there are {len(inputs)} recordings: give a folder.")
    paths: dict[str, Path] = {}
    for one in inputs:
        stem = "standard_input" if one.name == STANDARD_INPUT else Path(one.name).name
        names = (f"{stem}{number}.png" for number in ["", *(f".{count}" for count in range(2, len(inputs) + 1))])
        paths[one.name] = next(target / name for name in names if target / name not in paths.values())
    return paths
