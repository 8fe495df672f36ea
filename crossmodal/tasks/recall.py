"""Unweighted average recall, the metric for model selection."""

from typing import cast

from torch import Tensor
from torchmetrics.classification import MulticlassRecall


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
