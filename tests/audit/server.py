"""A service that speaks OSV's protocol, as far as pip-audit 2.10.1 uses it, in the moods that a real one has."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = ("pyyaml", "5.3")


class OsvServer:
    """`known`: advisories by name and version; `mood`: good, 404, 500, slow, malformed, silent."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], list[dict[str, Any]]] = {
            CANARY: [advisory("PYSEC-2020-96", "pyyaml", "5.3.1")]
        }
        self.mood = "good"
        self.asked: list[tuple[str, str]] = []
        self.url = ""

    def answer(self, name: str, version: str) -> tuple[int, bytes]:
        """The status and the body for one package."""
        self.asked.append((name, version))
        if self.mood == "slow":
            time.sleep(30)
        if self.mood in ("404", "500"):
            return int(self.mood), b"{}"
        if self.mood == "malformed":
            return 200, b"<html>Page Not Found</html>"
        found = [] if self.mood == "silent" else self.known.get((name, version), [])
        return 200, json.dumps({"vulns": found} if found else {}).encode()


def advisory(name: str, package: str, *fixed: str, summary: str = "it runs what it reads") -> dict[str, Any]:
    """An advisory as OSV gives it."""
    events = [{"introduced": "0"}, *({"fixed": version} for version in fixed)]
    affected = {"package": {"name": package, "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": name, "aliases": [f"CVE-{name}"], "summary": summary, "affected": [affected]}


@contextmanager
def serving() -> Iterator[OsvServer]:
    """A server of this kind on a port of its own."""
    state = OsvServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = state.answer(asked["package"]["name"], asked["version"])
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # who asked has gone away
                return

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1/query"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
