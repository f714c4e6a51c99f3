"""Which paths lead to one application: what is put into it where it is made is read in handlers by another way."""

from __future__ import annotations

import re
from typing import Final

# starlette 1.10.0, requests.py (Request.app); flask 3.1.3, globals.py (current_app); sanic 25.12.1, request/types.py.
_OF_REQUEST: Final = re.compile(
    r"(fastapi|starlette|sanic|quart)\.(\w+\.)*(Request|WebSocket|HTTPConnection)\(\)\.app"
    r"|(flask|quart)\.current_app|\?(self\.)?(request|req|websocket|ws)\.app"
)
_APPLICATION: Final = re.compile(
    r"(fastapi|starlette|flask|quart|sanic)\.(\w+\.)*(FastAPI|Starlette|Flask|Quart|Sanic)\(\)|\?(self\.)?(app|application)"
)
_HOLDERS: Final = (".state", ".ctx")  # of what an application keeps


def is_same(path: str, other: str) -> bool:
    """Whether two access paths lead to one object: the same path; what two applications keep; an application, and what
    a request says is its own.
    """
    if path == other or any(path.endswith(end) and other.endswith(end) for end in _HOLDERS):
        return True
    return _OF_REQUEST.fullmatch(other) is not None and _APPLICATION.fullmatch(path) is not None
