"""CODEOWNERS: lines of a pattern and its owners (docs.github.com, "About code owners"; docs.gitlab.com, "Code Owners").

GitLab's sections (`[Model]`, `^[Docs][2] @team`) are looked through: their default owners own lines without any.
"""

from __future__ import annotations

import re

from vramguard.source import KeyPath, Parsed, Place, Ruler

_SECTION = re.compile(r"\^?\[[^\]\n]{1,100}\](?:\[\d{1,3}\])?(.*)")
_WORD = re.compile(r"(?:\\.|[^\s\\])+")
_MOST = 20_000  # lines


def parse(text: str) -> Parsed:
    """A list of `[pattern, owner, …]`, in the order of the text; comments are gone."""
    found: list[list[str]] = []
    spans: list[tuple[int, int]] = []
    default: list[str] = []
    start = 0
    for line in text.split("\n")[:_MOST]:
        bare = re.sub(r"(^|\s)#.*", "", line[:1000])
        section = _SECTION.fullmatch(bare.strip())
        words = _WORD.findall(bare)
        if section:
            default = section[1].split()
        elif words:
            found.append([words[0].replace("\\ ", " "), *(words[1:] or default)])
            spans.append((start, start + len(line)))
        start += len(line) + 1

    def locate() -> dict[KeyPath, Place]:
        ruler = Ruler(text)
        return {(number,): Place(span, span) for number, span in enumerate(ruler.span(*one) for one in spans)}

    return Parsed(found, locate)
