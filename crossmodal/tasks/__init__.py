"""The stages as LightningModules, each usable with a plain Trainer."""

from crossmodal.tasks.base import BaseTask
from crossmodal.tasks.finetune import ControlTask, FinetuneTask
from crossmodal.tasks.teacher import TeacherTask
from crossmodal.tasks.transfer import TransferTask

# Raise when a stage would end with other weights or predictions: every stage is trained again.
VERSION = 1

__all__ = ("BaseTask", "ControlTask", "FinetuneTask", "TeacherTask", "TransferTask")
