"""The block at the top of a Markdown file."""

from __future__ import annotations

import pytest

from vramguard.source import Document, Location, read


def document(text: str) -> Document:
    found = read("README.md", text.encode())
    assert isinstance(found, Document)
    return found


def test_a_value_has_its_place() -> None:
    found = document("---\ntitle: A\nsdk: gradio\n---\n# A\n")
    assert found.value == [{"title": "A", "sdk": "gradio"}]
    assert found.at(0, "sdk") == Location("README.md", 3, 6, 3, 12)


@pytest.mark.parametrize(
    "text", ["", "# A\n", "\n---\na: b\n---\n", "---\na: b\n", "--- \na: b\n---\n", "---\n" + "a: b\n" * 9000 + "---\n"]
)
def test_a_file_without_one_says_nothing(text: str) -> None:
    assert document(text).value == []


@pytest.mark.parametrize("text", ["---\na: [\n---\n", "---\n\ta: b\n---\n", "---\n- &a [*a]\n---\n"])
def test_what_is_no_yaml_is_nobodys_error(text: str) -> None:
    assert document(text).value in (None, [])
