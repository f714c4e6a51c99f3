"""What a lock file fixes, and what it was made from: every kind of lock in one form, a module for each.

`origin` computes, from a declaration, what its lock repeats of it.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

# The names of locks -> the module that reads them.
READERS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"poetry\.lock"), "poetry"),
    (re.compile(r"uv\.lock"), "uv"),
    (re.compile(r"pdm\.lock"), "pdm"),
    (re.compile(r"pylock(?:\.[^./]+)?\.toml"), "pylock"),
    (re.compile(r"Pipfile\.lock"), "pipenv"),
    (re.compile(r"pixi\.lock"), "pixi"),
    (re.compile(r"(?:.+\.)?conda-lock\.ya?ml"), "conda_lock"),
)

_PLATFORM = re.compile(r"(?:^|[/_.-])(?:linux|osx|win)-(?:32|64|aarch64|arm64|ppc64le|s390x)\.(?:lock|txt)$")


def extract(document: Document) -> Iterator[Fact]:
    """The lock, with the place of each package; nothing of a requirements file that is none."""
    module = reader(document.path)
    if module is None and is_explicit(document.text):
        module = "explicit"
    if module is None and document.kind == "requirements" and document.text.startswith("#"):
        module = "compiled"
    lock = import_module(f"{__name__}.{module}").read(document) if module else None
    if lock is not None:
        yield lock


def reader(path: str) -> str | None:
    """The module that reads the lock of this path; None for what has no lock's name."""
    name = path.rpartition("/")[2]
    return next((module for pattern, module in READERS if pattern.fullmatch(name)), None)


def is_conda_list(document: Document) -> bool:
    """Whether a list of lines is conda's and not pip's: it says so, or has the name of one of conda's platforms."""
    return is_explicit(document.text) or _PLATFORM.search(document.path) is not None


def is_explicit(text: str) -> bool:
    """Whether the text is an explicit list of conda's, which has a line of that word."""
    return "@EXPLICIT" in text and re.search(r"^@EXPLICIT[ \t]*$", text, re.MULTILINE) is not None
