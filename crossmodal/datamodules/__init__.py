"""LightningDataModules of any corpus."""

from crossmodal.datamodules.base import AudioDataModule, CorpusDataModule, PairedDataModule, VideoDataModule
from crossmodal.datamodules.clip_dataset import ClipDataset, collate_clips

# Increment if the same corpus and settings would give different batches: every stage is then retrained.
VERSION = 1

__all__ = (
    "AudioDataModule",
    "ClipDataset",
    "CorpusDataModule",
    "PairedDataModule",
    "VideoDataModule",
    "collate_clips",
)
