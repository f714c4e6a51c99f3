"""Where a manifest says that packages come from, as the options of a command that would say the same.

uv asks one index after the other and takes what the first knows (docs.astral.sh/uv/concepts/indexes): `--index`. A
primary source of poetry takes the place of PyPI (python-poetry.org/docs/repositories), as pdm's of the name `pypi` does
(pdm-project.org/latest/usage/config), and pipenv takes each package from one source since 2022.3.23. A source that is
asked only for packages that name it (`explicit`) can bring nothing else; its address still may be plain http.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.extract.declaration import host_of
from vramguard.extract.tools.values import Node, top
from vramguard.facts import RequirementOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

_FIRST, _MORE = "--index-url", "--extra-index-url"
_OF_UV = {  # its settings, those with an older name under the one of today
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "allow-insecure-host": "--allow-insecure-host",
    "index-strategy": "--index-strategy",
    "prerelease": "--prerelease",
}


def facts(document: Document) -> Iterator[RequirementOption]:
    """The indexes of a pyproject.toml or a Pipfile, each at its URL."""
    text = document.text
    root = top(document)[0]
    if document.path.rpartition("/")[2] == "Pipfile":
        for source in root.get("source"):
            yield from _source(source, _FIRST)
        return
    if "index" in text or "prerelease" in text or "insecure" in text:
        yield from _of_uv(root.get("tool", "uv"))
    if "source" in text:
        yield from _of_poetry(root.get("tool", "poetry", "source"))
        for source in root.get("tool", "pdm", "source"):
            yield from _source(source, _FIRST if source.get("name").value == "pypi" else _MORE)


def _source(source: Node, option: str) -> Iterator[RequirementOption]:
    url = source.get("url")
    if not isinstance(url.value, str):
        return
    if source.get("type").value in ("index", None):
        yield RequirementOption(url.at, option, url.value)
    elif source.get("type").value == "find_links":
        yield RequirementOption(url.at, "--find-links", url.value)
    if source.get("verify_ssl").value is False:
        yield RequirementOption(source.get("verify_ssl").at, "--trusted-host", host_of(url.value) or url.value)


def _of_uv(table: Node) -> Iterator[RequirementOption]:
    """The table of uv: its indexes, and what of its settings weakens them."""
    for index in table.get("index"):
        url = index.get("url")
        if isinstance(url.value, str) and (index.get("explicit").value is not True or url.value.startswith("http:")):
            default = index.get("default").value is True or index.get("explicit").value is True
            yield RequirementOption(url.at, "--default-index" if default else "--index", url.value)
    for place in (table, table.get("pip")):
        for name, option in _OF_UV.items():
            for said in place.get(name):
                if isinstance(said.value, str):
                    yield RequirementOption(said.at, option, said.value)


def _of_poetry(sources: Node) -> Iterator[RequirementOption]:
    first = True
    for source in sources:
        priority = str(source.get("priority").value or "primary").lower()
        url = source.get("url").value
        if priority == "explicit" and not (isinstance(url, str) and url.startswith("http:")):
            continue
        alone = priority in {"primary", "default"} and first and source.get("secondary").value is not True
        yield from _source(source, _FIRST if alone or priority == "explicit" else _MORE)
        first = first and not alone
