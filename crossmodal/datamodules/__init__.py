"""LightningDataModules of any corpus."""

from crossmodal.datamodules.base import AudioDataModule as AudioDataModule
from crossmodal.datamodules.base import CorpusDataModule as CorpusDataModule
from crossmodal.datamodules.base import PairedDataModule as PairedDataModule
from crossmodal.datamodules.base import VideoDataModule as VideoDataModule
from crossmodal.datamodules.clip_dataset import ClipDataset as ClipDataset
from crossmodal.datamodules.clip_dataset import collate_clips as collate_clips

# Increment if the same corpus and settings would give different batches: every stage is then retrained.
VERSION = 1
