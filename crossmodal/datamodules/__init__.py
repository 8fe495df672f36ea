"""LightningDataModules of the datasets."""

from crossmodal.datamodules.base import CorpusDataModule
from crossmodal.datamodules.clip_dataset import ClipDataset, collate_clips
from crossmodal.datamodules.corpus import AudioDataModule, PairedDataModule, VideoDataModule
from crossmodal.datamodules.manifest import ManifestAudioDataModule, ManifestPairedDataModule, ManifestVideoDataModule
from crossmodal.datamodules.ravdess import RAVDESSAudioDataModule, RAVDESSPairedDataModule, RAVDESSVideoDataModule
from crossmodal.datamodules.streaming import StreamingPairedDataModule

# Increment if the same corpus and settings would give different batches: every stage is then retrained.
VERSION = 1

__all__ = (
    "AudioDataModule",
    "ClipDataset",
    "CorpusDataModule",
    "ManifestAudioDataModule",
    "ManifestPairedDataModule",
    "ManifestVideoDataModule",
    "PairedDataModule",
    "RAVDESSAudioDataModule",
    "RAVDESSPairedDataModule",
    "RAVDESSVideoDataModule",
    "StreamingPairedDataModule",
    "VideoDataModule",
    "collate_clips",
)
