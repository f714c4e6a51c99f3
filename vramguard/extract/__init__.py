"""What a file says: one module per kind of file, each a pure function of one document.

Of a file of weights the document is that of its header, all that is ever read of it.
An extractor is a module with `extract(document) -> Iterator[Fact]`; its row in `EXTRACTORS` says which files it reads.
Whatever needs a second file happens in `link/`.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

from vramguard.facts import DuplicateKey
from vramguard.source import LENIENT, Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

# Which files, by syntax and by path -> the module that reads them.
EXTRACTORS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("requirements", re.compile(""), "requirements"),
    ("requirements", re.compile(""), "locks"),
    ("toml", re.compile(r"(?:^|/)pyproject\.toml$"), "pyproject"),
    ("toml", re.compile(r"(?:^|/)(?:poetry\.lock|uv\.lock|pdm\.lock|pylock(?:\.[^./]+)?\.toml)$"), "locks"),
    ("json", re.compile(r"(?:^|/)Pipfile\.lock$"), "locks"),
    ("yaml", re.compile(r"(?:^|/)(?:pixi\.lock|(?:[^/]+\.)?conda-lock\.ya?ml)$"), "locks"),
    ("toml", re.compile(r"(?:^|/)Pipfile$"), "pipfile"),
    ("toml", re.compile(r"(?:^|/)pixi\.toml$"), "pixi"),
    ("python", re.compile(r"(?:^|/)setup\.py$"), "setuptools"),
    ("ini", re.compile(r"(?:^|/)setup\.cfg$"), "setuptools"),
    ("yaml", re.compile(""), "conda"),
    ("python", re.compile(""), "inline"),
    ("yaml", re.compile(r"(?:^|/)\.pre-commit-config\.ya?ml$"), "precommit"),
    (
        "json",
        re.compile(r"(?<!\.safetensors\.index\.json)(?<!vramguard\.lock)(?<!Pipfile\.lock)(?<!/[0-9]/model\.json)$"),
        "models",
    ),
    ("json", re.compile(r"(?:^|/)vramguard\.lock$"), "model_lock"),
    ("certificate", re.compile(""), "certificates"),
    ("json", re.compile(r"\.safetensors\.index\.json$"), "weights"),
    ("yaml", re.compile(""), "kubernetes"),
    ("yaml", re.compile(""), "objects"),
    *((kind, re.compile(""), "objects.dashboards") for kind in ("dashboard", "counters")),
    *((kind, re.compile(""), "objects.balancing") for kind in ("python", "yaml")),
    *((kind, re.compile(""), "objects.gateways") for kind in ("nginx", "haproxy", "pbtxt", "toml")),
    ("hcl", re.compile(""), "terraform"),
    ("codeowners", re.compile(""), "codeowners"),
    ("json5", re.compile(""), "renovate"),
    ("yaml", re.compile(""), "tools"),
    ("yaml", re.compile(""), "helm"),
    ("yaml", re.compile(""), "options"),
    ("yaml", re.compile(r"(?:^|/)kustomization\.ya?ml$"), "kustomize"),
    ("toml", re.compile(r"(?:^|/)(?:fly(?:\.[^/]+)?|pyproject)\.toml$"), "tools"),
    ("pbtxt", re.compile(""), "tools"),
    ("json", re.compile(r"/[0-9]/model\.json$"), "tools"),
    ("safetensors", re.compile(""), "weights"),
    ("gguf", re.compile(""), "weights"),
    *((kind, re.compile(""), "datafiles") for kind in ("table", "records", "parquet")),
    ("shell", re.compile(""), "shell"),
    ("shell", re.compile(""), "scripts"),
    ("dockerfile", re.compile(""), "dockerfile"),
    ("dockerfile", re.compile(""), "stages"),
    ("dockerfile", re.compile(""), "objects.healthchecks"),
    ("makefile", re.compile(""), "makefile"),
    ("dotenv", re.compile(""), "dotenv"),
    ("yaml", re.compile(""), "modes"),
    ("toml", re.compile(""), "modes"),
    ("json", re.compile(""), "modes"),
    ("yaml", re.compile(""), "lightning"),
    ("python", re.compile(""), "python"),
    ("notebook", re.compile(""), "python"),
    ("python", re.compile(""), "exporters"),
    ("python", re.compile(""), "debugging"),
    ("python", re.compile(""), "code"),
    ("notebook", re.compile(""), "code"),
    *((kind, re.compile(""), "fields") for kind in ("python", "notebook", "yaml", "apispec", "proto")),
    *((kind, re.compile(""), "installs") for kind in ("dockerfile", "shell", "makefile", "justfile", "ini", "yaml")),
    *((kind, re.compile(""), "installs") for kind in ("notebook", "python")),
    ("toml", re.compile(r"(?:^|/)(?:(?:pyproject|tox|pixi)\.toml|Pipfile)$"), "installs"),
    *((kind, re.compile(""), "images") for kind in ("dockerfile", "yaml", "python", "notebook", "shell", "makefile")),
    *((kind, re.compile(""), "runtime") for kind in ("python", "notebook", "yaml", "frontmatter")),
)


def extract(document: Document, without: frozenset[str] = frozenset()) -> Iterator[Fact]:
    """Every fact that one document states. `without`: modules whose facts nobody asks for."""
    if document.value is None and document.kind in LENIENT:
        return  # it is no text
    for flaw in document.parsed.flaws:
        yield DuplicateKey(Location(document.path, *flaw.span), flaw.message)
    for kind, pattern, module in EXTRACTORS:
        if document.kind == kind and module not in without and pattern.search(document.path):
            yield from import_module(f"{__name__}.{module}").extract(document)
            if module == "locks" and kind != "requirements":
                return  # a lock is nothing else, and long
