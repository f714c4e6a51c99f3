"""Packages that a framework installs when it builds or runs something, and artefacts that configurations name.

A reader takes one document, and is only asked where a word of its own stands in the text. Commands that install (`run`
of Cog, `run_commands` of Modal) are read by `installs`.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

# Which files, by syntax, by path and by words of which one stands in them -> the module and its function.
_ANY: Final = re.compile("")
_READERS: Final[tuple[tuple[str, re.Pattern[str], tuple[str, ...], str, str], ...]] = (
    ("yaml", _ANY, ("runtimeEnvYAML", "serveConfigV2", "runtime_env"), "ray", "runtime"),
    ("yaml", re.compile(r"(?:^|/)config\.ya?ml$"), ("requirements", "model_cache", "hf_cache"), "tools", "truss"),
    ("yaml", re.compile(r"(?:^|/)cog\.ya?ml$"), ("python_packages", "python_requirements"), "tools", "cog"),
    ("yaml", re.compile(r"(?:^|/)bentofile\.ya?ml$"), ("python", "conda"), "tools", "bento"),
    ("yaml", re.compile(r"(?:^|/)python_env\.ya?ml$"), ("dependencies",), "tools", "mlflow"),
    ("yaml", _ANY, ("pip_packages:", "conda_packages:"), "tools", "anyscale"),
    ("yaml", _ANY, (" docker:",), "tools", "zenml"),
    ("yaml", _ANY, (" pypi:", "environment_key:"), "tools", "databricks"),
    ("yaml", _ANY, ("models:/", "/latest"), "stored", "stored"),
    ("frontmatter", _ANY, ("sdk:",), "tools", "space"),
    ("python", _ANY, ("",), "calls", "installs"),
    ("notebook", _ANY, ("",), "calls", "installs"),
)


def extract(document: Document) -> Iterator[Fact]:
    """Every package that the document has installed, and every artefact that it names."""
    for kind, path, words, module, function in _READERS:
        if document.kind == kind and path.search(document.path) and any(word in document.text for word in words):
            yield from getattr(import_module(f"{__name__}.{module}"), function)(document)
