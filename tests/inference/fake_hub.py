"""Fake Hugging Face Hub in this process, with small files and the part of its protocol that the tests use."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants, file_download

TOKEN = "hf_of_the_owner"


def go_to(endpoint: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(constants, "ENDPOINT", endpoint)
    for module in (constants, file_download):  # before 1.0 the second has a copy
        address = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", address, raising=False)


@contextmanager
def connected_hub(tmp_path: Path, patch: pytest.MonkeyPatch) -> Iterator["FakeHub"]:
    """Start an empty Hub and use it, with an empty cache."""
    with fake_hub() as hub:
        go_to(hub.endpoint, patch)
        patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        patch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            patch.delenv(proxy, raising=False)
        yield hub


class FakeHub(ThreadingHTTPServer):
    """Server on 127.0.0.1. `repositories` maps names to commits, oldest first; a commit maps paths to contents."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.fetched: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self, name: str) -> dict[str, bytes]:
        return self.repositories[name][-1]


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


def commit_id(number: int) -> str:
    return f"{number:040x}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid username or password."}, 401)
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        name, _, action = path.removeprefix("/api/models/").partition("/preupload/")
        if action:
            files = json.loads(body)["files"]
            regular = {"uploadMode": "regular", "shouldIgnore": False}
            return self._json({"files": [{"path": file["path"], **regular} for file in files]})
        name, _, _ = path.removeprefix("/api/models/").partition("/commit/")
        return self._commit(name, [json.loads(line) for line in body.splitlines() if line])

    def _create(self, request: dict) -> None:
        name = f"{request['organization']}/{request['name']}" if request.get("organization") else request["name"]
        if name in self.server.repositories:
            return self._json({"error": "You already created this model repo", "url": self._url(name)}, 409)
        self.server.repositories[name] = [{}]
        if request.get("private") or request.get("visibility") == "private":
            self.server.private.add(name)
        return self._json({"url": self._url(name), "id": name})

    def _commit(self, name: str, lines: list[dict]) -> None:
        files = dict(self.server.files(name))
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.server.repositories[name].append(files)
        commit = commit_id(len(self.server.repositories[name]) - 1)
        self._json({"success": True, "commitOid": commit, "commitUrl": f"{self._url(name)}/commit/{commit}"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        # /api/models/OWNER/NAME/revision/REVISION, .../tree/REVISION, and /OWNER/NAME/resolve/REVISION/PATH
        name, action, *rest = ["/".join(parts[2:4]), *(parts[4:] or ["revision", "main"])] if is_api else [
            "/".join(parts[:2]), *(parts[2:] or ["page"])
        ]  # fmt: skip
        is_owner = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if name not in self.server.repositories or (name in self.server.private and not is_owner):
            return self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        if name in self.server.gated and not (is_api and action == "revision"):
            headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to model {name} is restricted."}
            return self._json({"error": headers["X-Error-Message"]}, 403, headers)
        commits = self.server.repositories[name]
        number = {"main": len(commits) - 1} | {commit_id(index): index for index in range(len(commits))}
        if rest[0] not in number:
            return self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        commit, files = commit_id(number[rest[0]]), commits[number[rest[0]]]
        if action == "revision":
            siblings = [{"rfilename": path} for path in files]
            return self._json({"id": name, "modelId": name, "sha": commit, "siblings": siblings, "private": False})
        if action == "tree":
            return self._json([_entry(path, content) for path, content in files.items()])
        path = "/".join(rest[1:])
        self.server.fetched.append(path)
        return self._answer(files[path], 200, {"X-Repo-Commit": commit, "ETag": f'"{_blob(files[path])}"'})

    def _url(self, name: str) -> str:
        return f"{self.server.endpoint}/{name}"

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._answer(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _blob(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _entry(path: str, content: bytes) -> dict:
    return {"type": "file", "path": path, "oid": _blob(content), "size": len(content)}
