"""Fixtures of the tools' tests."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from vramguard.extract.tools import extract
from vramguard.facts import Launch, Word
from vramguard.source import Document, read

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def launches() -> Callable[[str, str], list[Launch]]:
    """The launches of a file with this path and text."""

    def found(path: str, text: str) -> list[Launch]:
        document = read(path, textwrap.dedent(text).lstrip("\n").encode())
        assert isinstance(document, Document), document
        result = list(extract(document))
        for launch in result:
            for word in (*launch.command, *launch.given.values()):
                assert isinstance(word, Word)
                assert 1 <= word.at.line <= document.text.count("\n") + 1
        return result

    return found
