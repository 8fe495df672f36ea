"""LightningDataModules over the datasets."""

from crossmodal.datamodules.base import RAVDESSDataModule
from crossmodal.datamodules.clip_dataset import ClipDataset, collate_clips
from crossmodal.datamodules.ravdess import RAVDESSAudioDataModule, RAVDESSPairedDataModule, RAVDESSVideoDataModule

__all__ = (
    "ClipDataset",
    "RAVDESSAudioDataModule",
    "RAVDESSDataModule",
    "RAVDESSPairedDataModule",
    "RAVDESSVideoDataModule",
    "collate_clips",
)
