"""Images that the repository builds itself: `docker build -t NAME`, in whatever holds a command.

A use of `built` is no place where an image is needed: it says that a name is this repository's own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.images.reference import reference
from vramguard.facts import Image
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vramguard.facts.nodes import Node
    from vramguard.source import Document

BUILT = "built"
_COMMAND = re.compile(
    r"(?:\b(?:docker|podman|nerdctl|buildah)|\$[({]?(?:CONTAINER_TOOL|DOCKER|CONTAINER_ENGINE|ENGINE|CONTAINER_CLI)[)}]?)"
    r"(?:\s+(?:buildx|image|compose))?\s+(?:build|bud)\b([^\n;&|]*)"
)
_TAG = re.compile(r"(?:^|\s)(?:-t|--tag)(?:\s+|=)[\"']?((?:\$\{\{[^{}\n]{0,100}\}\}|[^\s\"']){1,300})")
_GOES_ON = re.compile(r"\\\n")
_ASSIGNED = re.compile(
    r"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w{0,80})[ \t]*[?:]{0,2}=[ \t]*[\"']?([^\s\"'#]{1,300})", re.M
)
_USED = re.compile(r"\$[({](\w{1,80})(?::-([^{}()$]{0,200}))?[)}]|\$(\w{1,80})")
_ENV = re.compile(r"\$\{\{\s{0,9}env\.(\w{1,80})\s{0,9}\}\}")  # of a workflow, which a script sees as its own
_MAX_SCRIPT = 1 << 18
_ROUNDS = 4  # of variables within variables
_MAX_BUILDS = 500
_LONGEST = 1000  # characters of a reference, its variables filled in


def built(text: str, at: Location, form: str) -> Image | None:
    """The image that is built under a name."""
    found = reference(text)
    if found is None or not any(character.isalnum() for character in found.name):
        return None
    return Image(at, form, found.name, found.tag, None, None, use=BUILT)


def in_script(node: Node, form: str, env: Mapping[str, str]) -> Iterator[Image]:
    """The images that a step's script builds."""
    if isinstance(node.value, str) and mentions(node.value):
        text = _ENV.sub(lambda found: f"${{{found[1]}}}", node.value)
        yield from _built(text, lambda _: node.at, form, env)


def mentions(text: str) -> bool:
    """Whether a text could build an image."""
    return "build" in text and ("-t" in text) and len(text) <= _MAX_SCRIPT


def scripts(document: Document) -> Iterator[Image]:
    """The images that a shell script or a makefile builds."""
    if mentions(document.text):
        form = "makefile" if document.kind == "makefile" else "shell"

        def place(offset: int) -> Location:
            row = document.text.count("\n", 0, offset) + 1
            return Location(document.path, row, 1, row, 2)

        yield from _built(document.text, place, form, {})


def _built(text: str, place: Callable[[int], Location], form: str, env: Mapping[str, str]) -> Iterator[Image]:
    lines = _GOES_ON.sub("  ", text)  # as long as it was, so that places hold
    variables: dict[str, str] = {}
    for number, command in enumerate(_COMMAND.finditer(lines)):
        if number == _MAX_BUILDS:
            return
        for tag in _TAG.finditer(command[1]):
            variables = variables or {**env, **{match[1]: match[2] for match in _ASSIGNED.finditer(lines)}}
            found = built(filled(tag[1], variables), place(command.start()), form)
            if found is not None:
                yield found


def filled(text: str, variables: Mapping[str, str]) -> str:
    """A text with the variables that its file sets, and the defaults that stand in it; others stay as written."""
    for _ in range(_ROUNDS):
        before = text
        text = _USED.sub(lambda found: variables.get(found[1] or found[3], found[2] or found[0]), text)[:_LONGEST]
        if text == before:
            break
    return text
