"""The ASGI application: its routes and error handlers."""

from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from crossmodal.apps.serve.authentication import Token
from crossmodal.apps.serve.limits import Limits, RequestError, check_windows
from crossmodal.apps.serve.middleware import RequestMiddleware, error_response
from crossmodal.apps.serve.model_info import check_control, describe_models
from crossmodal.apps.serve.service import Service
from crossmodal.apps.serve.websocket import LiveStream
from crossmodal.inference.recognizer import HOP, WINDOW, EmotionRecognizer
from crossmodal.version import __version__

_PAGE = Path(__file__).with_name("page")
_DESCRIPTION = (
    "Speech emotion recognition. A label says which acted emotion a voice resembles, not what a person feels.\n\n"
    "`WebSocket /v1/stream` takes live sound. The first message is JSON, such as "
    '`{"sample_rate": 48000, "format": "int16"}`; optional keys are `channels`, `window`, `hop` and `token`. Binary '
    'messages of little-endian samples (`int16` or `float32`) follow, and `{"end": true}` last. The server sends a '
    "JSON message for each complete window."
)
_BINARY = {"type": "string", "format": "binary"}
_FORM = {"type": "object", "required": ["file"], "properties": {"file": _BINARY}}
_UPLOAD = {
    "required": True,
    "content": {"multipart/form-data": {"schema": _FORM}, "application/octet-stream": {"schema": _BINARY}},
}
_ERRORS = {
    401: "The token is missing or wrong.",
    408: "The upload was not complete in time.",
    413: "The upload or the recording exceeds a limit.",
    415: "The upload is not a sound or video file.",
    422: "The upload cannot be decoded, has too many channels or an unsupported rate; or a parameter is invalid.",
    503: "The server is busy; try again after Retry-After seconds.",
}
_UNHEALTHY = "The server cannot answer requests: no decoder is running, or the model has failed."
_HTTP_ERRORS = {  # by status: code and reason
    404: ("not_found", "there is nothing at this path; see /docs"),
    405: ("method_not_allowed", "this path does not take this method; see /docs"),
}


def create_app(
    recognizer: EmotionRecognizer,
    *,
    control: EmotionRecognizer | None = None,
    token: str | None = None,
    limits: Limits | None = None,
) -> FastAPI:
    """Create the ASGI application, for any ASGI server.

    Args:
        recognizer: The model.
        control: A second model to compare it with, such as the control of the same run.
        token: The token that clients must send as ``Authorization: Bearer ...``; None for a server without a token.
        limits: Limits on requests, and the division of the work.

    Raises:
        ConfigError: The model and the control have different labels or sample rates.
    """
    models = {"model": recognizer}
    if control is not None:
        check_control(recognizer, control)
        models["control"] = control
    service, guard = Service(models, limits or Limits()), token and Token(token)
    app: FastAPI = FastAPIOffline(
        title="crossmodal",
        description=_DESCRIPTION,
        version=__version__,
        redoc_url=None,
        lifespan=lambda _: service.running(),
        exception_handlers=dict.fromkeys((RequestError, RequestValidationError, HTTPException), _respond),
    )
    app.add_middleware(RequestMiddleware)
    app.include_router(_public_routes(service))
    app.include_router(_model_routes(service), dependencies=[Depends(guard)] if guard else [])
    app.mount("/page", StaticFiles(directory=_PAGE))

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await LiveStream(websocket, service, guard or None).run()

    return app


def _public_routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html")

    @router.get("/healthz", summary="Check the server", responses=_responses({503: _UNHEALTHY}))
    async def healthz() -> Response:
        if not service.is_healthy:
            raise RequestError(503, "unhealthy", _UNHEALTHY)
        return JSONResponse({"status": "ok"})

    return router


def _model_routes(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v1")

    @router.get(
        "/model",
        summary="Describe the model, its control and the limits",
        responses=_responses({401: _ERRORS[401]}),
    )
    async def model() -> Response:
        return JSONResponse(describe_models(service))

    @router.post(
        "/predict",
        summary="Recognize the emotion in a recording",
        description="Send the recording as the only file of a form, or as the body with any content type.",
        responses=_responses(_ERRORS),
        openapi_extra={"requestBody": _UPLOAD},
    )
    async def predict(
        request: Request,
        timeline: bool = Query(False, description="Return windows and smoothed segments instead of one label."),
        window: float = Query(WINDOW, description="Seconds in each window of a timeline, 0.1 to 30."),
        hop: float = Query(HOP, description="Seconds from one window to the next; at least a tenth of window."),
        model: Literal["model", "control"] = Query("model", description="Which model to use."),
    ) -> Response:
        if model not in service.models:
            raise RequestError(422, "no_control", "this server has no control model")
        if not timeline:
            return JSONResponse(await service.predict(request, model))
        check_windows(window, hop)
        return JSONResponse(await service.timeline(request, model, window, hop))

    return router


def _responses(errors: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"description": text} for status, text in {200: "Success, with JSON.", **errors}.items()}


async def _respond(_: Any, error: Exception) -> Response:
    headers: Any = {}
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        error = RequestError(422, "bad_parameter", f"{first['loc'][-1]}: {first['msg']}")
    elif isinstance(error, HTTPException):
        headers = error.headers or {}  # with 405, the allowed methods
        error = RequestError(
            error.status_code, *_HTTP_ERRORS.get(error.status_code, ("bad_request", str(error.detail)))
        )
    assert isinstance(error, RequestError), "one of the three types"
    response = error_response(error)
    response.headers.update(headers)
    return response
