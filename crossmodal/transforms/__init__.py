"""Transforms of batches of tensors: front ends, normalization and augmentation."""

from crossmodal.transforms.augmentation import (
    AdditiveNoise,
    RandomCrop,
    RandomGain,
    TimeShift,
    WaveformAugmentation,
)
from crossmodal.transforms.factory import (
    Augmentation,
    AugmentationName,
    create_augmentation,
    list_augmentations,
)
from crossmodal.transforms.front_end import MFCC, LogMelFilterBank, MFCCAndLogMel
from crossmodal.transforms.masking import length_mask, pad_features
from crossmodal.transforms.mixup import Mixup
from crossmodal.transforms.normalization import ClipNormalization, FeatureNormalization
from crossmodal.transforms.random_transform import random_horizontal_flip
from crossmodal.transforms.spec_augment import SpecAugment
from crossmodal.transforms.speed_and_pitch import PitchPerturbation, SpeedPerturbation

# Increment if the same batch, seed and settings would give a different result: every stage is then retrained.
VERSION = 1

__all__ = [
    "MFCC",
    "AdditiveNoise",
    "Augmentation",
    "AugmentationName",
    "ClipNormalization",
    "FeatureNormalization",
    "LogMelFilterBank",
    "MFCCAndLogMel",
    "Mixup",
    "PitchPerturbation",
    "RandomCrop",
    "RandomGain",
    "SpecAugment",
    "SpeedPerturbation",
    "TimeShift",
    "WaveformAugmentation",
    "create_augmentation",
    "length_mask",
    "list_augmentations",
    "pad_features",
    "random_horizontal_flip",
]
