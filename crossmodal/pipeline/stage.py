"""One stage of a run: reused from the store, or trained (or resumed), evaluated and stored under its key."""

import contextlib
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from rich.console import Console

from crossmodal.datamodules import CorpusDataModule
from crossmodal.errors import ConfigError
from crossmodal.evaluation.metrics import describe, uar
from crossmodal.evaluation.predictions import Predictions, predict
from crossmodal.models import AudioClassifier, FaceClassifier, PretrainedFrontEnd
from crossmodal.models.serialization import load_weights, save_model
from crossmodal.own_code import own_sources
from crossmodal.pipeline.callbacks import EpochBar, History, ProgressLines, SeedEachBatch, StopAtOnce
from crossmodal.pipeline.checkpoints import BEST, LAST, AtomicCheckpointIO, find_checkpoint
from crossmodal.pipeline.checks import invalid_settings
from crossmodal.pipeline.loggers import SELECTED_BY
from crossmodal.pipeline.processes import Processes
from crossmodal.pipeline.settings import STAGES, Config
from crossmodal.pipeline.stage_key import code_version, settings_in_key, stage_parser
from crossmodal.pipeline.stage_result import (
    HISTORY,
    MODEL,
    PREDICTIONS,
    RESULT,
    StageResult,
    has_result,
    load_result,
    write_result,
)
from crossmodal.pipeline.stored.speech_features import store_for_training
from crossmodal.stopping import Terminated
from crossmodal.storage import atomic_path, content_key, locked, read_json, write_json
from crossmodal.tasks import BaseTask, FinetuneTask

START = -1  # the epoch of the weights that training started from
_TRAINER = {"num_sanity_val_steps": 0, "enable_model_summary": False, "enable_autolog_hparams": False}
_KEY = "key.json"
_FILES = ("config.yaml", _KEY, MODEL, PREDICTIONS, HISTORY, RESULT)  # of a stored stage


class StageRun:
    """One stage, built from its configuration.

    Args:
        stage: One of `crossmodal.pipeline.settings.STAGES`.
        config: See `crossmodal.pipeline.settings.stage_config`.
        clips: Names of the clips of the run, the same in every stage.
        folder: The run's folder for this stage.
        upstream: Keys of the results that this stage depends on.
        left_out: Training actors that this stage must not use.
        processes: Processes of the run; by default only the current one.
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
        self.stage, self.folder = stage, folder
        self._start = config["model"].get("weights") if stage != "teacher" else None
        self._processes = processes or Processes({"accelerator": "cpu"})
        self._history = History()
        # Training without labels does not aim at accuracy, so the last epoch is kept.
        by_uar = config["model"].get("task_loss_weight") != 0
        self._best = ModelCheckpoint(
            dirpath=folder / "checkpoints",
            filename=Path(BEST).stem,
            monitor=f"{stage}/{SELECTED_BY}" if by_uar else None,
            mode="max",
            save_on_train_epoch_end=True,  # after History has collected the epoch
            enable_version_counter=False,
        )
        # Its mode has no effect, but distinguishes it from a best checkpoint without a monitor.
        self._last = ModelCheckpoint(
            folder / "checkpoints",
            Path(LAST).stem,
            mode="min",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        with invalid_settings(f"the stage {stage}"):
            self._build(config)
        used = set(clips)
        self.datamodule.restrict(lambda clip: clip.clip in used)
        self.datamodule.exclude_actors(left_out)
        self.datamodule.setup()
        self.key = self._history.key = self._key(upstream)

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
            self.datamodule.summaries = None
            _copy(self.folder, stored)
        elif not has_result(self.folder, self.key):
            self._claim_folder()
            _copy(stored, self.folder)

    def _build(self, config: Config) -> None:
        """Build task, datamodule and Trainer."""
        parser = stage_parser(self.stage)
        trainer = {**_TRAINER, "default_root_dir": str(self.folder), **config["trainer"], "logger": False}
        self._config = parser.parse_object({**config, "trainer": trainer})
        seed_everything(config["seed_everything"], workers=True, verbose=False)
        arguments = self._config.clone()
        self.task: BaseTask = STAGES[self.stage].task(**arguments.pop("model").as_dict())
        built = stage_parser(self.stage, has_model=False).instantiate(arguments)
        self.datamodule: CorpusDataModule = built.data
        callbacks: list[Callback] = [self._best, self._last, self._history, StopAtOnce()]
        callbacks.append(SeedEachBatch(config["seed_everything"]))
        arguments = built.trainer.as_dict()
        if trainer.get("enable_progress_bar") is not False:
            console = Console()
            arguments["enable_progress_bar"] = console.is_terminal or console.is_jupyter
            callbacks.append(EpochBar(leave=False) if arguments["enable_progress_bar"] else ProgressLines())
        self._trainer = Trainer(**{**arguments, "callbacks": [*callbacks, *(arguments["callbacks"] or [])]})
        if self._trainer.world_size != self._processes.number:
            raise ConfigError(
                f"All stages must use the same devices: the run has {self._processes.number}, but {self.stage} "
                f"requests {self._trainer.world_size}. Set --trainer.devices and --trainer.num_nodes, which apply to "
                "all stages."
            )
        if type(self._trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            self._trainer.strategy.checkpoint_io = AtomicCheckpointIO()

    def _key(self, upstream: Sequence[str]) -> str:
        front_end = getattr(self.task.model, "front_end", None)
        return content_key(
            stage=self.stage,
            code=code_version(),
            **settings_in_key(self.stage, self._config),
            data=self.datamodule.fingerprint,
            upstream=list(upstream),
            **({"own": own} if (own := own_sources(self.task.modules())) else {}),
            **({"pretrained": front_end.trained_key()} if isinstance(front_end, PretrainedFrontEnd) else {}),
        )

    def _begin(self) -> str | None:
        """Prepare the folder, and return the checkpoint to resume from, or None."""
        self._claim_folder()
        # Lightning writes these within an epoch on SLURM's signal, and would train on its first clips again.
        for checkpoint in self.folder.glob("hpc_ckpt_*.ckpt"):
            checkpoint.unlink()
        config = self.folder / "config.yaml"
        stage_parser(self.stage).save(self._config, config, overwrite=True, skip_unset=False, skip_validation=True)
        resume_from = find_checkpoint(self.folder / "checkpoints", self.stage)
        return str(resume_from) if resume_from else None

    def _claim_folder(self) -> None:
        """Write the key to the folder; remove the results and checkpoints of another key, and no other files."""
        if read_json(self.folder / _KEY) != self.key:
            for name in (*_FILES, f"checkpoints/{BEST}", f"checkpoints/{LAST}"):
                (self.folder / name).unlink(missing_ok=True)
            write_json(self.folder / _KEY, self.key)

    def _train(self, loggers: list[Logger]) -> None:
        trainer = self._trainer
        trainer.loggers = loggers
        try:  # errors after the first epoch are unlikely to come from settings
            with invalid_settings(
                f"the stage {self.stage}", lambda: trainer.current_epoch == 0 and trainer.world_size == 1
            ):
                self._store_features()
                checkpoint = self._processes.run_on_rank_zero(self._begin)
                trainer.fit(self.task, datamodule=self.datamodule, ckpt_path=checkpoint, weights_only=True)
        except Terminated:
            raise
        except SystemExit as error:  # Lightning's reaction to Ctrl-C
            raise KeyboardInterrupt from error

    def _store_features(self) -> None:
        """Store the features of a student; on a GPU, computing them is faster than reading them."""
        task, data, device = self.task, self.datamodule, self._trainer.strategy.root_device
        if isinstance(task, FinetuneTask) and (device.type == "cpu" or data.speech_features):
            if task.num_versions and task.uses_summaries:
                task.fit_normalization(data.loader(data.split["train"]))
            folders, data.summaries = self._processes.run_on_rank_zero(lambda: store_for_training(task, data, device))
            if folders:
                data.speech_features, *data.feature_versions = folders

    def _evaluate(self) -> None:
        """Write the best weights, and their predictions and metrics for the validation and test clips."""
        if not self._best.best_model_path:
            raise ConfigError(
                f"{self.stage} has no checkpoint: training ended before its first validation. Check trainer."
                "check_val_every_n_epoch, max_steps and max_time. For a quick test: --trainer.fast_dev_run true."
            )
        best = torch.load(self._best.best_model_path, map_location="cpu", weights_only=True)
        History(self.key).load_state_dict(best["callbacks"]["History"])  # an error if another run wrote it
        self.task.load_state_dict(best["state_dict"])
        datamodule, device = self.datamodule, self._trainer.strategy.root_device
        predictions, best_epoch = self._predict(device), best["epoch"]
        if self._start and _val_uar(before := self._predictions_of_start()) >= _val_uar(predictions):
            predictions, best_epoch = before, START
            load_weights(self.task.model, self._start)  # type: ignore[arg-type]
            best |= {"epoch": START, "state_dict": self.task.cpu().state_dict()}
            AtomicCheckpointIO().save_checkpoint(best, self._best.best_model_path)
        train_actors = sorted({clip.actor for clip in datamodule.split["train"]})
        save_model(self.task.model, self.folder / MODEL, train_actors=train_actors, labels=datamodule.labels)  # type: ignore[arg-type]
        predictions.write_csv(self.folder / PREDICTIONS)
        self._history.write_csv(self.folder / HISTORY)
        write_result(
            self.folder,
            key=self.key,
            metrics={split: describe(predictions.of(split)) for split in ("val", "test")},
            seconds=round(self._history.seconds, 3),
            epochs=self._trainer.current_epoch,
            best_epoch=best_epoch,
        )

    def _predictions_of_start(self) -> Predictions:
        """Return the predictions of the stage that training started from, which no epoch may have improved."""
        return Predictions.read_csv(Path(str(self._start)).with_name(PREDICTIONS))

    def _predict(self, device: torch.device) -> Predictions:
        """Predict the labelled validation and test clips on one device: a distributed sampler would repeat some."""
        splits = self.datamodule.split
        clips = [(clip, split) for split in ("val", "test") for clip in splits[split] if clip.label is not None]
        model: AudioClassifier | FaceClassifier = self.task.model.to(device)  # type: ignore[assignment]
        logits = predict(model, self.datamodule.loader([clip for clip, _ in clips])).logits
        return Predictions.of_clips(clips, self.datamodule.labels, [logits.double().softmax(dim=-1).numpy()])


def _val_uar(predictions: Predictions) -> float:
    return float(uar(predictions.of("val").confusion()))


def _copy(source: Path, target: Path) -> None:
    """Copy the files of a stage, each atomically; the result is the last one, and has the hashes of the others."""
    for name in _FILES:
        with atomic_path(target / name) as temporary:
            shutil.copyfile(source / name, temporary)
