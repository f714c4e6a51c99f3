"""What a requirements file says it was compiled from, in the comment that its compiler puts at its top.

pip-tools 6 and 7 (piptools/writer.py, `write_header`), uv 0.2 to 0.13 (crates/uv/src/commands/pip/compile.rs,
`generate header`; crates/uv/src/commands/project/export.rs).
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from vramguard.facts import Lock
from vramguard.source import Location

if TYPE_CHECKING:
    from vramguard.facts import Declared
    from vramguard.source import Document

_TOP = 2000  # characters within which the comment stands
_COMMAND = re.compile(r"^#[ \t]+(pip-compile|python -m piptools compile|uv pip compile|uv export)\b(.*)$", re.MULTILINE)
_OUTPUT = re.compile(r"(?:^|\s)(?:-o|--output-file)(?:=|\s+|(?=\S))(\S+)")
_SOURCE = re.compile(r"(?:[\w./-]+\.(?:in|txt)|(?:[\w./-]*/)?(?:pyproject\.toml|setup\.(?:py|cfg)))")
_VALUED = re.compile(  # options whose value may look like a source
    r"(?:-c|--constraints?|-b|--build-constraints?|--overrides?|--excludes?|--unsafe-package|-r|--resolver)(?:=|\s+)\S+"
)
_PARTIAL = re.compile(r"--(?:only-|package\b|prune\b|no-emit|no-default-groups)")


class Origin(NamedTuple):
    """What a compiler says it did: from which files, whether all that they ask for is in it, as they ask for it."""

    sources: tuple[str, ...]
    whole: bool
    overridden: bool


def read(document: Document) -> Lock | None:
    """A lock without packages, which are the file's own lines; None where the comment names no source.

    `manifest` is empty, not None, where overrides take the place of what the sources ask for.
    """
    said = origin(document)
    if said is None or not said.whole or not said.sources:
        return None
    manifest: frozenset[Declared] | None = frozenset() if said.overridden else None
    return Lock(Location(document.path), "requirements", (), sources=said.sources, manifest=manifest)


def origin(document: Document) -> Origin | None:
    """What the comment at the file's top says; None where there is none of a compiler known here."""
    found = _COMMAND.search(document.text, 0, _TOP)
    if found is None:
        return None
    tool, options = found[1], found[2]
    output = _OUTPUT.search(options)
    words = _VALUED.sub(" ", _OUTPUT.sub(" ", options)).split()
    written = ["pyproject.toml"] if tool == "uv export" else [word for word in words if _SOURCE.fullmatch(word)]
    base = _base(document.path, output[1] if output else "")
    paths = dict.fromkeys(posixpath.normpath(posixpath.join(base, word)) for word in written)
    sources = tuple(path for path in paths if path != document.path and not path.startswith("../"))
    overridden = "--override" in options or tool == "uv export"
    return Origin(sources, _PARTIAL.search(options) is None, overridden)


def _base(path: str, output: str) -> str:
    """The folder that the compiler ran in: the file's path without the name that it was told to write to."""
    output = output.removeprefix("./")
    if output and path == output:
        return ""
    return path[: -len(output)].rstrip("/") if output and path.endswith(f"/{output}") else posixpath.dirname(path)
