"""Front ends and audio encoders by name or class."""
# To add one, write a class in its own file, and add its name to the Literal and to the dict below it.

from functools import partial
from typing import Any, Literal

from torch import nn

from crossmodal.models.cnn import CNNEncoder, CRNNEncoder
from crossmodal.models.dense import DenseEncoder
from crossmodal.models.encoder import AudioEncoder
from crossmodal.models.lstm import LSTMEncoder
from crossmodal.models.pretrained import PretrainedFrontEnd
from crossmodal.models.tdnn import TDNNEncoder
from crossmodal.models.transformer import TransformerEncoder
from crossmodal.naming import Part
from crossmodal.transforms import MFCC, LogMelFilterBank, MFCCAndLogMel

FrontEndName = Literal["both", "lmfb", "mfcc", "pretrained"]
_FRONT_ENDS: dict[FrontEndName, type[LogMelFilterBank | PretrainedFrontEnd]] = {
    "both": MFCCAndLogMel,
    "lmfb": LogMelFilterBank,
    "mfcc": MFCC,
    "pretrained": PretrainedFrontEnd,
}

AudioEncoderName = Literal["cnn", "crnn", "dense", "lstm", "tdnn", "transformer"]
_AUDIO_ENCODERS: dict[AudioEncoderName, type[AudioEncoder]] = {
    "cnn": CNNEncoder,
    "crnn": CRNNEncoder,
    "dense": DenseEncoder,
    "lstm": LSTMEncoder,
    "tdnn": TDNNEncoder,
    "transformer": TransformerEncoder,
}


front_end_part = partial(Part.parse, "front end", _FRONT_ENDS, base=nn.Module)
audio_encoder_part = partial(Part.parse, "audio encoder", _AUDIO_ENCODERS, base=nn.Module)


def create_front_end(name: Any, sample_rate: int = 16000, **kwargs: Any) -> Any:
    """Create a front end: one of `list_front_ends`, or your own in the forms of `crossmodal.naming.Part.parse`.

    `kwargs` are additional arguments of its class; None means the default where None is not a valid value.

    Raises:
        ConfigError: If the name or an argument does not exist.

    Examples:
        >>> create_front_end("mfcc", sample_rate=16000, n_mfcc=20).num_features
        20
    """
    return front_end_part(name, kwargs).create({"sample_rate": sample_rate}, "num_features")


def list_front_ends() -> list[str]:
    """List the names of the front ends."""
    return sorted(_FRONT_ENDS)


def create_audio_encoder(name: Any, in_features: int, **kwargs: Any) -> Any:
    """Create an audio encoder; arguments and errors as for `create_front_end`.

    Examples:
        >>> create_audio_encoder("lstm", in_features=40, hidden_size=128, pooling="mean").out_features
        256
    """
    return audio_encoder_part(name, kwargs).create({"in_features": in_features}, "out_features")


def list_audio_encoders() -> list[str]:
    """List the names of the audio encoders."""
    return sorted(_AUDIO_ENCODERS)
