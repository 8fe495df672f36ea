"""Unweighted average recall, the metric that chooses models."""

from typing import cast

from torch import Tensor
from torchmetrics.classification import MulticlassRecall


class UnweightedAverageRecall(MulticlassRecall):
    """The mean recall of the classes that occur.

    `MulticlassRecall` averaged over classes counts one that does not occur, but was predicted, as recall 0.

    Args:
        num_classes: The number of classes.
        ignore_index: The label of a clip that does not count.
    """

    def __init__(self, num_classes: int, ignore_index: int | None = None) -> None:
        super().__init__(num_classes, average=None, ignore_index=ignore_index)

    def compute(self) -> Tensor:
        """A fraction, of shape ()."""
        found, missed = cast(Tensor, self.tp), cast(Tensor, self.fn)
        occurs = found + missed > 0
        return (found / (found + missed))[occurs].mean()
