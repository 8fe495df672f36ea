"""What answers look like, for ``/openapi.json``; the tests hold every answer against it."""

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorDetail(_Answer):
    """Why there is no answer."""

    code: str
    reason: str


class ErrorAnswer(_Answer):
    """What is said with every status from 400 on."""

    error: ErrorDetail


class PredictionAnswer(_Answer):
    """What is heard in one recording. Of silence there are no probabilities."""

    label: str
    score: float
    probabilities: dict[str, float]


class SegmentAnswer(_Answer):
    """A stretch in which one emotion prevails; seconds."""

    start: float
    end: float
    label: str
    score: float


class WindowAnswer(PredictionAnswer):
    """What is heard between two instants; seconds."""

    start: float
    end: float


class TimelineAnswer(_Answer):
    """What is heard over time, where `timeline=true` was asked for."""

    duration: float
    labels: list[str]
    segments: list[SegmentAnswer]
    windows: list[WindowAnswer]


class HealthAnswer(_Answer):
    """The server is well."""

    status: str


class LimitsAnswer(_Answer):
    """What is accepted."""

    upload_bytes: int
    seconds: float
    timeline_seconds: float
    channels: int
    sample_rates: tuple[int, int]
    requests: int
    streams: int


class ModelAnswer(_Answer):
    """Which model this is."""

    labels: list[str]
    sample_rate: int
    backend: str
    limits: LimitsAnswer
    trained_on: dict[str, object]
    licence: str
    versions: dict[str, str]
