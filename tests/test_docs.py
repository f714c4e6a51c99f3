"""Generated pages are what the code renders today; `python scripts/render_docs.py` writes them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _render_docs() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("render_docs", ROOT / "scripts" / "render_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages


@pytest.mark.parametrize("name", ["docs/rules.md", "docs/vramguard.schema.json", "docs/check.svg", "docs/proof.svg"])
def test_generated_page_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == _render_docs()[name]


@pytest.mark.parametrize("name", ["docs/check.svg", "docs/proof.svg"])
def test_a_picture_fetches_nothing(name: str) -> None:
    svg = (ROOT / name).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"<]+", svg)) <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}


def test_every_link_of_the_readme_into_the_repository_resolves() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
