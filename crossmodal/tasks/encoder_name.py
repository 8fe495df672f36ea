"""Command-line type for the name of an audio encoder from timm."""

from typing import TYPE_CHECKING

from jsonargparse.typing import register_type

from crossmodal.errors import ConfigError
from crossmodal.models.factory import check_audio_encoder_name

if TYPE_CHECKING:
    TimmName = str  # so that Python code may pass any string
else:

    class TimmName(str):
        """``timm:`` followed by the name of a timm image model.

        Values stay plain strings, which checkpoints can hold; this class only registers the check with jsonargparse.
        """

    register_type(
        TimmName,
        deserializer=check_audio_encoder_name,
        deserializer_exceptions=ConfigError,
        type_check=lambda _value, _type: False,  # always run the check
    )
