"""What a document says, read by the extractor of runtime forms alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import runtime
from vramguard.facts import Requirement, Unknown
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.facts import Fact


def _facts(path: str, text: str) -> list[Fact]:
    document = read(path, text.encode(), kind=kind_of(path))
    assert isinstance(document, Document)
    return list(runtime.extract(document))


@pytest.fixture
def facts_of() -> Callable[[str, str], list[Fact]]:
    """The facts of a file."""
    return _facts


@pytest.fixture
def asked() -> Callable[[str, str], list[str]]:
    """Each requirement of a file as `form name specifier`, with `!` where it is not exact and `?` where unknown.

    The text that stands at its place must be what it was read from.
    """

    def said(path: str, text: str) -> list[str]:
        result = []
        lines = text.split("\n")
        for fact in _facts(path, text):
            if not isinstance(fact, Requirement):
                continue
            at = fact.at
            assert at.line == at.end_line
            stands = lines[at.line - 1][at.column - 1 : at.end_column - 1]
            assert fact.name in stands or path.endswith(".md"), (fact.name, stands)
            mark = "?" if isinstance(fact.pinned, Unknown) else "" if fact.pinned else "!"
            assert bool(fact.reason) == bool(mark)
            result.append(f"{fact.form} {fact.name} {fact.specifier}".strip() + mark)
        return result

    return said
