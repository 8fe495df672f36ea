"""Transforms of batches of tensors: front ends, normalization and augmentation."""

from crossmodal.transforms.augmentation import AdditiveNoise as AdditiveNoise
from crossmodal.transforms.augmentation import RandomCrop as RandomCrop
from crossmodal.transforms.augmentation import RandomGain as RandomGain
from crossmodal.transforms.augmentation import WaveformAugmentation as WaveformAugmentation
from crossmodal.transforms.factory import Augmentation as Augmentation
from crossmodal.transforms.factory import AugmentationName as AugmentationName
from crossmodal.transforms.factory import create_augmentation as create_augmentation
from crossmodal.transforms.factory import list_augmentations as list_augmentations
from crossmodal.transforms.front_end import MFCC as MFCC
from crossmodal.transforms.front_end import LogMelFilterBank as LogMelFilterBank
from crossmodal.transforms.front_end import MFCCAndLogMel as MFCCAndLogMel
from crossmodal.transforms.masking import length_mask as length_mask
from crossmodal.transforms.masking import pad_features as pad_features
from crossmodal.transforms.normalization import ClipNormalization as ClipNormalization
from crossmodal.transforms.normalization import FeatureNormalization as FeatureNormalization
from crossmodal.transforms.random_transform import random_horizontal_flip as random_horizontal_flip
from crossmodal.transforms.spec_augment import SpecAugment as SpecAugment
from crossmodal.transforms.speed import SpeedPerturbation as SpeedPerturbation

# Increment if the same batch, seed and settings would give a different result: every stage is then retrained.
VERSION = 1
