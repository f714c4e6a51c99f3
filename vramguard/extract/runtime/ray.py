"""Ray's runtime environments in YAML: of jobs, clusters and services of KubeRay, of Serve's config files, of Anyscale.

Read in Ray 2.49, python/ray/_private/runtime_env/validation.py (parse_and_validate_pip, _uv, _conda): `pip` and `uv`
are a list, a file's name, or a table with `packages`; `conda` is an environment's table, its file, or its name.
"""

from __future__ import annotations

import posixpath
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from vramguard.extract.runtime.listed import Entry, Listed
from vramguard.extract.runtime.walk import every, tops
from vramguard.facts import Fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.facts.nodes import Node
    from vramguard.source import Document

_MOST: Final = 2000  # environments of one document; no person writes more
_TEXTS: Final = ("runtimeEnvYAML", "serveConfigV2")  # YAML in a text: an environment, a Serve config
_ENVIRONMENTS: Final = ("runtime_env", "worker_runtime_env")
_INSTALLS: Final = re.compile(r"\b(?:pip|uv|conda|working_dir|py_modules)\b")
_BRANCH: Final = re.compile(r"/archive/(?:refs/(?:heads|tags)/)?([^/?#]+?)\.(?:zip|tar\.gz)\Z")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def runtime(document: Document) -> Iterator[Fact]:
    """Every package that an environment of Ray's in this document asks for."""
    for node in islice(every(tops(document), {*_TEXTS, *_ENVIRONMENTS}), _MOST):
        yield from _held(node)


def _held(node: Node) -> Iterator[Fact]:
    """What one value under such a key says."""
    if node.keys[-1] in _ENVIRONMENTS:
        yield from environment(node, posixpath.dirname(node.document.path))
    elif isinstance(node.value, str) and _INSTALLS.search(node.value):
        for inner in node.parsed():
            if node.keys[-1] == "runtimeEnvYAML":
                yield from environment(inner, None)
            else:
                for one in every([inner], set(_ENVIRONMENTS)):
                    yield from environment(one, None)


def environment(node: Node, base: str | None) -> Iterator[Fact]:
    """The packages of one environment. `base`: the folder that its files are named from, None where it is elsewhere."""
    for tool in ("pip", "uv"):
        held = node.get(tool)
        if held:
            yield from _packages(held, tool, base)
    conda = node.get("conda")
    if isinstance(conda.value, dict):
        yield from _conda(conda)
    for key in ("working_dir", "py_modules"):
        held = node.get(key)
        for one in held.list() if isinstance(held.value, list) else [held]:
            yield from _archive(one)


def listed(node: Node, form: str, *, tool: str = "pip", base: str | None = None, section: str = "") -> Listed:
    """An empty list for what stands under this node."""
    return Listed(form, node.at, f"{node.document.path}#{node.at.line}", tool, section, base)


def fill(found: Listed, node: Node) -> Listed:
    """The list with each scalar of a node's list in it."""
    for item in node.list():
        word = item.word()
        if word is not None:
            found.add(Entry(word.text, word.at))
    return found


def _packages(node: Node, tool: str, base: str | None) -> Iterator[Fact]:
    found = listed(node, "ray", tool=tool, base=base)
    held = node.get("packages") if isinstance(node.value, dict) else node
    if isinstance(held.value, str):
        found.file(Entry(held.value, held.at))
    fill(found, held)
    for key in (f"{tool}_install_options", "uv_pip_install_options", "pip_install_options"):
        for word in node.get(key).words() if isinstance(node.value, dict) else ():
            name, _, value = word.text.lstrip("-").partition("=")
            found.option(name, value)
    yield from found.facts()


def _conda(node: Node) -> Iterator[Fact]:
    """An environment of conda's as a table: its packages, and those of pip inside."""
    found = listed(node, "ray", tool="conda")
    fill(found, node.get("dependencies"))
    yield from found.facts()
    for item in node.get("dependencies").list():
        inner = item.get("pip")
        if inner:
            yield from fill(listed(inner, "ray"), inner).facts()


def _archive(node: Node) -> Iterator[Fetch]:
    """Code that is taken from a URL: a branch's archive is whatever the branch holds that day."""
    url: Any = node.value
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        return
    named = _BRANCH.search(url)
    pinned = named is not None and _COMMIT.fullmatch(named[1]) is not None
    reason = (
        ""
        if pinned
        else (f"`{named[1]}` is a branch or a tag, which can be moved" if named else "what a URL serves can change")
    )
    yield Fetch(node.at, "ray", "archive", url, pinned, reason)
