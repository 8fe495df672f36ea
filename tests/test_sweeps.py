"""Sweeps from their files to the W&B run of a trial; W&B's own code reads the file and builds the command."""

import csv
import itertools
import json
import os
import shutil
import sys
import warnings
from collections import Counter
from functools import reduce
from operator import getitem
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
import yaml
from wandb.wandb_agent import Agent

with warnings.catch_warnings():  # it uses a deprecated interface of pydantic
    warnings.simplefilter("ignore")
    import sweeps

from crossmodal.cli.main import main
from crossmodal.pipeline.settings import build_parser, parse_settings
from crossmodal.storage import read_json
from tests.offline_runs import read_offline_run
from tests.test_docs import write_modules

ROOT = Path(__file__).parents[1]
SWEEPS = {path.stem: path for path in sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))}
APPLICATIONS = sorted(f"applications/{path.stem}" for path in (ROOT / "configs" / "applications").glob("*.yaml"))
EPOCHS = {"teacher": 2, "supervised": 2, "control": 1, "transfer": 2, "finetune": 1}

each_sweep = pytest.mark.parametrize("path", SWEEPS.values(), ids=SWEEPS)


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def proposals(config, number):
    """Return the first proposals of W&B's search, as JSON from its server."""
    runs = sweeps.next_runs(sweeps.SweepConfig(config), [], n=number)
    return [json.loads(json.dumps(run.config, default=float)) for run in runs if run]


def swept(args):
    return {name: arg["value"] for name, arg in args.items()}


@pytest.fixture(scope="module")
def sung_and_spoken(tiny_ravdess, tiny_face_features, tmp_path_factory):
    """The tiny corpus, with copies of the clips of the six song emotions as song clips."""
    root = tmp_path_factory.mktemp("sung") / "ravdess"
    shutil.copytree(tiny_ravdess, root)
    for wav in list(root.rglob("03-01-0[1-6]-*.wav")):
        shutil.copy(wav, wav.with_name(wav.name.replace("03-01-", "03-02-", 1)))
    with tiny_face_features.open(newline="") as file:
        head, *rows = csv.reader(file)
    features = root.with_name("face_features.csv")
    with features.open("w", newline="") as file:
        sung = [[clip.replace("01-01-", "01-02-", 1), *row] for clip, *row in rows]
        csv.writer(file).writerows([head, *rows, *sung])
    return root, features


@pytest.fixture
def machine(monkeypatch, tmp_path, sung_and_spoken):
    root, features = sung_and_spoken
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"RAVDESS": str(root), "FACE_FEATURES": str(features), "WANDB_DIR": str(tmp_path), "PATH": path}
    # The agent sets the last two; they are set here so that the test restores them.
    trial = {"WANDB_SWEEP_ID": "tiny", "WANDB_RUN_ID": "", "WANDB_SWEEP_PARAM_PATH": ""}
    for name, value in {**environment, **trial}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)  # shipped configs must be found from any folder
    wandb.teardown()  # wandb must read the environment again
    yield tmp_path
    wandb.teardown()


@pytest.fixture
def start(machine):
    """Return a function that lets W&B's agent build and start the command of a trial."""

    def start(config, args, run_id="trial"):
        agent = Agent(None, None, sweep_id="tiny")
        agent._sweep_command = list(config["command"])  # the server sends it once for all trials
        agent._command_run({"type": "run", "run_id": run_id, "args": args, "program": config["program"]})
        return agent._run_processes[run_id]

    return start


@pytest.fixture
def command_of(start, monkeypatch):
    """Return a function that builds the command of a trial without starting it."""
    monkeypatch.setattr("wandb.wandb_agent.AgentProcess", SimpleNamespace)
    return lambda config, args: start(config, args).command


def shortened(folder):
    """Return arguments that make a trial short and write to a folder."""
    epochs = [f"--{stage}.trainer.max_epochs={EPOCHS[stage]}" for stage in ("teacher", "transfer", "finetune")]
    folders = [f"--runs={folder / 'runs'}", f"--data.cache={folder / 'cache'}"]
    return [*folders, *epochs, "--data.protocol=loso24", "--data.batch_size=16"]


def run_trial(folder, config, args, command):
    assert main([*command[4:], *shortened(folder)]) == 0
    return check_trial(folder, config, args)


def check_trial(folder, config, args, run_id="trial"):
    """Check that the offline file of a trial has its parameters, the metric per epoch and the artifacts."""
    (path,) = (folder / "runs").glob(f"*_{run_id}/wandb/offline-run-*/run-{run_id}.wandb")
    offline, summary = read_offline_run(path), read_json(path.parents[2] / "summary.json")
    assert offline.run.sweep_id == "tiny"
    assert {key: offline.config[key] for key in args} == swept(args)
    last_stage = list(summary["stages"])[-1]
    assert len(offline.history[config["metric"]["name"]]) == EPOCHS[last_stage] + 1  # plus the best one at the end
    assert offline.history["val_uar"] == offline.history[f"{last_stage}/val_uar"]
    assert offline.artifacts.keys() == {"report", *(["model"] if "model" in summary else [])}
    assert all(content.stat().st_size for files in offline.artifacts.values() for content in files.values())
    return offline, summary


def test_the_shipped_sweeps():
    methods = {name: read(path)["method"] for name, path in SWEEPS.items()}
    assert methods.items() >= {"applications": "grid", "encoders": "random", "teaching": "bayes"}.items()
    assert read(SWEEPS["applications"])["parameters"]["config"]["values"] == APPLICATIONS


@each_sweep
def test_wandb_accepts_the_file(path):
    assert sweeps.schema_violations_from_proposed_config(read(path)) == []


@each_sweep
def test_parameters_are_keys_of_fit_with_valid_argument_values(path):
    config = read(path)
    keys = {option.lstrip("-") for action in build_parser()._actions for option in action.option_strings}
    assert config["parameters"].keys() <= keys
    for parameter in config["parameters"].values():
        assert "parameters" not in parameter  # nested parameters are passed as Python's repr of a dict
        assert None not in parameter.get("values", [])  # passed as the string None
    assert config["command"][-1] == "${args}"
    assert "early_terminate" not in config  # see docs/sweeps.md


@each_sweep
def test_fit_takes_every_value(path, command_of):
    config = read(path)
    trials = proposals(config, 6)
    if config["method"] == "grid":  # every application with the first fold and seed
        trials = [args for args in proposals(config, 1000) if {0} == {*swept(args).values()} - {*APPLICATIONS}]
        assert [args["config"]["value"] for args in trials] == APPLICATIONS
    for args in trials:
        command = command_of(config, args)
        assert command[:5] == ["/usr/bin/env", "python", "-m", "crossmodal", "fit"]
        settings = parse_settings(command[5:])
        for key, value in swept(args).items():
            if key == "config":
                assert settings["name"] == Path(value).stem
            else:
                assert reduce(getitem, key.split("."), settings) == value


def test_the_grid_is_applications_by_folds_by_seeds():
    trials = [tuple(swept(args).values()) for args in proposals(read(SWEEPS["applications"]), 1000)]
    assert sorted(trials) == sorted(itertools.product(APPLICATIONS, range(4), range(3)))


def test_bayes_continues_from_logged_metrics():
    config = read(SWEEPS["teaching"])
    done = []
    for number, args in enumerate(proposals(config, 4)):
        metric = {config["metric"]["name"]: 0.1 * number}
        done.append(sweeps.SweepRun(name=str(number), config=args, state="finished", summary_metrics=metric))
    assert sweeps.next_run(sweeps.SweepConfig(config), done).config.keys() == config["parameters"].keys()


def first_trial(name, machine, command_of):
    config = read(SWEEPS[name])
    (args,) = proposals(config, 1)
    return args, *run_trial(machine, config, args, command_of(config, args))


def test_a_trial_of_teaching_logs_gain_and_model_in_one_run(machine, command_of):
    args, offline, summary = first_trial("teaching", machine, command_of)
    assert offline.history["gain/uar_pp"] == [summary["gain"]["uar_pp"]]
    assert offline.config["transfer"]["model"]["kd_loss"] == args["transfer.model.kd_loss"]["value"]
    assert {"model.safetensors", "config.json", "README.md"} <= offline.artifacts["model"].keys()
    assert len(list(machine.rglob("run-*.wandb"))) == 1


def test_a_trial_of_encoders_needs_no_faces(machine, command_of, monkeypatch):
    monkeypatch.delenv("FACE_FEATURES")
    *_, summary = first_trial("encoders", machine, command_of)
    assert list(summary["stages"]) == ["supervised", "control"]


@pytest.mark.parametrize(
    "application",
    # Every fourth by default: they differ in front end, encoder and channel.
    [pytest.param(path, marks=[pytest.mark.slow] * (number % 4 > 0)) for number, path in enumerate(APPLICATIONS)],
    ids=lambda path: Path(path).stem,
)
def test_every_application_runs_as_a_trial(application, machine, command_of):
    config = read(SWEEPS["applications"])
    args = next(args for args in proposals(config, 1000) if args["config"]["value"] == application)
    offline, summary = run_trial(machine, config, args, command_of(config, args))
    assert summary["name"] == f"{Path(application).stem}_trial" == offline.run.display_name


@pytest.mark.slow
def test_parallel_agents_share_teacher_and_first_stage_of_the_control(machine, start):
    config = read(SWEEPS["teaching"])
    config["command"] += shortened(machine)
    trials = {f"trial{number}": args for number, args in enumerate(proposals(config, 4))}
    processes = [start(config, args, run_id) for run_id, args in trials.items()]
    assert [process.wait() for process in processes] == [0] * 4
    trained = Counter()
    for run_id, args in trials.items():
        _, summary = check_trial(machine, config, args, run_id)
        trained.update(stage for stage, numbers in summary["stages"].items() if not numbers["reused"])
    # The search includes the learning rate of fine-tuning, which is also that of the control.
    assert trained == {"teacher": 1, "supervised": 1, "control": 4, "transfer": 4, "finetune": 4}


def test_a_trial_over_class_paths(machine, command_of, monkeypatch):
    write_modules(ROOT / "docs" / "extending.md", machine)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command adds the current folder
    config = read(SWEEPS["encoders"])
    values = {"encoder": "my_parts.ConvEncoder", "encoder.init_args.width": 8}
    values |= {"encoder_kwargs.pooling": "my_parts.MaxPooling", "front_end": "my_parts.LearnedFilters"}
    config["parameters"] = {f"transfer.model.{name}": {"values": [value]} for name, value in values.items()}
    config["method"] = "grid"
    (args,) = proposals(config, 1)
    try:
        offline, summary = run_trial(machine, config, args, command_of(config, args))
    finally:
        sys.modules.pop("my_parts", None)
    model = read_json(Path(summary["control_model"]) / "config.json")["model"]
    assert (model["encoder"], model["front_end"]) == ("my_parts.ConvEncoder", "my_parts.LearnedFilters")
    assert model["encoder_kwargs"] == {"width": 8, "pooling": "my_parts.MaxPooling"}
    assert offline.config["transfer"]["model"]["encoder"]["init_args"]["width"] == 8
