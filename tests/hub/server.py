"""A hub for tests: the few calls of its API that we make, on this machine, with the faults that a network has."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "hf_tests_only"


@dataclass
class Repository:
    """A model's repository: files at one commit, and the branches that stand for it."""

    files: Mapping[str, bytes]
    commit: str = ""
    branches: tuple[str, ...] = ("main",)
    gated: bool = False
    private: bool = False
    safetensors: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        digest = hashlib.sha1(repr(sorted(self.files.items())).encode(), usedforsecurity=False).hexdigest()
        self.commit = self.commit or digest


@dataclass
class Faults:
    """What goes wrong, for paths that hold a text: so many answers of a status, headers with them, or a broken body."""

    status: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    truncated: set[str] = field(default_factory=set)
    slow: dict[str, float] = field(default_factory=dict)  # seconds before each answer
    moved: dict[str, str] = field(default_factory=dict)  # ids that were renamed


@dataclass
class HubServer:
    """The server, and what was asked of it."""

    url: str
    models: dict[str, Repository] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    asked: Counter[str] = field(default_factory=Counter)
    tokens: set[str | None] = field(default_factory=set)

    def publish(self, name: str, config: Mapping[str, Any] | bytes | None, **more: Any) -> Repository:  # noqa: ANN401
        """A repository with this config.json; `files` are further ones, the rest are fields of `Repository`."""
        files = dict(more.pop("files", {}))
        if config is not None:
            files["config.json"] = config if isinstance(config, bytes) else json.dumps(config).encode()
        self.models[name] = Repository(files, **more)
        return self.models[name]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._respond(body=False)

    def do_GET(self) -> None:
        self._respond(body=True)

    def _respond(self, *, body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        self.hub.asked[path] += 1
        self.hub.tokens.add(self.headers.get("authorization"))
        for text, seconds in self.hub.faults.slow.items():
            if text in path:
                time.sleep(seconds)
        status, headers, data = self._fault(path) or self._found(path)
        whole = len(data)
        if any(text in path for text in self.hub.faults.truncated):
            data = data[: whole // 2]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(whole))
        self.end_headers()
        if body:
            self.wfile.write(data)
        if len(data) < whole:
            self.close_connection = True

    def _fault(self, path: str) -> tuple[int, dict[str, str], bytes] | None:
        for text, left in self.hub.faults.status.items():
            if text in path and left:
                status, headers = left.pop(0)
                return status, headers, b'{"error": "as the test wants it"}'
        return None

    def _found(self, path: str) -> tuple[int, dict[str, str], bytes]:
        for old, new in self.hub.faults.moved.items():
            if f"/{old}/" in f"{path}/":
                return 307, {"Location": path.replace(old, new)}, b""
        if path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            return self._info(name, revision or "main")
        name, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        return self._file(name, revision, file)

    def _held(self, name: str, revision: str) -> Repository | tuple[int, dict[str, str], bytes]:
        found = next((held for known, held in self.hub.models.items() if known.lower() == name.lower()), None)
        authorized = self.headers.get("authorization") == f"Bearer {TOKEN}"
        if found is None or (found.private and not authorized):
            code = 404 if authorized else 401  # the hub does not say to strangers what there is
            return code, {"X-Error-Code": "RepoNotFound"} if authorized else {}, b'{"error": "Repository not found"}'
        if revision not in (*found.branches, found.commit):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b'{"error": "Invalid rev id"}'
        return found

    def _info(self, name: str, revision: str) -> tuple[int, dict[str, str], bytes]:
        found = self._held(name, revision)
        if not isinstance(found, Repository):
            return found
        said: dict[str, Any] = {"id": name, "sha": found.commit, "gated": "manual" if found.gated else False}
        said["siblings"] = [{"rfilename": file} for file in sorted(found.files)]
        if found.safetensors is not None:
            said["safetensors"] = found.safetensors
        return 200, {"Content-Type": "application/json"}, json.dumps(said).encode()

    def _file(self, name: str, revision: str, file: str) -> tuple[int, dict[str, str], bytes]:
        found = self._held(name, revision)
        if not isinstance(found, Repository):
            return found
        if found.gated and self.headers.get("authorization") != f"Bearer {TOKEN}":
            status = 403 if self.headers.get("authorization") else 401
            return status, {"X-Error-Code": "GatedRepo"}, b"Access to this model is restricted"
        if file not in found.files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"Entry not found"
        etag = hashlib.sha1(found.files[file], usedforsecurity=False).hexdigest()
        return 200, {"X-Repo-Commit": found.commit, "ETag": f'"{etag}"'}, found.files[file]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that has seen enough hangs up: no fault of anybody."""


@contextmanager
def serving() -> Iterator[HubServer]:
    """A hub that listens on this machine until the block is left."""
    server = _Server(("127.0.0.1", 0), _Handler)
    hub = HubServer(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"hub": hub})
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
