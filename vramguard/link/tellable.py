"""Deployments as they may be told: without secrets, and without texts that are too long to be names of anything."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any, Final

from vramguard.extract.masking import masked
from vramguard.facts import Deployment, Unknown

_LONGEST: Final = 4096  # characters of a path (Linux, PATH_MAX); nothing that a field holds is longer
_SHOWN: Final = 120
_FIELDS: Final = tuple(each.name for each in fields(Deployment) if each.name not in ("at", "declared", "places"))
# What a flag, a variable or a key of JSON by such a name is given; `tokens` and `tokenizer` are no secrets.
_NAMED: Final = re.compile(
    r"((?:token(?!s|i)|api[-_]?key|passw|secret|credential)[\w-]{0,40}[\"']?(?:\s?[=:]\s?|\s)[\"']?)[^\s\"',}]+",
    re.IGNORECASE,
)


def tellable(deployment: Deployment) -> Deployment:
    """The deployment with `***` in the place of secrets, and a text that is too long as what it begins with."""
    found = {name: value for name in _FIELDS if (value := getattr(deployment, name)) is not None}
    changed = {name: new for name, value in found.items() if (new := _told(value)) != value}
    return replace(deployment, **changed) if changed else deployment


def _told(value: Any) -> Any:  # noqa: ANN401 - a field of a deployment
    if isinstance(value, tuple):
        return tuple(_masked(_cut(item)) if isinstance(item, str) else item for item in value)
    if isinstance(value, Unknown):
        return Unknown(_masked(_cut(value.text)))
    if not isinstance(value, str):
        return value
    return masked(value) if len(value) <= _LONGEST else Unknown(_masked(_cut(value)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_SHOWN]}…"


def _masked(text: str) -> str:
    return _NAMED.sub(r"\1***", masked(text))
