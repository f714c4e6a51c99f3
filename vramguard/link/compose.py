"""Compose projects: what a service's file leaves to others: variables of `.env`, files of variables, the GPU overlay.

Read in compose-spec: "Interpolation", "Environment variables", "Merge and override". A variable that may be set by
whoever starts the project is taken to be unset there.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.facts import Hardware, Launch, Texts, Unknown, Word
from vramguard.source.filling import filled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.facts import Facts, Reference

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_]\w{0,200})"
    r"|\{(?P<name>[A-Za-z_]\w{0,200})(?:(?P<how>:?[-?+])(?P<other>(?:[^{}]|\$\{[^{}]{0,300}\}){0,2000}))?\})"
)
_DEPTH = 4  # defaults within defaults
_SHELL = re.compile(r"-[a-z]*c")


_Overlays = dict[tuple[str, str], list[Hardware]]


def completed(launches: Iterable[Launch], facts: Facts) -> Iterator[Launch]:
    """The launches, a service of compose as its project runs it, any other as it is."""
    dotenv = {texts.at.path: texts.values for texts in facts.of(Texts) if texts.form == "dotenv"}
    overlays: _Overlays = defaultdict(list)
    for launch in facts.of(Launch):  # `compose.gpu.yaml`, an override: a service with cards and without an image
        if launch.form == "compose" and launch.image is None and launch.hardware != Hardware():
            overlays[posixpath.dirname(launch.at.path), launch.name].append(launch.hardware)
    for launch in launches:
        yield _completed(launch, dotenv, overlays) if launch.form == "compose" else launch


def _completed(launch: Launch, dotenv: Mapping[str, Mapping[str, Word]], overlays: _Overlays) -> Launch:
    variables = dotenv.get(launch.joins.get("variables", ""), {})
    env: dict[str, Word | Reference] = {}
    for path in launch.joins.get("env_file", "").split("\n"):
        env |= dotenv.get(path, {})
    for name, value in launch.env.items():
        env[name] = interpolated(value, variables) if isinstance(value, Word) else value
    others = overlays.get((posixpath.dirname(launch.at.path), launch.name), [])
    hardware = others[0] if launch.hardware == Hardware() and len(others) == 1 else launch.hardware
    return replace(
        launch,
        command=tuple(_command(launch.command, variables)),
        env=env,
        image=interpolated(launch.image, variables) if launch.image else None,
        hardware=_counted(hardware, variables),
    )


def _command(words: tuple[Word, ...], variables: Mapping[str, Word]) -> Iterator[Word]:
    """The words of a command. A word that is nothing but a variable may become none, or several."""
    script = False
    for word in words:
        found = interpolated(word, variables)
        whole = _VARIABLE.fullmatch(word.text) is not None
        if script:  # what is still open in it is a variable of the shell's
            yield replace(found, known=True)
        elif whole and found.known and found.text != word.text:
            yield from (replace(found, text=part) for part in found.text.split())
        else:
            yield found
        script = _SHELL.fullmatch(word.text) is not None


def interpolated(word: Word, variables: Mapping[str, Word]) -> Word:
    """A word with compose's variables filled in; as it is, and not known, where one has no value and no default."""
    if "$" not in word.text:
        return word
    text = _text(word.text, variables)
    return word if text == word.text else replace(word, text=text, known=not _open(word.text, variables))


def _open(text: str, variables: Mapping[str, Word]) -> bool:
    return any(_value(match, variables, 0) is None for match in _VARIABLE.finditer(text))


def _text(text: str, variables: Mapping[str, Word], depth: int = 0) -> str:
    def value(match: re.Match[str]) -> str:
        found = _value(match, variables, depth)
        return match[0] if found is None else found

    whole = filled(_VARIABLE, value, text) if depth < _DEPTH else None
    return text if whole is None else whole


def _value(match: re.Match[str], variables: Mapping[str, Word], depth: int) -> str | None:
    """What a variable stands for; None where nothing says it."""
    if match["escaped"]:
        return "$"
    word, how = variables.get(match["bare"] or match["name"]), match["how"] or ""
    unset = word is None or (how.startswith(":") and not word.text)
    if how.endswith("+"):
        return "" if unset else _text(match["other"], variables, depth + 1)
    if word is not None and not unset:
        return word.text if word.known else None
    return _text(match["other"], variables, depth + 1) if how.endswith("-") else None


def _counted(hardware: Hardware, variables: Mapping[str, Word]) -> Hardware:
    """The hardware with a count that a variable gave."""
    if not isinstance(hardware.gpus, Unknown):
        return hardware
    text = _text(hardware.gpus.text, variables)
    if text in {"all", "-1"}:
        return replace(hardware, gpus=None)
    return replace(hardware, gpus=int(text) if re.fullmatch(r"[0-9]{1,4}", text) else hardware.gpus)
