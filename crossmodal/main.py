"""The command table. Nothing here imports torch, so that every ``--help`` answers at once."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossmodal import __version__
from crossmodal.errors import CrossmodalError

INTERRUPT_STATUS = 130  # 128 + SIGINT, as shells count

_FIT_HELP = """\
usage: crossmodal fit [--config FILE]... [--key value]...

Train a face model, let it teach a voice model, fine-tune the voice model alone, and measure the gain against the same
voice model without a teacher. With no data given, it runs on a small synthetic corpus that it makes itself. A run that
was stopped goes on where it was; what did not change is not done again.

what to run on
  --data.root DIR              folder of the extracted RAVDESS files; none: the synthetic corpus
  --data.channel NAME          speech, song or both
  --data.label_set NAME        speech8, song6, speech6 or both8; none: the channel's own
  --data.protocol NAME         seq6, luna5, emobox6, chumachenko1, loso24 or random
  --data.fold K                whose actors test, from 0
  --data.face_features FILE    CSV, Parquet or folder of .npy in place of pixels, as input of the teacher
  --data.num_video_frames N    face crops kept of a clip
  --data.batch_size N          clips in a batch

how to teach
  --teacher.model.backbone NAME             any timm model, with pretrained weights from the Hub ...
  --teacher.model.weights FILE              ... or from a file; --teacher.model.pretrained false for none
  --transfer.model.front_end NAME           mfcc, lmfb, both or ssl
  --transfer.model.encoder NAME             dense, lstm, tdnn, cnn, crnn, transformer or timm:NAME
  --transfer.model.kd_loss NAME             dist, dkd, kd or logit_std, with kd_loss_weight and temperature
  --transfer.model.align_loss NAME          cka, cosine, fd, mmd, mse, regression, rkd, shared_classifier or
                                            supcon, with align_loss_weight; more_losses takes further ones
  --teaching.by NAME                        face, voice (self-distillation) or both
  --teaching.cross_fit N                    outputs from teachers that were not trained on the clip's actor
  --{teacher,transfer,finetune}.trainer.max_epochs N

how to run
  --name NAME                  the run's folder is runs/NAME
  --stages LIST                of teacher,control,transfer,finetune
  --seed_everything N          the seed of everything
  --trainer.accelerator NAME   auto, cpu, gpu, ...; every argument of Lightning's Trainer works
  --trainer.logger wandb       log to Weights & Biases (--trainer.logger.offline true without an account)
  --config FILE                a YAML file of such keys; a later one is a delta on those before
  --print_config               print every key with its value, and stop

examples
  crossmodal fit
  crossmodal fit --data.root ravdess --teacher.model.backbone resnet18
  crossmodal fit --config configs/ravdess_action_units.yaml --data.root ravdess --data.face_features au.csv
"""

_TEST_HELP = """\
usage: crossmodal test --model FOLDER [--data.root DIR] [--data.key value]... [--format {table,json}]

Measure a model on the test actors of a fold. The fold, the channel and the label set are those that the model was
trained for, unless told otherwise; a model that has seen a test actor is refused.

  --model FOLDER        the model folder, such as runs/fit/model
  --data.root DIR       folder of the extracted RAVDESS files; none: the synthetic corpus
  --data.protocol NAME  and --data.fold K, --data.channel NAME, --data.label_set NAME: other test actors
  --format NAME         table for a person, json for a program

example
  crossmodal test --model runs/fit/model --data.root ravdess
"""

_PREFLIGHT_HELP = """\
usage: crossmodal study preflight [--config FILE]... [--key value]...

Say, before the expensive run, whether this teacher can help this student. Takes the same arguments as fit, runs the
stages teacher and control of it (fit then finds them in the cache), and compares the two on training and validation
actors: who is right where the other errs, how alike their embeddings are, and how much of what the teacher says can be
told from sound. Prints a table and one sentence of advice, and writes runs/NAME/preflight.json and preflight.png.

  --data.root DIR, --data.fold K, --transfer.model.encoder NAME, ...   as for fit: crossmodal fit --help

examples
  crossmodal study preflight
  crossmodal study preflight --config configs/ravdess_action_units.yaml --data.root ravdess --data.face_features au.csv
"""

_STUDY_RUN_HELP = """\
usage: crossmodal study run FILE [--out DIR] [--jobs N] [--protocols LIST] [--folds LIST] [--seeds LIST]
                            [--methods LIST | --applications LIST] [--only LIST] [--print-commands] [--key value]...

Run what a study's file asks for: each of its methods on each fold with each seed, every one a run of fit with a control
of its own; or each of its applications, with the stages that are its own, under each protocol as well. A run that is
finished is never repeated, one that was stopped goes on where it was, one that failed is listed at the end (exit status
1) and tried again by the next call. Runs share the decoded corpus, teachers and controls. Afterwards, crossmodal study
report DIR makes the table and the page.

  FILE                 such as configs/studies/teaching.yaml: configs, folds, seeds, self_distillation, methods; or
                       configs/studies/applications.yaml: configs, protocols, folds, seeds, applications
  --out DIR            the study's folder; default: studies/ and the file's name
  --jobs N             runs at a time, each in a process with one thread; default: 1
  --protocols LIST     in place of the file's, such as loso24,random; of applications
  --folds LIST         in place of the file's, such as 0,1
  --seeds LIST         in place of the file's, such as 0,1,2
  --methods LIST       some of the file's, by name; --applications LIST is the same
  --only LIST          some of the runs, by the names of their folders
  --print-commands     print a command line for each run that is not finished, for any scheduler, and run nothing
  --key value          for fit, in all runs: --data.root DIR, --transfer.trainer.max_epochs N, ...; wins over the file

examples
  crossmodal study run configs/studies/teaching.yaml --jobs 2 --data.root ravdess --data.face_features au.csv
  crossmodal study run configs/studies/applications.yaml --jobs 2 --folds 0 --seeds 0
  crossmodal study run configs/studies/applications.yaml --data.root ravdess --print-commands > commands.txt
"""


@dataclass(frozen=True)
class Command:
    """One command: its line in the list, where its work is done, and its arguments or its own help.

    Args:
        summary: One line.
        target: ``module:function``, imported when the command runs.
        add_arguments: Fills an argparse parser; None where the command parses for itself.
        usage: Its help, where it parses for itself.
    """

    summary: str
    target: str
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None
    usage: str = ""


def _predict_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", nargs="+", metavar="PATH", help="sound or video files, folders or globs")
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the model folder, such as runs/fit/model")
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="default: %(default)s")


def _prepare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="DIR", help="folder of the extracted RAVDESS files")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="both", help="default: %(default)s")
    parser.add_argument("--num_video_frames", type=int, default=8, help="face crops of a clip; default: %(default)s")
    parser.add_argument("--face_size", type=int, default=112, help="height and width in pixels; default: %(default)s")
    parser.add_argument("--num_processes", type=int, help="files decoded at the same time; default: one for each core")
    parser.add_argument("--contact_sheet", metavar="PNG", help="also draw the face crops of the first clips")
    parser.add_argument("--cache", metavar="DIR", help="default: $CROSSMODAL_CACHE, else the user's cache")


def _synthesize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="DIR", help="folder to write; made if need be")
    parser.add_argument("--actors", type=int, default=16, help="1 to 24; default: %(default)s")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="speech", help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, default=1, help="1, or 2 as RAVDESS has; default: %(default)s")
    parser.add_argument("--resolution", default="320x180", metavar="WxH", help="of the video; default: %(default)s")
    parser.add_argument("--video_only", action="store_true", help="also write the 02 files, whose sound is silence")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other actors; default: %(default)s")
    parser.add_argument("--num_processes", type=int, help="default: one for each core")


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="DIR", help="folder of the extracted RAVDESS files")
    parser.add_argument("--channel", choices=("speech", "song", "both"), default="both", help="default: %(default)s")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")
    parser.add_argument("--num_processes", type=int, help="files decoded at the same time; default: one for each core")


def _study_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the study's folder, such as studies/teaching")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")


COMMANDS: dict[str, Command] = {
    "fit": Command(
        "train a teacher, teach a voice, measure the gain", "crossmodal.pipeline.run:fit_command", usage=_FIT_HELP
    ),
    "test": Command(
        "measure a model on actors it has not seen", "crossmodal.pipeline.evaluate:test_command", usage=_TEST_HELP
    ),
    "predict": Command(
        "tell the emotion of recordings", "crossmodal.inference.predict:predict_command", _predict_arguments
    ),
    "study preflight": Command(
        "say whether this teacher can help this student, before fit",
        "crossmodal.studies.preflight:preflight_command",
        usage=_PREFLIGHT_HELP,
    ),
    "study run": Command(
        "compare ways of teaching, or applications, over folds and seeds",
        "crossmodal.studies.run_grid:run_command",
        usage=_STUDY_RUN_HELP,
    ),
    "study report": Command(
        "make the table and the page of a study from its runs",
        "crossmodal.studies.study_report:report_command",
        _study_report_arguments,
    ),
    "data prepare": Command(
        "decode a corpus into the cache", "crossmodal.datasets.commands:prepare_command", _prepare_arguments
    ),
    "data synthesize": Command(
        "write the synthetic corpus to a folder",
        "crossmodal.datasets.commands:synthesize_command",
        _synthesize_arguments,
    ),
    "data check": Command(
        "say what a folder holds, lacks, and what is damaged",
        "crossmodal.datasets.commands:check_command",
        _check_arguments,
    ),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        args: Default: the process's.

    Returns:
        The exit status: 0, 1 where something was wrong with the data or the settings, 2 where the line makes no sense.
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
    given: list[str] | argparse.Namespace = args
    if command.add_arguments:
        parser = argparse.ArgumentParser(f"crossmodal {name}", description=f"{command.summary.capitalize()}.")
        command.add_arguments(parser)
        given = parser.parse_args(args)
    try:
        return int(_target(command)(given))
    except CrossmodalError as error:
        print(f"crossmodal {name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"crossmodal {name}: stopped; the same command goes on where it was", file=sys.stderr)
        return INTERRUPT_STATUS
    except BrokenPipeError:  # `| head` has read enough; there is no one to tell
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
        "usage: crossmodal COMMAND ...\n\nA face teaches a voice. Start with: crossmodal fit\n\n"
        f"{commands}\n\ncrossmodal COMMAND --help says more; crossmodal --version."
    )


def _unknown(args: list[str]) -> int:
    groups = {name.split()[0] for name in COMMANDS if " " in name}
    if args[0] in groups and set(args[1:]) <= {"-h", "--help"}:
        print(_overview())
        return 0
    import difflib

    typed = " ".join(args[:2]) if args[0] in groups else args[0]
    near = difflib.get_close_matches(typed, COMMANDS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    print(f"crossmodal: there is no command {typed!r}.{hint}\n\n{_overview()}", file=sys.stderr)
    return 2
