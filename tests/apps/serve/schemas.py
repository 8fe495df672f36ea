"""Schemas of the responses of the server."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from crossmodal.inference.prediction import Segment


class _Response(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorResponse(_Response):
    """The body of every response with a status of 400 or more."""

    error: dict[Literal["code", "reason"], str]


class PredictionResponse(_Response):
    """The emotion in one recording. Silence has no probabilities."""

    label: str
    score: float
    probabilities: dict[str, float]
    warning: str | None = None  # about the model, or a part of the recording that was not read


class WindowResponse(PredictionResponse):
    """The emotion in one window; times in seconds."""

    start: float
    end: float


class TimelineResponse(_Response):
    """Emotions over time, for `timeline=true`."""

    duration: float
    labels: list[str]
    segments: list[Segment]
    windows: list[WindowResponse]
    warning: str | None = None


class LimitsResponse(_Response):
    """Limits on requests."""

    upload_bytes: int
    seconds: float
    timeline_seconds: float
    channels: int
    sample_rates: tuple[int, int]
    requests: int
    streams: int


class NetworkResponse(_Response):
    """One model."""

    backend: str
    front_end: str
    encoder: str
    trained_on: dict[str, object]
    licence: str
    warning: str | None


class ControlResponse(NetworkResponse):
    """The control model. `differences` names the settings in which it differs from the model."""

    differences: list[str]


class ModelResponse(NetworkResponse):
    """The model, its control if the server has one, and the limits on requests."""

    labels: list[str]
    colours: dict[str, str]
    sample_rate: int
    control: ControlResponse | None
    limits: LimitsResponse
    versions: dict[str, str]
