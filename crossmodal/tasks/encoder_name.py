"""How a command line reads the name of an audio encoder that is in no list of ours."""

from typing import TYPE_CHECKING

from jsonargparse.typing import register_type

from crossmodal.errors import ConfigError
from crossmodal.models.factory import check_audio_encoder_name

if TYPE_CHECKING:
    TimmName = str  # so that Python code may give any text
else:

    class TimmName(str):
        """``timm:`` and the name of a timm image model.

        A value stays a plain string, which a checkpoint can hold; this class is what jsonargparse knows its check by.

        Example:
            >>> from jsonargparse import ArgumentParser
            >>> parser = ArgumentParser()
            >>> action = parser.add_argument("--encoder", type=TimmName)
            >>> parser.parse_args(["--encoder=timm:resnet18"]).encoder
            'timm:resnet18'
        """

    register_type(
        TimmName,
        deserializer=check_audio_encoder_name,
        deserializer_exceptions=ConfigError,
        type_check=lambda _value, _type: False,  # check whatever comes
    )
