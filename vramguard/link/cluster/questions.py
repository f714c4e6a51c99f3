"""What a probe asks: a path, a command, or nothing; and why that is not worth asking of an engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.link.cluster.workloads import is_shallow
from vramguard.source import Location

if TYPE_CHECKING:
    from vramguard.facts.nodes import Node

# Programs that say nothing of a model, whatever their arguments are.
_IDLE: Final = frozenset(("true", ":", "ls", "cat", "test", "[", "echo", "pgrep", "pidof", "ps", "stat", "date", "nc"))
_SHELLS: Final = frozenset(("sh", "bash", "/bin/sh", "/bin/bash", "ash", "/usr/bin/env"))
_ASKS: Final = re.compile(r"(?:^|[\s;&|(/])(?:curl|wget|http|grpcurl|grpc_health_probe|python\d?|node)\b")
_URL: Final = re.compile(r"https?://[^\s\"'`;|)]*?(?::\d+|\$\{?\w+\}?)?(/[^\s\"'`;|)?]*)?(?=[\s\"'`;|)?]|$)")
_POSTS: Final = re.compile(r"(?:^|\s)(?:-d|--data[\w-]*|--json|-X\s*POST|--post-data\S*|-F|--form)\b")
_HERE: Final = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?=[:/\s\"'`;|)?]|$)")
# Commands that succeed whatever comes back: by their end, or since the program does not look at a status by itself.
_PASSES: Final = re.compile(r"(?P<how>\|\||;)\s*(?:exit\s+0|true|:)[\s\"']*$")
_FAILS: Final = re.compile(r"\bexit\s+[1-9]")
_CURL: Final = re.compile(r"(?:^|[\s;&|(/\"'])curl\s")
_CURL_LOOKS: Final = re.compile(
    r"\s-[a-zA-Z]*f|--fail|http_code|response_code|[^|]\|[^|]|\$\(|`|\btest\b|\[|&&|\s(?:-o|--output)\s+(?!/dev/null)"
)
_REQUESTS: Final = re.compile(r"\b(?:requests|httpx)\.(?:get|head)\(")
_REQUESTS_LOOK: Final = re.compile(r"raise_for_status|status_code|\.ok\b|is_success|\.json\(|\.text\b|assert")


@dataclass(frozen=True)
class Question:
    """What a probe asks of its own container. `why`: what is wrong with it if an engine is asked, empty for nothing.

    `paths`: those that it asks over HTTP, and sends nothing to. `ignores`: whether it succeeds whatever the status is.
    """

    at: Location
    why: str = ""
    paths: tuple[str, ...] = ()
    ignores: bool = False


def of_probe(node: Node, engine: str | None) -> Question:
    """What a probe of Kubernetes asks."""
    path = node.get("httpGet", "path")
    if path.word() is not None:
        return of_path(path, engine)
    if node.get("httpGet"):
        return Question(node.get("httpGet").at)
    if node.get("tcpSocket"):
        return Question(node.get("tcpSocket").at, "only opens a connection")
    command = node.get("exec", "command")
    if command:
        return of_command(" ".join(word.text for word in command.words()), command.at, engine)
    return Question(node.at)


def of_path(path: Node, engine: str | None) -> Question:
    """What is asked by a path that stands in a file."""
    word = path.word()
    if word is None or not word.known:
        return Question(path.at)
    shallow = is_shallow(word.text, engine)
    return Question(path.at, _lives(word.text) if shallow else "", (word.text,))


def of_command(command: str, at: Location, engine: str | None) -> Question:
    """What a command asks, and why it proves nothing of the model: it asks nothing, or a cheap endpoint."""
    words = [word for word in re.split(r"\s+", command.strip()) if word not in ("CMD", "CMD-SHELL")]
    while words and (words[0] in _SHELLS or words[0] in ("-c", "-lc", "-ec")):
        words = words[1:]
    text = " ".join(words).strip("\"' ")
    first = text.partition(" ")[0].rpartition("/")[2]
    if not _ASKS.search(text):
        idle = first in _IDLE or text == "exit 0"
        return Question(at, f"runs `{first}`, which asks the model nothing" if idle else "")
    paths = tuple(found[1] or "/" for found in _URL.finditer(text))
    if not paths:
        return Question(at)
    if _POSTS.search(text):
        return Question(at)  # it sends something, which may be a golden input
    here = paths if len(_HERE.findall(text)) == len(paths) else ()
    if _ignores(text):
        return Question(at, passes(paths[0]), here, ignores=True)
    shallow = all(is_shallow(path, engine) for path in paths)
    return Question(at, _lives(paths[0]) if shallow else "", here)


def _lives(path: str) -> str:
    return f"asks `{path}`, which answers while the process lives"


def passes(path: str) -> str:
    """Why a question is none whose answer is not looked at."""
    return f"asks `{path}` and succeeds whatever the status of the answer is"


def _ignores(text: str) -> bool:
    passed = _PASSES.search(text)
    if passed is not None and (passed["how"] == "||" or not _FAILS.search(text)):
        return True
    if _CURL.search(text):
        return not _CURL_LOOKS.search(text)
    return _REQUESTS.search(text) is not None and not _REQUESTS_LOOK.search(text)
