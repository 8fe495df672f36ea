"""The application: what can be asked, and how it is answered."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from crossmodal.inference.card import LICENCES
from crossmodal.inference.recognizer import EmotionRecognizer
from crossmodal.inference.recording import LONGEST
from crossmodal.inference.serve.answers import (
    ErrorAnswer,
    HealthAnswer,
    ModelAnswer,
    PredictionAnswer,
    TimelineAnswer,
)
from crossmodal.inference.serve.gate import Gate, Token, refusal_response
from crossmodal.inference.serve.limits import SAMPLE_RATES, Limits, RefusalError, check_windows
from crossmodal.inference.serve.live import LiveStream
from crossmodal.inference.serve.page import api_page
from crossmodal.inference.serve.service import Service, Work
from crossmodal.version import __version__

_DESCRIPTION = (
    "Emotion recognition from sound: which of the emotions that a model was trained on a voice sounds like. It does "
    "not tell what a person feels."
)
_TRAINED_ON = ("channel", "label_set", "protocol", "fold", "actors_seen", "speaker_dependent")
_BINARY = {"type": "string", "format": "binary"}
_UPLOAD = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["file"], "properties": {"file": _BINARY}},
        },
        "application/octet-stream": {"schema": _BINARY},
    },
}
_ANSWER = "The answer."
_REFUSALS = {
    401: "The token is missing or wrong.",
    408: "The upload was not complete in time.",
    413: "More bytes, or a longer recording, than is accepted.",
    415: "This is neither a sound file nor a video.",
    422: "It cannot be decoded, has too many channels or a strange rate; or a parameter is wrong.",
    503: "Too much is under way; try again after Retry-After seconds.",
}
_NOT_WELL = "Nothing would be answered: no decoder is alive, or the model does not compute."
_NOT_FOUND = {  # by status: a word and a reason
    404: ("not_found", "there is nothing at this path; the page at / says what there is"),
    405: ("method_not_allowed", "this path is asked in another way; the page at / says how"),
}


def create_app(
    recognizer: EmotionRecognizer,
    *,
    token: str | None = None,
    limits: Limits | None = None,
    work: Work | None = None,
) -> FastAPI:
    """Make the ASGI application, for any server that speaks ASGI.

    Args:
        recognizer: The model.
        token: What clients must show as ``Authorization: Bearer ...``; None: everyone is welcome.
        limits: What is refused.
        work: How the work is shared out.
    """
    service, guard = Service(recognizer, limits or Limits(), work or Work()), Token(token)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="crossmodal",
        description=_DESCRIPTION,
        version=__version__,
        docs_url=None,  # FastAPI's own pages load scripts from another server
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Gate, token=guard)
    _add_exception_handlers(app)
    _add_description(app, service)
    _add_recognition(app, service)

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await LiveStream(websocket, service, guard).run()

    return app


def _add_description(app: FastAPI, service: Service) -> None:
    """What says something of the server and its model."""

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse(api_page(app.openapi()))

    @app.get("/healthz", summary="Whether the server is well", responses=_responses(HealthAnswer, {503: _NOT_WELL}))
    async def healthz() -> Response:
        if not service.is_well:
            raise RefusalError(503, "not_well", _NOT_WELL)
        return JSONResponse({"status": "ok"})

    @app.get(
        "/v1/model",
        summary="Which model this is, and what is accepted",
        responses=_responses(ModelAnswer, {401: _REFUSALS[401]}),
    )
    async def model() -> Response:
        return JSONResponse(_describe(service))


def _add_recognition(app: FastAPI, service: Service) -> None:
    """What listens."""

    @app.post(
        "/v1/predict",
        summary="Say what is heard in a recording",
        description="The file as a form's only file, or as the body itself, with any content type.",
        responses=_responses(PredictionAnswer | TimelineAnswer, _REFUSALS),
        openapi_extra={"requestBody": _UPLOAD},
    )
    async def predict(
        request: Request,
        timeline: bool = Query(False, description="Window by window, with smoothed segments."),
        window: float = Query(3.0, description="Seconds of each window of a timeline, 0.1 to 30."),
        hop: float = Query(0.5, description="Seconds from one window to the next; a tenth of window or more."),
    ) -> Response:
        if not timeline:
            return JSONResponse((await service.predict(request)).as_dict())
        check_windows(window, hop)
        return JSONResponse((await service.timeline(request, window, hop)).as_dict())


def _responses(answer: Any, refusals: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {200: {"model": answer, "description": _ANSWER}}
    for status, meaning in refusals.items():
        responses[status] = {"model": ErrorAnswer, "description": meaning}
    return responses


def _describe(service: Service) -> dict[str, Any]:
    recognizer, limits = service.recognizer, service.limits
    config = recognizer.config
    corpus = config.get("corpus", {}).get("kind", "unknown")
    return {
        "labels": list(recognizer.labels),
        "sample_rate": recognizer.sample_rate,
        "backend": recognizer.backend,
        "limits": {
            "upload_bytes": limits.upload_bytes,
            "seconds": min(LONGEST, limits.seconds),
            "timeline_seconds": limits.seconds,
            "channels": limits.channels,
            "sample_rates": SAMPLE_RATES,
            "requests": limits.requests,
            "streams": limits.streams,
        },
        "trained_on": {"corpus": corpus} | {key: config[key] for key in _TRAINED_ON if key in config},
        "licence": LICENCES.get(corpus, "unknown"),
        "versions": {"crossmodal": __version__},
    }


def _add_exception_handlers(app: FastAPI) -> None:
    @app.exception_handler(RefusalError)
    async def refuse(_: Request, refusal: RefusalError) -> Response:
        return refusal_response(refusal)

    @app.exception_handler(RequestValidationError)
    async def bad_parameter(_: Request, error: RequestValidationError) -> Response:
        wrong = error.errors()[0]
        return refusal_response(RefusalError(422, "bad_parameter", f"{wrong['loc'][-1]}: {wrong['msg']}"))

    @app.exception_handler(HTTPException)
    async def no_such_thing(_: Request, error: HTTPException) -> Response:
        code, reason = _NOT_FOUND.get(error.status_code, ("bad_request", str(error.detail)))
        response = refusal_response(RefusalError(error.status_code, code, reason))
        response.headers.update(error.headers or {})  # with 405, the methods that are allowed
        return response
