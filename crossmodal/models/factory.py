"""Front ends and audio encoders by name.

A new one is a class in a file of its own, a word in the Literal and a line in the dict below it.
"""

from typing import Any, Literal

from crossmodal.models.cnn import CNNEncoder
from crossmodal.models.dense import DenseEncoder
from crossmodal.models.encoder import AudioEncoder
from crossmodal.models.lstm import LSTMEncoder
from crossmodal.naming import call_with_known, look_up
from crossmodal.transforms import MFCC, LogMelFilterBank

FrontEndName = Literal["lmfb", "mfcc"]
_FRONT_ENDS: dict[FrontEndName, type[LogMelFilterBank]] = {"lmfb": LogMelFilterBank, "mfcc": MFCC}

AudioEncoderName = Literal["cnn", "dense", "lstm"]
_AUDIO_ENCODERS: dict[AudioEncoderName, type[AudioEncoder]] = {
    "cnn": CNNEncoder,
    "dense": DenseEncoder,
    "lstm": LSTMEncoder,
}


def create_front_end(name: FrontEndName, sample_rate: int = 16000, **kwargs: Any) -> LogMelFilterBank:
    """Make a front end by its name.

    Args:
        name: One of `list_front_ends`.
        sample_rate: Samples per second of the waveform.
        **kwargs: Further arguments of its class; None means the default.

    Returns:
        The front end.

    Raises:
        ConfigError: There is no such name or argument.

    Example:
        >>> create_front_end("mfcc", sample_rate=16000, n_mfcc=20).num_features
        20
    """
    make = look_up("front end", _FRONT_ENDS, name)
    return call_with_known(f"front end {name!r}", make, {"sample_rate": sample_rate}, kwargs)


def list_front_ends() -> list[str]:
    """Name the front ends."""
    return sorted(_FRONT_ENDS)


def create_audio_encoder(name: AudioEncoderName, in_features: int, **kwargs: Any) -> AudioEncoder:
    """Make an audio encoder by its name.

    Args:
        name: One of `list_audio_encoders`.
        in_features: Number of features per audio frame.
        **kwargs: Further arguments of its class; None means the default.

    Returns:
        The encoder.

    Raises:
        ConfigError: There is no such name or argument.

    Example:
        >>> create_audio_encoder("lstm", in_features=40, hidden_size=64).out_features
        128
    """
    make = look_up("audio encoder", _AUDIO_ENCODERS, name)
    return call_with_known(f"audio encoder {name!r}", make, {"in_features": in_features}, kwargs)


def list_audio_encoders() -> list[str]:
    """Name the audio encoders.

    Example:
        >>> list_audio_encoders()
        ['cnn', 'dense', 'lstm']
    """
    return sorted(_AUDIO_ENCODERS)
