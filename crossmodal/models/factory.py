"""Front ends and audio encoders by name."""
# To add one, write a class in its own file, and add its name to the Literal and to the dict below it.

from collections.abc import Callable
from typing import Any, Literal

from crossmodal.models.backbone import check_network_name
from crossmodal.models.cnn import CNNEncoder, CRNNEncoder
from crossmodal.models.dense import DenseEncoder
from crossmodal.models.encoder import AudioEncoder
from crossmodal.models.lstm import LSTMEncoder
from crossmodal.models.self_supervised import SelfSupervisedFrontEnd
from crossmodal.models.tdnn import TDNNEncoder
from crossmodal.models.timm_encoder import TimmEncoder
from crossmodal.models.transformer import TransformerEncoder
from crossmodal.naming import call_with_known, create, lookup
from crossmodal.transforms import MFCC, LogMelFilterBank, MFCCAndLogMel

FrontEnd = LogMelFilterBank | SelfSupervisedFrontEnd
FrontEndName = Literal["both", "lmfb", "mfcc", "ssl"]
_FRONT_ENDS: dict[FrontEndName, Callable[..., FrontEnd]] = {
    "both": MFCCAndLogMel,
    "lmfb": LogMelFilterBank,
    "mfcc": MFCC,
    "ssl": SelfSupervisedFrontEnd,
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
_TIMM = "timm:"


def create_front_end(name: FrontEndName, sample_rate: int = 16000, **kwargs: Any) -> FrontEnd:
    """Create a front end by name.

    Args:
        name: One of `list_front_ends`.
        sample_rate: Samples per second of the waveform.
        **kwargs: Additional arguments of its class; None means the default where None is not a valid value.

    Raises:
        ConfigError: If the name or an argument does not exist.

    Examples:
        >>> create_front_end("mfcc", sample_rate=16000, n_mfcc=20).num_features
        20
    """
    return create("front end", _FRONT_ENDS, name, {"sample_rate": sample_rate}, kwargs)


def list_front_ends() -> list[str]:
    """List the names of the front ends."""
    return sorted(_FRONT_ENDS)


def create_audio_encoder(name: AudioEncoderName | str, in_features: int, **kwargs: Any) -> AudioEncoder:
    """Create an audio encoder by name.

    Args:
        name: One of `list_audio_encoders`, or ``timm:`` followed by the name of a timm image model.
        in_features: Number of features per audio frame.
        **kwargs: Additional arguments of its class, which is `TimmEncoder` for ``timm:``; None means the default where
            None is not a valid value.

    Raises:
        ConfigError: If the name or an argument does not exist.

    Examples:
        >>> create_audio_encoder("timm:resnet18", in_features=40, pooling="mean").out_features
        512
    """
    if name.startswith(_TIMM):
        given = {"in_features": in_features, "name": name.removeprefix(_TIMM)}
        return call_with_known(f"audio encoder {name!r}", TimmEncoder, given, kwargs)
    return create("audio encoder", _AUDIO_ENCODERS, name, {"in_features": in_features}, kwargs)


def check_audio_encoder_name(name: str) -> str:
    """Return a name if `create_audio_encoder` knows it, else raise ConfigError, without building the encoder."""
    if name.startswith(_TIMM):
        check_network_name(name.removeprefix(_TIMM))
    else:
        lookup("audio encoder", _AUDIO_ENCODERS, name)
    return name


def list_audio_encoders() -> list[str]:
    """List the names of the audio encoders, without those that begin with ``timm:``."""
    return sorted(_AUDIO_ENCODERS)
