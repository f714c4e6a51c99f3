"""pre-commit's `additional_dependencies`: what pip installs into the environment of a hook in Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from vramguard.extract import declaration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

# A hook's language stands in the repository that it is taken from: what its packages look like tells it, or its name.
_FOREIGN: Final = re.compile(
    r"@[\w-]+/|[\w./-]+@(?:v?\d|latest|next|\^|~)|(?:github|golang|gopkg|go)\.\w+/|cli:|[\w-]+:\d"
)
_NODE: Final = re.compile(
    r"prettier|eslint|stylelint|markdownlint|commitlint|cspell|csslint|standard$|htmlhint|jshint|tslint|renovate|pyright-node"
    r"|biome|svelte|textlint|jsonlint|remark|shfmt|golang|rubocop|lintr|styler|swift|dart|terraform"
)
_PYTHON: Final = ("python", "python_venv")


def extract(document: Document) -> Iterator[Fact]:
    """Every requirement of a hook in Python."""
    if "additional_dependencies" not in document.text:
        return
    for number, value in enumerate(document.value):
        repositories = value.get("repos") if isinstance(value, Mapping) else None
        for place, repository in enumerate(repositories if isinstance(repositories, list) else ()):
            hooks = repository.get("hooks") if isinstance(repository, Mapping) else None
            for row, hook in enumerate(hooks if isinstance(hooks, list) else ()):
                if isinstance(hook, Mapping) and _is_python(str(repository.get("repo")), hook):
                    yield from _hook(document, (number, "repos", place, "hooks", row, "additional_dependencies"), hook)


def _is_python(repository: str, hook: Mapping[str, object]) -> bool:
    language = hook.get("language")
    if isinstance(language, str):
        return language in _PYTHON
    items = hook["additional_dependencies"] if isinstance(hook.get("additional_dependencies"), list) else []
    texts = [item for item in items if isinstance(item, str)] if isinstance(items, list) else []
    names = (str(hook.get("id")), repository.rstrip("/").rpartition("/")[2])
    return not any(_FOREIGN.match(text) for text in texts) and not any(map(_NODE.search, names))


def _hook(document: Document, keys: tuple[str | int, ...], hook: Mapping[str, object]) -> Iterator[Fact]:
    items = hook.get("additional_dependencies")
    for number, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, str) and item.strip() and not item.lstrip().startswith("-"):
            section = f"hooks.{hook.get('id')}"
            yield declaration.fact(declaration.read(item), document.at(*keys, number), "pre-commit", section)
