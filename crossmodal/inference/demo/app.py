"""The page itself: Gradio's parts put together, and the program that serves it."""

import asyncio
import json
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from crossmodal.errors import MediaError, MissingExtraError
from crossmodal.inference.demo.listening import MEGABYTE, Limits, Listened, Listener, listen
from crossmodal.inference.demo.page import error_html, footer_html, header_html, picker_html, result_html

if TYPE_CHECKING:
    import gradio
    from fastapi import FastAPI

_KEPT = 3600  # s, for which a recording may be played and its result downloaded
_EVERY = 60  # s
_LETTERS = 50  # of a file's name that are kept
_UPLOADS, _RESULTS = "uploads", "results"
_NOT_UPLOADED = "Only what was uploaded to this page is heard."
_FAILED = (
    "() => { document.querySelector('.cm-status').textContent = "
    "'There is no answer: too many are waiting, or the program of this page has stopped.'; }"
)
_HERE = Path(__file__).parent
# The browser itself refuses whatever is not from here. Gradio makes functions of text, hence 'unsafe-eval'.
_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self' blob:; font-src 'self' data:; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _CONTENT_POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def create_app(listeners: Sequence[Listener], folder: Path, limits: Limits) -> "FastAPI":
    """Make the page as an ASGI application, for uvicorn.

    Args:
        listeners: The model, and its control if there is one.
        folder: Where recordings and results lie while the page runs; the caller deletes it.
        limits: What the page takes.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    # Gradio reads them when it is imported, or when it makes a component.
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    os.environ["GRADIO_TEMP_DIR"] = str(folder / _UPLOADS)
    try:
        import gradio
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"The page needs Gradio: pip install 'crossmodal[demo]' ({error})") from error
    from fastapi import FastAPI

    outer = FastAPI(openapi_url=None, lifespan=lambda _: _forgetting(folder))
    outer.add_middleware(_Guard)
    return gradio.mount_gradio_app(
        outer,
        _create_blocks(listeners, folder, limits),
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[str(folder / _RESULTS)],
        max_file_size=round(limits.megabytes * MEGABYTE),
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        theme=gradio.themes.Default(font=["sans-serif"], font_mono=["monospace"]),  # others are fetched
        css=_read("page.css"),
    )


def _create_blocks(listeners: Sequence[Listener], folder: Path, limits: Limits) -> "gradio.Blocks":
    import gradio

    answer = create_answer(listeners, folder / _RESULTS, limits)

    def recognize(path: str | None) -> tuple[str, gradio.DownloadButton]:
        if path and not _lies_in(path, folder / _UPLOADS):
            raise gradio.Error(_NOT_UPLOADED)
        html, file = answer(path)
        return html, gradio.DownloadButton(value=str(file) if file else None, visible=file is not None)

    plain: dict[str, Any] = {"apply_default_css": False, "elem_classes": "cm"}
    hidden: dict[str, Any] = {"show_progress": "hidden"}  # the page says itself what is under way
    with gradio.Blocks(title="What a voice model hears", analytics_enabled=False) as blocks:
        gradio.HTML(header_html(listeners), js_on_load=None, **plain)
        picker = gradio.HTML(html_template=picker_html(limits), js_on_load=_read("picker.js"), **plain)
        chosen = gradio.File(visible=False)
        result = gradio.HTML("", js_on_load=_read("player.js"), **plain)
        download = gradio.DownloadButton("Download the result (JSON)", visible=False, elem_classes="cm-download")
        gradio.HTML(footer_html(listeners), js_on_load=None, **plain)
        sent = picker.submit(None, picker, chosen, js="(chosen) => chosen", api_visibility="private", **hidden)
        heard = sent.then(recognize, chosen, [result, download], api_name="recognize", **hidden)
        heard.failure(None, js=_FAILED, api_visibility="private", **hidden)
    _take_uploads_alone(blocks, chosen, folder / _UPLOADS)
    blocks.queue(max_size=16, default_concurrency_limit=1)
    return blocks


def _take_uploads_alone(blocks: "gradio.Blocks", chosen: "gradio.File", uploads: Path) -> None:
    """Keep Gradio from other files of this machine and from other servers.

    A request says where its recording lies. Gradio would fetch it from any address; in a mounted application it would
    also copy any file of this machine, because such an application does not count as launched.
    """
    import gradio

    async def take(path: str | Path | None) -> str | None:
        if path is not None and not _lies_in(path, uploads):
            raise gradio.Error(_NOT_UPLOADED)
        return None if path is None else str(path)

    blocks.has_launched = True
    chosen.async_move_resource_to_block_cache = take  # a subclass would write a file beside this one


def _lies_in(path: str | Path, folder: Path) -> bool:
    return Path(path).resolve().is_relative_to(folder.resolve())


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def create_answer(
    listeners: Sequence[Listener], results: Path, limits: Limits
) -> Callable[[str | None], tuple[str, Path | None]]:
    """Make the function behind the page.

    Args:
        listeners: The model, and its control if there is one.
        results: The folder for what belongs to an answer.
        limits: What the page takes.

    Returns:
        A function of the path of a recording. It returns HTML, and the file of JSON where there is one.
    """

    def answer(path: str | None) -> tuple[str, Path | None]:
        if not path:
            return error_html("Nothing was sent: choose a file or record one."), None
        name = Path(path).name
        try:
            listened = listen(path, listeners, limits.seconds)
            sound, file = _store(listened, results)
            return result_html(listened, f"gradio_api/file={quote(str(sound))}"), file
        except MediaError as error:
            plain = error.reason.partition(" (")[0]  # what a library said, and where the file lies here, stays here
            return error_html(f"{name} cannot be heard: {plain}."), None
        except Exception:  # whatever it was, who looks at a page wants no traceback; who runs it does
            logging.getLogger(__name__).exception("The page could not answer")
            return error_html(f"Something went wrong with {name}; the terminal of the page's program says what."), None

    return answer


def _store(listened: Listened, results: Path) -> tuple[Path, Path]:
    """Write the sound as the model hears it, which every browser can play, and the result."""
    import soundfile

    folder = results / uuid.uuid4().hex
    folder.mkdir(parents=True)
    sound, file = folder / "sound.wav", folder / f"{Path(listened.file).stem[:_LETTERS]}.emotions.json"
    soundfile.write(sound, listened.waveform, listened.sample_rate, subtype="PCM_16")
    file.write_text(json.dumps(listened.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return sound, file


@asynccontextmanager
async def _forgetting(folder: Path) -> AsyncIterator[None]:
    """While the page runs, delete what is older than `_KEPT`."""

    async def forget() -> None:
        while True:
            for kept in folder.glob("*/*"):
                with suppress(OSError):  # it is gone already, or in use
                    if time.time() - kept.stat().st_mtime > _KEPT:
                        rmtree(kept) if kept.is_dir() else kept.unlink()
            await asyncio.sleep(_EVERY)

    task = asyncio.create_task(forget())
    yield
    task.cancel()


class _Guard:
    """Adds `_HEADERS` to every answer; a path that holds an address, which Gradio would ask, is nowhere."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *headers]}
            await send(message)

        if "://" in scope.get("path", ""):
            await send_with_headers({"type": "http.response.start", "status": 404})
            await send({"type": "http.response.body"})
        else:
            await self.app(scope, receive, send_with_headers)
