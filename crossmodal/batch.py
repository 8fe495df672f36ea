"""Contract of a batch, a dict of tensors and names, between datamodules, losses and tasks."""

from typing import Any

Batch = dict[str, Any]
UNLABELLED = -1  # label of a clip without a label
