"""Models of the voice and of the face, and their parts."""

from crossmodal.models.backbone import FaceBackbone
from crossmodal.models.classifier import AudioClassifier
from crossmodal.models.cnn import CNNEncoder
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
from crossmodal.models.pooling import (
    AttentionPooling,
    LastPooling,
    MeanPooling,
    Pooling,
    PoolingName,
    StatsPooling,
    create_pooling,
)

__all__ = [
    "AttentionPooling",
    "AudioClassifier",
    "AudioEncoder",
    "AudioEncoderName",
    "CNNEncoder",
    "DenseEncoder",
    "FaceBackbone",
    "FaceClassifier",
    "FaceEncoder",
    "FrontEndName",
    "LSTMEncoder",
    "LastPooling",
    "MeanPooling",
    "Pooling",
    "PoolingName",
    "StatsPooling",
    "create_audio_encoder",
    "create_front_end",
    "create_pooling",
    "list_audio_encoders",
    "list_front_ends",
]
