"""Where Python looks for what a file imports."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def roots(folder: str) -> Iterator[str]:
    """Folders that Python may look in for a file in a folder: that one, those around it, `src` in each."""
    while True:
        yield folder
        yield posixpath.join(folder, "src")
        if not folder:
            return
        folder = posixpath.dirname(folder)
