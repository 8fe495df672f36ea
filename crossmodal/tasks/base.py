"""Base class of the stages: metrics, optimizer recipe and steps."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassRecall

from crossmodal.batch import UNLABELLED, Batch
from crossmodal.errors import NotFiniteError
from crossmodal.own_code import own_code_of, trusting
from crossmodal.tasks.loss_accumulator import LossAccumulator
from crossmodal.tasks.not_finite import check_labels, explain_clips, explain_loss, non_finite_clips
from crossmodal.tasks.schedule import OneCycleSchedule
from crossmodal.transforms import FeatureNormalization

Losses = dict[str, Tensor]
Split = Literal["train", "val", "test"]


class UnweightedAverageRecall(MulticlassRecall):
    """Mean recall over the classes with at least one target.

    `MulticlassRecall` with macro average includes classes that are predicted but have no targets, with recall 0.
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        super().__init__(num_classes, average=None, ignore_index=ignore_index)

    def compute(self) -> Tensor:
        """Return the recall as a fraction, of shape ()."""
        true_positives, false_negatives = cast(Tensor, self.tp), cast(Tensor, self.fn)
        support = true_positives + false_negatives
        return (true_positives / support)[support > 0].mean()


class BaseTask(LightningModule):
    """Base class of the stages. A subclass sets `self.model` and implements `compute_losses`.

    A batch is a dict with the inputs of the subclass, and ``label``: (B,) int64, -1 for a clip without a label, which
    prediction does not need. ``clip``, a list of B names, is optional: it names the clips in messages and predictions.

    Logged names are ``<stage>/<split>_<metric>``. UAR (mean per-class recall) selects the model, WAR is accuracy; for
    all three metrics higher is better.

    Args:
        num_classes: Number of classes.
        lr: Highest learning rate of the schedule.
        weight_decay: Weight decay of AdamW (Loshchilov & Hutter 2019).
        warmup: Fraction of the steps in which the learning rate increases; then it decreases along a cosine (one-cycle,
            Smith & Topin 2018).
        label_smoothing: Label smoothing of the cross-entropy, from 0 to 1.
        class_weighting: Whether to weight clips in the cross-entropy by the inverse frequency of their class among the
            training clips: RAVDESS has half as many neutral clips as of any other emotion.
        patience: Number of epochs without a better validation UAR after which training stops, before the small learning
            rates at the end of the schedule; None to disable.
    """

    stage: ClassVar[str]
    # Excluded from a checkpoint's hyper-parameters: files of an earlier stage, which may not exist later.
    ignored_hyperparameters: ClassVar[tuple[str, ...]] = ()
    model: nn.Module
    class_weight: Tensor

    def __init__(
        self,
        num_classes: int = 8,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        warmup: float = 0.2,
        label_smoothing: float = 0.1,
        class_weighting: bool = False,
        patience: int | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=list(self.ignored_hyperparameters))
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.label_smoothing, self.class_weighting = label_smoothing, class_weighting
        self.patience = patience
        self.register_buffer("class_weight", torch.ones(num_classes))
        metrics = MetricCollection(
            {
                "uar": UnweightedAverageRecall(num_classes, ignore_index=UNLABELLED),
                "war": MulticlassAccuracy(num_classes, average="micro", ignore_index=UNLABELLED),
                "f1": MulticlassF1Score(num_classes, average="macro", ignore_index=UNLABELLED),
            }
        )
        self._losses = {split: LossAccumulator() for split in ("train", "val", "test")}
        self.metrics = nn.ModuleDict(
            {f"{split}_metrics": metrics.clone(prefix=f"{self.stage}/{split}_") for split in ("train", "val", "test")}
        )

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, *args: Any, trust_own_code: bool = False, **kwargs: Any
    ) -> Any:
        """Load a checkpoint, as in Lightning. Import classes outside of crossmodal only if their code is trusted."""
        # LightningCLI's instantiator would import classes itself.
        with trusting(trust_own_code), own_code_of(checkpoint_path):
            return super().load_from_checkpoint(checkpoint_path, *args, _instantiator=None, **kwargs)

    @property
    def monitor(self) -> str:
        """Logged name that selects the best checkpoint."""
        return f"{self.stage}/val_uar"

    def compute_losses(self, batch: Batch) -> tuple[Tensor, Losses]:
        """Compute the logits of a batch, (B, K), and its losses by name; ``loss`` is minimised."""
        raise NotImplementedError

    def normalization(self) -> FeatureNormalization | None:
        """Return the normalization to fit to the training clips, if any."""
        return None

    def features(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Compute the inputs of the normalization, (B, features, frames), and their lengths in frames."""
        raise NotImplementedError

    def gather_clips(self, tensor: Tensor) -> Tensor:
        """In training, gather the rows of the clips of all processes, (processes * B, ...).

        Losses are computed over the whole batch: some compare clips with each other, and a weighted mean is not the
        mean of the processes' means. Gradients flow back to the process of each clip.
        """
        if not self.training or self._trainer is None or self.trainer.world_size == 1:
            return tensor
        return cast(Tensor, self.all_gather(tensor, sync_grads=True)).flatten(0, 1)

    def task_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """Compute the cross-entropy over the labelled clips, weighted by class; zero if there are none."""
        losses = F.cross_entropy(
            logits, label, ignore_index=UNLABELLED, label_smoothing=self.label_smoothing, reduction="none"
        )
        weight = torch.where(label == UNLABELLED, 0.0, self.class_weight[label])
        return (losses * weight).sum() / weight.sum().clamp(min=1e-6)

    def on_train_start(self) -> None:
        """Fit class weights, and the normalization unless it was loaded, to the training clips."""
        if self.class_weighting:
            self._fit_class_weight()
        self.fit_normalization(self._training_clips())

    def _fit_class_weight(self) -> None:
        labels = torch.cat([batch["label"] for batch in self._training_clips()])
        check_labels(self.stage, labels, len(self.class_weight), self._trainer)
        count = self._sum_over_processes(torch.bincount(labels[labels != UNLABELLED], minlength=len(self.class_weight)))
        present = (count > 0).sum()
        self.class_weight.copy_(torch.where(count > 0, count.sum() / (present * count.clamp(min=1)), 1.0))

    @torch.no_grad()
    def fit_normalization(self, batches: Iterable[Batch]) -> None:
        """Fit the normalization, if any and unless it was loaded, to batches of all training clips.

        Raises:
            NotFiniteError: If the data or features of a clip are not finite.
        """
        normalization = self.normalization()
        if normalization is None or bool(normalization.fitted):
            return
        was_training = self.training
        self.eval()
        sums, not_finite = torch.zeros(()), []
        for batch in batches:
            features, length = self.features(batch)
            added = normalization.accumulate(features, length)
            if not bool(torch.isfinite(added).all()):
                not_finite += non_finite_clips(batch, features)
            sums = sums + added  # a list of small tensors would fragment the memory
        total = self._sum_over_processes(sums)
        if not bool(torch.isfinite(total).all()):  # in every process, so that none waits for another
            clips = explain_clips(not_finite or ["other processes"])
            raise NotFiniteError(f"{self.stage}, before training: {clips}")
        normalization.fit_from_sums(*total)
        self.train(was_training)

    def configure_callbacks(self) -> list[Callback]:
        """Return the callback for early stopping, if enabled."""
        return [] if self.patience is None else [EarlyStopping(self.monitor, mode="max", patience=self.patience)]

    def _training_clips(self) -> Iterable[Batch]:
        """Iterate over every training clip once: in one of the processes, or with another loader in each of them."""
        loader: Iterable[Batch] = self.trainer.train_dataloader or ()
        if hasattr(loader, "single_pass"):  # a loader of which each process reads a part
            loader = loader.single_pass()
        elif isinstance(loader, DataLoader):
            loader = DataLoader(loader.dataset, batch_size=loader.batch_size or 1, collate_fn=loader.collate_fn)
        return (self.transfer_batch_to_device(batch, self.device, 0) for batch in loader)

    def _sum_over_processes(self, total: Tensor) -> Tensor:
        if self._trainer is None or self.trainer.world_size == 1:
            return total
        summed = self.trainer.strategy.reduce(total.to(self.device), reduce_op="sum")
        return cast(Tensor, summed).to(total.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Run one training step."""
        loss = self._shared_step(batch, "train")
        if self._trainer and self.trainer.is_last_batch:  # callbacks read the metrics before on_train_epoch_end
            self._log_epoch("train")
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Run one validation step."""
        return self._shared_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Run one test step."""
        return self._shared_step(batch, "test")

    def _shared_step(self, batch: Batch, split: Split) -> Tensor:
        check_labels(self.stage, batch["label"], len(self.class_weight), self._trainer)
        logits, losses = self.compute_losses(batch)
        if not torch.isfinite(losses["loss"]):
            raise NotFiniteError(self._explain(losses["loss"], batch, logits, split))
        self._losses[split].add(losses, len(batch["label"]))
        self._metrics(split).update(logits, batch["label"])
        return losses["loss"]

    @torch.no_grad()
    def _explain(self, loss: Tensor, batch: Batch, logits: Tensor, split: Split) -> str:
        trainer = self._trainer
        where = f"epoch {trainer.current_epoch + 1}, step {trainer.global_step}" if trainer else "without a trainer"
        features = batch["summary"] if "summary" in batch else self.features(batch)[0]
        return explain_loss(f"{self.stage}, {split}, {where}", float(loss), batch, features, logits)

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's losses and metrics."""
        self._log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log the losses and metrics of the test clips."""
        self._log_epoch("test")

    def _log_epoch(self, split: Split) -> None:
        losses, clips = self._losses[split].take(self.trainer.strategy.reduce if self._trainer else None)
        for name, value in losses.items():
            logged = f"{self.stage}/{split}_loss" if name == "loss" else f"{self.stage}/{name}"
            self.log(logged, value, on_step=False, on_epoch=True, batch_size=clips, sync_dist=True)
        for name, metric in self._metrics(split).items():
            self.log(name, metric, on_step=False, on_epoch=True, batch_size=clips, prog_bar=name == self.monitor)

    def _metrics(self, split: Split) -> MetricCollection:
        return cast(MetricCollection, self.metrics[f"{split}_metrics"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save also the stage and the datamodule's labels, for `crossmodal.EmotionRecognizer.from_checkpoint`."""
        checkpoint["hyper_parameters"].pop("_instantiator", None)  # of LightningCLI; see `load_from_checkpoint`
        labels = getattr(getattr(self._trainer, "datamodule", None), "labels", None)
        checkpoint["crossmodal"] = {"stage": self.stage, "labels": list(labels) if labels else None}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the trained parameters in groups, each with its highest learning rate as ``lr``."""
        return [{"params": [one for one in self.parameters() if one.requires_grad], "lr": self.lr}]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and a one-cycle learning rate schedule over all steps."""
        optimizer = torch.optim.AdamW(self.parameter_groups(), weight_decay=self.weight_decay)
        scheduler = OneCycleSchedule(optimizer, self.trainer.estimated_stepping_batches, self.warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
