"""What is done to a batch before a model's own layers: modules from torch tensors to torch tensors."""

from crossmodal.transforms.front_end import MFCC, LogMelFilterBank
from crossmodal.transforms.masking import length_mask
from crossmodal.transforms.normalization import FeatureNormalization

__all__ = ["MFCC", "FeatureNormalization", "LogMelFilterBank", "length_mask"]
