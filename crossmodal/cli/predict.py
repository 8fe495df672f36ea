"""`crossmodal predict`."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO, get_args

from crossmodal.cli.help_texts import TRUST
from crossmodal.errors import ConfigError
from crossmodal.inference.model_config import read_config, warning_of
from crossmodal.inference.predict.formats import FORMATS
from crossmodal.inference.predict.inputs import STANDARD_INPUT, Input, find_inputs
from crossmodal.inference.predict.plot import PLOT_FORMATS
from crossmodal.inference.predict.predictor import AudioResult, FilePredictor
from crossmodal.inference.recognizer import HOP, WINDOW, BackendChoice, find_model
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
    track = "audacity is a label track of one recording; default: %(default)s"
    parser.add_argument("--format", choices=FORMATS, default="table", help=track)
    over_time = "predict windows of recordings of any length; implied by --window, --hop, --plot and audacity"
    parser.add_argument("--timeline", action="store_true", help=over_time)
    parser.add_argument("--window", type=float, metavar="S", help="length of a window in seconds; default: 3")
    parser.add_argument("--hop", type=float, metavar="S", help="seconds from one window to the next; default: 0.5")
    plot = "plot waveform, spectrogram and emotions to a .png, .pdf or .svg file; for several recordings, a folder"
    parser.add_argument("--plot", metavar="FILE", help=plot)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="number of processes; default: %(default)s")
    parser.add_argument("--backend", choices=get_args(BackendChoice), default="auto", help="default: %(default)s")
    parser.add_argument("--trust_own_code", action="store_true", help=TRUST)


def predict_command(args: argparse.Namespace) -> int:
    """Run `crossmodal predict`; the status is 1 if a recording could not be predicted."""
    if args.jobs < 1:
        raise ConfigError(f"--jobs is the number of processes, 1 or more, not {args.jobs}.")
    try:
        with tempfile.TemporaryDirectory(prefix="crossmodal-") as folder:
            return _predict(args, Path(folder), sys.stdout)
    except KeyboardInterrupt:
        print("crossmodal predict: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _predict(args: argparse.Namespace, folder: Path, out: TextIO) -> int:
    model = find_model(args.model)
    config = read_config(model)
    inputs = find_inputs(args.inputs, folder)
    predictor = _predictor(args, model, config, len(inputs))
    if args.plot is not None:
        plots = plot_paths(args.plot, inputs)
        inputs = [replace(one, plot=plots[one.name]) for one in inputs]
    is_timeline = predictor.window is not None
    # A progress bar would mix with results that are printed line by line.
    has_bar = _is_screen(sys.stderr) and not (_is_screen(out) and args.format != "table")
    failures: list[str] = []
    if warning := warning_of(config):
        print(f"crossmodal predict: {warning}", file=sys.stderr)
    with ExitStack() as stack:
        results: Iterable[AudioResult] = (replace(one, warning=warning) for one in predictor.predict(inputs, args.jobs))
        if has_bar and len(inputs) > (1 if is_timeline else _MANY):
            bar = stack.enter_context(progress_bar())
            results = bar.track(results, total=len(inputs), description="Predicting")
        FORMATS[args.format](_print_errors(results, failures), config["labels"], is_timeline, out)
    return int(bool(failures))


def _is_screen(stream: TextIO) -> bool:
    return stream.isatty()


def _print_errors(results: Iterable[AudioResult], failures: list[str]) -> Iterator[AudioResult]:
    for result in results:
        if result.error is not None:
            failures.append(result.name)
            print(f"crossmodal predict: {result.error}", file=sys.stderr)
        yield result


def _predictor(args: argparse.Namespace, model: Path, config: dict[str, Any], count: int) -> FilePredictor:
    options = (args.plot, args.window, args.hop)
    is_timeline = args.timeline or args.format == "audacity" or any(option is not None for option in options)
    if args.format == "audacity" and count > 1:
        raise ConfigError(f"A label track takes one recording, not {count}: use --format csv or json.")
    return FilePredictor(
        model,
        config,
        args.backend,
        window=(WINDOW if args.window is None else args.window) if is_timeline else None,
        hop=HOP if args.hop is None else args.hop,
        trust_own_code=args.trust_own_code,
    )


def plot_paths(plot: str, inputs: Sequence[Input]) -> dict[str, Path]:
    """Return the path of the plot of each input by name; `plot` is a file for one input, or a folder for several."""
    target = Path(plot)
    if len(inputs) == 1 and not target.is_dir():
        if target.suffix.lower() not in PLOT_FORMATS:
            raise ConfigError(f"--plot {plot} must end in {', '.join(PLOT_FORMATS)}, or be a folder.")
        return {inputs[0].name: target}
    if target.suffix and not target.is_dir():
        raise ConfigError(f"--plot {plot} is one file, but there are {len(inputs)} recordings: give a folder.")
    paths: dict[str, Path] = {}
    for one in inputs:
        stem = "standard_input" if one.name == STANDARD_INPUT else Path(one.name).name
        names = (f"{stem}{number}.png" for number in ["", *(f".{count}" for count in range(2, len(inputs) + 1))])
        paths[one.name] = next(target / name for name in names if target / name not in paths.values())
    return paths
