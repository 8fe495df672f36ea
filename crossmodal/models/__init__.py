"""Voice models, face models and their parts."""

from crossmodal.models.backbone import FaceBackbone
from crossmodal.models.classifier import AudioClassifier, ClipNormalizationName
from crossmodal.models.cnn import CNNEncoder, CRNNEncoder
from crossmodal.models.dense import DenseEncoder
from crossmodal.models.encoder import AudioEncoder
from crossmodal.models.face import FaceClassifier, FaceEncoder
from crossmodal.models.factory import (
    AudioEncoderName,
    FrontEndName,
    create_audio_encoder,
    create_front_end,
    list_audio_encoders,
    list_front_ends,
)
from crossmodal.models.lstm import LSTMEncoder
from crossmodal.models.outputs import Outputs
from crossmodal.models.pooling import (
    Pooling,
    PoolingName,
    StatsPooling,
    WeightedLayerSum,
    create_pooling,
)
from crossmodal.models.self_supervised import SelfSupervisedFrontEnd
from crossmodal.models.tdnn import TDNNEncoder
from crossmodal.models.timm_encoder import TimmEncoder
from crossmodal.models.transformer import TransformerEncoder

# Increment if the same input, seed and settings would give different outputs: every stage is then retrained.
VERSION = 1

__all__ = [
    "AudioClassifier",
    "AudioEncoder",
    "AudioEncoderName",
    "CNNEncoder",
    "CRNNEncoder",
    "ClipNormalizationName",
    "DenseEncoder",
    "FaceBackbone",
    "FaceClassifier",
    "FaceEncoder",
    "FrontEndName",
    "LSTMEncoder",
    "Outputs",
    "Pooling",
    "PoolingName",
    "SelfSupervisedFrontEnd",
    "StatsPooling",
    "TDNNEncoder",
    "TimmEncoder",
    "TransformerEncoder",
    "WeightedLayerSum",
    "create_audio_encoder",
    "create_front_end",
    "create_pooling",
    "list_audio_encoders",
    "list_front_ends",
]
