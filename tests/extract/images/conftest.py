"""Fixtures of the tests of images."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from vramguard.extract.images import extract
from vramguard.facts import Action, Image
from vramguard.source import Document, read

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def facts() -> Callable[[str, str], list[Image | Action]]:
    """The images and actions of a file with this path and text."""

    def found(path: str, text: str) -> list[Image | Action]:
        document = read(path, textwrap.dedent(text).lstrip("\n").encode())
        assert isinstance(document, Document), document
        result = list(extract(document))
        for fact in result:
            assert fact.at.path == path
            assert 1 <= fact.at.line <= document.text.count("\n") + 1
        return result

    return found


@pytest.fixture
def images(facts: Callable[[str, str], list[Image | Action]]) -> Callable[[str, str], list[Image]]:
    """The images alone."""
    return lambda path, text: [fact for fact in facts(path, text) if isinstance(fact, Image)]


@pytest.fixture
def actions(facts: Callable[[str, str], list[Image | Action]]) -> Callable[[str, str], list[Action]]:
    """The actions alone."""
    return lambda path, text: [fact for fact in facts(path, text) if isinstance(fact, Action)]
