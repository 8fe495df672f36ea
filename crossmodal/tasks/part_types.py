"""Command-line types of parts: a built-in name, ``module.Class``, or ``class_path`` and ``init_args``."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from jsonargparse.typing import register_type
from torch import nn

from crossmodal.errors import ConfigError
from crossmodal.losses import ALIGN_LOSSES, KD_LOSSES, AlignLossName, KDLossName, parse_loss
from crossmodal.models import AudioEncoderName, FrontEndName, PoolingName
from crossmodal.models.face import face_encoder_part
from crossmodal.models.factory import audio_encoder_part, front_end_part
from crossmodal.models.pooling import pooling_part
from crossmodal.naming import Part

if TYPE_CHECKING:
    AudioEncoderType: TypeAlias = Any  # see `crossmodal.naming.Part` for the forms
    FrontEndType: TypeAlias = Any
    PoolingType: TypeAlias = Any
    FaceEncoderType: TypeAlias = Any
    KDLossType: TypeAlias = Any
    AlignLossType: TypeAlias = Any
else:

    class _EncoderFactory(Protocol):
        def __call__(self, *, in_features: int) -> nn.Module: ...

    class _FrontEndFactory(Protocol):
        def __call__(self, *, sample_rate: int) -> nn.Module: ...

    class _PoolingFactory(Protocol):
        def __call__(self, *, num_features: int) -> nn.Module: ...

    class _LossFactory(Protocol):
        def __call__(self, *, num_features: int, num_classes: int, temperature: float) -> nn.Module: ...

    for _factory in (_EncoderFactory, _FrontEndFactory, _PoolingFactory, _LossFactory):
        _factory.__name__ = "ClassPathAndInitArgs"  # in help and messages

    def _checked(parse: Callable[[Any], Part]) -> type[str]:
        """Register a type of strings that `parse` accepts; values stay plain strings, which checkpoints can hold."""

        def check(value: Any) -> str:
            if not isinstance(value, str):
                raise ConfigError(f"Expected a name or module.Class, got {value!r:.100}.")
            return parse(value).name

        made = type("ClassPath", (str,), {})
        register_type(made, deserializer=check, deserializer_exceptions=ConfigError, type_check=lambda *_: False)
        return made

    # jsonargparse checks init_args against the class, without the argument that the library fills in.
    AudioEncoderType = AudioEncoderName | _checked(audio_encoder_part) | _EncoderFactory
    FrontEndType = FrontEndName | _checked(front_end_part) | _FrontEndFactory
    PoolingType = PoolingName | _checked(pooling_part) | _PoolingFactory
    FaceEncoderType = _checked(face_encoder_part) | _EncoderFactory
    KDLossType = KDLossName | _checked(lambda loss: parse_loss(loss, names=KD_LOSSES).part) | _LossFactory
    AlignLossType = AlignLossName | _checked(lambda loss: parse_loss(loss, names=ALIGN_LOSSES).part) | _LossFactory
