"""One stage of a run: reused from the store, or trained (or resumed), evaluated and stored under its key."""

import contextlib
import shutil
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import FSDPStrategy

from crossmodal import datamodules, losses, models, tasks, transforms
from crossmodal.datamodules import CorpusDataModule
from crossmodal.errors import ConfigError
from crossmodal.evaluation.metrics import describe
from crossmodal.evaluation.predictions import Predictions
from crossmodal.models.serialization import save_model
from crossmodal.pipeline.callbacks import History, LastCheckpoint, SeedEachBatch
from crossmodal.pipeline.checkpoints import BEST, LAST, AtomicCheckpointIO, find_checkpoint
from crossmodal.pipeline.processes import Processes
from crossmodal.pipeline.settings import STAGES, Config
from crossmodal.pipeline.stage_result import (
    HISTORY,
    MODEL,
    PREDICTIONS,
    StageResult,
    has_result,
    load_result,
    write_result,
)
from crossmodal.stopping import Terminated
from crossmodal.storage import content_key, hash_file, locked, read_json, replace_folder, write_json
from crossmodal.tasks import BaseTask, FinetuneTask
from crossmodal.tasks.feature_memory import FeatureMemory

# Raise when this file trains or evaluates a stage differently: every stage is then trained again.
VERSION = 1
# Features of the last stages, kept so that the next stages and runs in this process can use them.
_FEATURE_MEMORIES: deque[FeatureMemory | None] = deque(maxlen=2)
# Trainer arguments that do not change the result.
_NOT_IN_KEY = {
    "logger",
    "default_root_dir",
    "enable_progress_bar",
    "enable_model_summary",
    "log_every_n_steps",
    "profiler",
}


class StageRun:
    """One stage, built by LightningCLI from its configuration.

    Args:
        stage: One of `crossmodal.pipeline.settings.STAGES`.
        config: Configuration of the stage, see `crossmodal.pipeline.settings.stage_config`.
        clips: Names of the clips of the run, the same in every stage.
        folder: The run's folder for this stage.
        upstream: Keys of the results that this stage depends on.
        left_out: Training actors that this stage must not use.
        processes: Processes of the run; by default only the current one.

    Raises:
        ConfigError: If a setting is invalid.
    """

    def __init__(
        self,
        stage: str,
        config: Config,
        clips: Iterable[str],
        folder: Path,
        upstream: Sequence[str] = (),
        left_out: Collection[str] = (),
        processes: Processes | None = None,
    ) -> None:
        self.stage = stage
        self._processes = processes or Processes({"accelerator": "cpu"})
        self.folder = folder
        self.history = History()
        # Training without labels does not aim at accuracy, so the last epoch is kept.
        by_uar = config["model"].get("task_loss_weight") != 0
        self._best = ModelCheckpoint(
            dirpath=folder / "checkpoints",
            filename=Path(BEST).stem,
            monitor=f"{stage}/val_uar" if by_uar else None,
            mode="max",
            save_on_train_epoch_end=True,  # after History has collected the epoch
            enable_version_counter=False,
        )
        self._cli = self._build(stage, config)
        used = set(clips)
        self.datamodule.restrict(lambda clip: clip.clip in used)
        self.datamodule.exclude_actors(left_out)
        self.datamodule.setup()
        self.key = self._key(upstream)

    @property
    def task(self) -> BaseTask:
        """The LightningModule."""
        task: BaseTask = self._cli.model
        return task

    @property
    def datamodule(self) -> CorpusDataModule:
        """The LightningDataModule."""
        datamodule: CorpusDataModule = self._cli.datamodule
        return datamodule

    def is_stored(self, store: Path) -> bool:
        """Return True if the store has the result, from any run."""
        return has_result(store / self.key, self.key)

    def run(self, store: Path, loggers: list[Logger]) -> StageResult:
        """Load the result from the store, or train (resuming an interrupted run) and store it."""
        with contextlib.ExitStack() as lock:

            def is_stored() -> bool:
                message = f"{self.stage}: another run trains the same stage; waiting for its result"
                lock.enter_context(locked(store / ".locks" / f"{self.key}.lock", message=message))
                return self.is_stored(store)

            reused = self._processes.run_on_rank_zero(is_stored)
            if not reused:
                self._train(loggers)
            self._processes.run_on_rank_zero(lambda: self._finalize(store / self.key, reused))
        return load_result(self.stage, self.folder, reused=reused)

    def _finalize(self, stored: Path, reused: bool) -> None:
        """Write the result to the run's folder and to the store."""
        if not reused:
            self._evaluate()
            replace_folder(self.folder, stored, ignore=shutil.ignore_patterns("checkpoints"))
        elif not has_result(self.folder, self.key):
            replace_folder(stored, self.folder)

    def _build(self, stage: str, config: Config) -> LightningCLI:
        last = LastCheckpoint(self.folder / "checkpoints" / LAST)
        callbacks: list[Callback] = [self._best, last, self.history, SeedEachBatch(config["seed_everything"])]
        if config["trainer"].get("enable_progress_bar") is not False:
            callbacks.append(RichProgressBar(leave=False))
        defaults: dict[str, Any] = {
            "callbacks": callbacks,
            "logger": False,
            "default_root_dir": str(self.folder),
            "num_sanity_val_steps": 0,
            "enable_model_summary": False,
            "enable_autolog_hparams": False,
        }
        classes = STAGES[stage]
        config = {**config, "trainer": {key: value for key, value in config["trainer"].items() if key != "logger"}}
        with self._build_errors():
            cli = LightningCLI(
                classes.task,
                classes.datamodule,
                trainer_class=Trainer,
                trainer_defaults=defaults,
                save_config_callback=None,
                args=config,
                run=False,
            )
        if cli.trainer.world_size != self._processes.number:
            raise ConfigError(
                f"All stages must use the same devices: the run has {self._processes.number}, but {stage} requests "
                f"{cli.trainer.world_size}. Set --trainer.devices and --trainer.num_nodes, which apply to all stages."
            )
        if type(cli.trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            cli.trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        return cli

    @contextlib.contextmanager
    def _build_errors(self) -> Iterator[None]:
        """Convert errors of Lightning, torch and timm about invalid values to ConfigError."""
        try:
            yield
        except (MisconfigurationException, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f"Invalid settings for the stage {self.stage}: {error}") from error

    def _key(self, upstream: Sequence[str]) -> str:
        config = self._cli.config.as_dict()
        trainer = {name: value for name, value in config["trainer"].items() if name not in {*_NOT_IN_KEY, "callbacks"}}
        return content_key(
            stage=self.stage,
            code=code_version(),
            model=_model_in_key(config["model"]),
            trainer=trainer,
            data=self.datamodule.fingerprint,
            seed=config["seed_everything"],
            upstream=list(upstream),
        )

    def _begin(self) -> str | None:
        """Prepare the folder, and return the checkpoint to resume from, or None."""
        if read_json(self.folder / "key.json") != self.key:
            shutil.rmtree(self.folder, ignore_errors=True)  # of another configuration, or none
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "key.json", self.key)
        # Lightning writes these within a batch on SLURM's signal. They are not needed: SIGTERM follows and saves.
        for checkpoint in self.folder.glob("hpc_ckpt_*.ckpt"):
            checkpoint.unlink()
        self._cli.parser.save(
            self._cli.config, self.folder / "config.yaml", overwrite=True, skip_unset=False, skip_validation=True
        )
        resume_from = find_checkpoint(self.folder / "checkpoints", self.stage)
        return str(resume_from) if resume_from else None

    def _train(self, loggers: list[Logger]) -> None:
        trainer: Trainer = self._cli.trainer
        trainer.loggers = loggers
        checkpoint = self._processes.run_on_rank_zero(self._begin)
        # FSDP shards the weights in place: the best weights are loaded into a copy.
        unsharded = deepcopy(self.task) if isinstance(trainer.strategy, FSDPStrategy) else self.task
        try:
            trainer.fit(self.task, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True)
        except Terminated:
            raise
        except SystemExit as error:  # Lightning's reaction to Ctrl-C
            raise KeyboardInterrupt from error
        self._cli.model = unsharded
        if isinstance(self.task, FinetuneTask):
            _FEATURE_MEMORIES.append(self.task.memory)

    def _evaluate(self) -> None:
        """Write the best weights, and their predictions and metrics for the validation and test clips."""
        trainer: Trainer = self._cli.trainer
        if not self._best.best_model_path:
            raise ConfigError(
                f"{self.stage} has no checkpoint: training ended before the first epoch did. Train at least one epoch: "
                f"--{self.stage}.trainer.max_epochs 1; for a quick test add --trainer.limit_train_batches 2."
            )
        best = torch.load(self._best.best_model_path, map_location="cpu", weights_only=True)
        self.task.load_state_dict(best["state_dict"])
        datamodule = self.datamodule
        train_actors = sorted({clip.actor for clip in datamodule.split["train"]})
        save_model(self.task.model, self.folder / MODEL, train_actors=train_actors, labels=datamodule.labels)  # type: ignore[arg-type]
        predictions = predict(self.task, datamodule, trainer.strategy.root_device)
        predictions.write_csv(self.folder / PREDICTIONS)
        self.history.write_csv(self.folder / HISTORY)
        write_result(
            self.folder,
            key=self.key,
            metrics={split: describe(predictions.of(split)) for split in ("val", "test")},
            seconds=round(self.history.seconds, 1),
            epochs=trainer.current_epoch,
            best_epoch=best["epoch"],
        )


def _model_in_key(model: Config) -> Config:
    """Return a task's arguments for the key, with the hash of a file in place of its path."""
    arguments = deepcopy(model)
    arguments.pop("teacher", None)  # covered by the upstream key
    for part in (arguments, arguments.get("encoder_kwargs")):
        if part and part.get("weights"):
            part["weights"] = hash_file(Path(part["weights"]))
    if front_end_kwargs := arguments.get("front_end_kwargs"):  # covered by the data's fingerprint
        arguments["front_end_kwargs"] = {name: value for name, value in front_end_kwargs.items() if name != "weights"}
    return arguments


@torch.no_grad()
def predict(task: BaseTask, datamodule: CorpusDataModule, device: torch.device) -> Predictions:
    """Predict the labelled validation and test clips with a task's model, in the order of the split.

    A plain loop on one device is used, because a distributed sampler would repeat some clips.
    """
    task = task.to(device).eval()
    clips = [(clip, split) for split in ("val", "test") for clip in datamodule.split[split] if clip.label is not None]
    probabilities = []
    for batch in datamodule.loader([clip for clip, _ in clips]):
        logits, _ = task.compute_losses(task.transfer_batch_to_device(batch, device, 0))
        probabilities.append(logits.double().softmax(dim=-1).cpu().numpy())
    return Predictions.of_clips(clips, datamodule.labels, probabilities)


def code_version() -> str:
    """Return the versions of torch and of the code that determines a stage's result, as one string.

    The versions are integers beside the code. They are raised by hand, so that other edits keep stored results valid.
    """
    packages = (datamodules, losses, models, tasks, transforms)
    versions = [f"{package.__name__.removeprefix('crossmodal.')} {package.VERSION}" for package in packages]
    return ", ".join([f"torch {torch.__version__}", f"stage {VERSION}", *versions])
