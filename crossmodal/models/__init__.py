"""Voice models, face models and their parts."""

from crossmodal.models.backbone import FaceBackbone as FaceBackbone
from crossmodal.models.classifier import AudioClassifier as AudioClassifier
from crossmodal.models.classifier import ClipNormalizationName as ClipNormalizationName
from crossmodal.models.cnn import CNNEncoder as CNNEncoder
from crossmodal.models.cnn import CRNNEncoder as CRNNEncoder
from crossmodal.models.dense import DenseEncoder as DenseEncoder
from crossmodal.models.encoder import AudioEncoder as AudioEncoder
from crossmodal.models.face import FaceClassifier as FaceClassifier
from crossmodal.models.face import FaceEncoder as FaceEncoder
from crossmodal.models.factory import AudioEncoderName as AudioEncoderName
from crossmodal.models.factory import FrontEndName as FrontEndName
from crossmodal.models.factory import create_audio_encoder as create_audio_encoder
from crossmodal.models.factory import create_front_end as create_front_end
from crossmodal.models.factory import list_audio_encoders as list_audio_encoders
from crossmodal.models.factory import list_front_ends as list_front_ends
from crossmodal.models.lstm import LSTMEncoder as LSTMEncoder
from crossmodal.models.outputs import Outputs as Outputs
from crossmodal.models.pooling import Pooling as Pooling
from crossmodal.models.pooling import PoolingName as PoolingName
from crossmodal.models.pooling import StatsPooling as StatsPooling
from crossmodal.models.pooling import WeightedLayerSum as WeightedLayerSum
from crossmodal.models.pooling import create_pooling as create_pooling
from crossmodal.models.pretrained import PretrainedFrontEnd as PretrainedFrontEnd
from crossmodal.models.tdnn import TDNNEncoder as TDNNEncoder
from crossmodal.models.transformer import TransformerEncoder as TransformerEncoder

# Increment if the same input, seed and settings would give different outputs: every stage is then retrained.
VERSION = 1
