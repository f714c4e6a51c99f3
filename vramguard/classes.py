"""What a path is for, told from the names of its folders; of tests and developers' lists, from the file's own too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.discover import matcher
from vramguard.facts import PathClass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# `requirements-dev.txt`, `dev-requirements.txt`, `requirements.test.unit.txt`, `requirements/lint.in`
_LISTS = (
    r"requirements[_.-](?:[^/]*[_.-])?(?:{0})(?:[_.-][^/]*)?\.(?:txt|in)|(?:{0})[_.-]requirements\.(?:txt|in)"
    r"|requirements/(?:{0})\.(?:txt|in)"
)
# In order of precedence: somebody else's example is vendored, a test's documentation is a test.
_PATTERNS: tuple[tuple[PathClass, str], ...] = (
    (PathClass.VENDORED, r"vendor|vendored|third[_-]?party|3rd[_-]?party|external|submodules"),
    (PathClass.GENERATED, r"generated|_build|dist"),
    (
        PathClass.TEST,
        (
            r"tests?|testing|test[_-]?data|[^/]*[_-]tests?(?:\.(?:py|ipynb))?|tests?[_-][^/]*|fixtures?|__tests__|e2e|mocks?"
            rf"|conftest\.py|{_LISTS.format('tests?|testing|dev|develop(?:ment)?|lint(?:ing)?|ci')}"
        ),
    ),
    (PathClass.DOCS, rf"docs?|documentation|website|{_LISTS.format('docs?|documentation')}"),
    (
        PathClass.EXAMPLE,
        r"examples?|samples?|demos?|tutorials?|cookbooks?|notebooks?|[^/]*[_-]examples?|[^/]*[_-]samples?",
    ),
    (PathClass.TRAINING, r"train|training|fine[_-]?tun(?:e|ing)|pre[_-]?train(?:ing)?"),
)
_COMPILED = tuple((name, re.compile(rf"(?:^|/)(?:{pattern})(?:/|$)", re.IGNORECASE)) for name, pattern in _PATTERNS)


def classifier(configured: Mapping[str, tuple[str, ...]]) -> Callable[[str], PathClass]:
    """A function from path to class; `configured` patterns (by class, as in .gitignore) come first."""
    own = [(PathClass(name), matcher(patterns)) for name, patterns in configured.items()]

    def classify(path: str) -> PathClass:
        for name, matches in own:
            if matches(path):
                return name
        return next((name for name, pattern in _COMPILED if pattern.search(path)), PathClass.SERVING)

    return classify
