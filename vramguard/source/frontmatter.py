"""The YAML block at the top of a Markdown file; of a file that has none, nothing is read.

The value is as of a YAML file, the list of its documents: this one alone.
"""

from __future__ import annotations

import re
from typing import Final

from vramguard.source import Parsed

_MAX: Final = 20_000  # characters of a block: beyond this it is no person's
_END: Final = re.compile(r"^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)


def parse(text: str) -> Parsed:
    """The block between the first line, `---`, and the next one. Raises `ParseError` where it is no YAML."""
    end = _END.search(text, 4, _MAX) if text.startswith("---\n") else None
    if end is None:
        return Parsed([], dict)
    from vramguard.source import yaml  # most README.md files have no block

    return yaml.parse(text[: end.start()])
