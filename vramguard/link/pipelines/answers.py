"""What steps of a workflow hand on to later ones: `echo "tags=…" >> $GITHUB_OUTPUT`, and the tags of docker/metadata.

docs.github.com, "Passing information between jobs", "Setting an output parameter"; docker/metadata-action, README
(`images`, `tags`: `type=raw,value=latest`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST: Final = 20_000  # characters of a script
_LONGEST: Final = 500  # of a value
_SAID: Final = re.compile(
    r"echo[ \t]+[\"']?([A-Za-z_][\w-]{0,60})=([^\n]{0,500}?)[\"']?[ \t]*>>[ \t]*[\"']?\$\{?GITHUB_OUTPUT"
)
_KEPT: Final = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w{0,60})=[\"']?([^\n\"']{0,500})", re.MULTILINE)
_VARIABLE: Final = re.compile(r"\$(?:\{(\w{1,60})\}|(\w{1,60}))")
_EXPRESSION: Final = re.compile(r"\$\{\{\s*(?:steps\.([\w-]{1,60})\.outputs\.([\w-]{1,60})|env\.(\w{1,60}))\s*\}\}")
_RAW: Final = re.compile(r"type=raw,(?:[^\n]{0,200},)?value=([\w.-]{1,100})")


class Answers:
    """What the steps of one job have answered so far, by their ids."""

    def __init__(self) -> None:
        self._of: dict[str, Mapping[str, str]] = {}

    def note(self, name: str, script: str, uses: str, given: Mapping[str, str], env: Mapping[str, str]) -> None:
        """Keep what a step answers."""
        if name and script:
            self._of[name] = dict(_said(self.filled(script[:_MOST], env)))
        elif name and uses.startswith("docker/metadata-action@"):
            images = given.get("images", "").split()
            tags = _RAW.findall(given.get("tags", ""))
            self._of[name] = {"tags": " ".join(f"{image}:{tag}" for image in images for tag in tags)[:_LONGEST]}

    def filled(self, text: str, env: Mapping[str, str]) -> str:
        """A text with what is known of its expressions."""

        def known(match: re.Match[str]) -> str:
            found = env.get(match[3], "") if match[3] else self._of.get(match[1], {}).get(match[2], "")
            return found[:_LONGEST] or match[0]

        return _EXPRESSION.sub(known, text)


def _said(script: str) -> Iterator[tuple[str, str]]:
    kept: dict[str, str] = {}
    for match in _KEPT.finditer(script):
        kept[match[1]] = _valued(match[2], kept)
    for match in _SAID.finditer(script):
        yield match[1], _valued(match[2], kept)


def _valued(text: str, kept: Mapping[str, str]) -> str:
    found = _VARIABLE.sub(lambda one: kept.get(one[1] or one[2], one[0]), text)
    return found[:_LONGEST]
