"""The page at ``/``: what ``/openapi.json`` says, for people. It loads nothing from anywhere."""

import json
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.2rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9rem; }
h2 code { font-size: 1.1rem; }
pre { padding: 0.8rem 1rem; overflow-x: auto; border: 1px solid #8886; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; margin: 0.6rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid #8884; }
th { font-weight: 600; }
th:first-child { width: 7rem; }
"""
_EXAMPLES = """\
curl -F file=@clip.wav http://127.0.0.1:8000/v1/predict
curl -F file=@talk.mp4 'http://127.0.0.1:8000/v1/predict?timeline=true&hop=1'
curl --data-binary @clip.flac http://127.0.0.1:8000/v1/predict
curl -H 'Authorization: Bearer TOKEN' http://127.0.0.1:8000/v1/model"""
_LIVE = """\
client  {"sample_rate": 48000, "format": "int16", "channels": 1, "window": 3.0, "hop": 0.5}
server  {"ready": true, "labels": [...]}
client  samples in binary chunks of any size: little-endian float32 or int16, interleaved
server  {"start": 0.0, "end": 3.0, "label": ..., "score": ..., "probabilities": {...}} ...
client  {"end": true}
server  the windows that are left, then {"end": true, "duration": ...}"""


def api_page(schema: dict[str, Any]) -> str:
    """Write the page.

    Args:
        schema: The application's OpenAPI document.

    Returns:
        HTML.
    """
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    )
    title = f"{schema['info']['title']} {schema['info']['version']}"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><p>{escape(schema['info']['description'])}</p>"
        f'<pre>{escape(_EXAMPLES)}</pre><p>For programs: <a href="openapi.json">openapi.json</a>. Every refusal is '
        'JSON: <code>{"error": {"code": ..., "reason": ...}}</code>.</p>'
        f"{operations}<h2><code>WebSocket /v1/stream</code></h2><p>Live sound. Text messages are JSON.</p>"
        f"<pre>{escape(_LIVE)}</pre></body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    description = operation.get("description", "")
    parameters = [
        (
            parameter["name"],
            f"{parameter.get('description', '')} Default: {json.dumps(parameter['schema'].get('default'))}.",
        )
        for parameter in operation.get("parameters", [])
    ]
    answers = [(status, answer["description"]) for status, answer in operation["responses"].items()]
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
        f"<p>{escape(operation['summary'])}. {escape(description)}</p>"
        + _table("parameter", parameters)
        + _table("status", answers)
    )


def _table(head: str, rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    body = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<table><tr><th>{escape(head)}</th><th>means</th></tr>{body}</table>"
