"""The training stages as LightningModules, each usable with a plain Trainer."""

from crossmodal.tasks.base import BaseTask
from crossmodal.tasks.finetune import ControlTask, FinetuneTask, SupervisedTask
from crossmodal.tasks.teacher import TeacherTask
from crossmodal.tasks.transfer import TransferTask

# Increment if a stage would end with different weights or predictions: every stage is then retrained.
VERSION = 1

__all__ = ("BaseTask", "ControlTask", "FinetuneTask", "SupervisedTask", "TeacherTask", "TransferTask")
