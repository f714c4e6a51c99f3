"""What a text from a repository may be told of: its secrets as `***`.

A secret is known by how it begins, by the name that it is given under, or by its place in a URL; a variable is none.
Whatever is printed goes through here: findings where they are worded, facts where they are shown.
"""

from __future__ import annotations

import re
from typing import Any, Final

_MASK: Final = "***"
_TOKEN: Final = re.compile(
    # tokens of Hugging Face, OpenAI, NVIDIA, GitHub, GitLab, Slack, AWS and PyPI, and JSON web tokens
    r"\b(?:hf_[A-Za-z0-9]{16,}|gh[opsur]_[A-Za-z0-9]{16,}|AKIA[A-Z0-9]{16}|eyJ[\w-]{16,}\.[\w.-]+"
    r"|(?:sk-|nvapi-|github_pat_|glpat-|xox[abpr]-|pypi-)[\w-]{16,})",
    re.ASCII,
)
_SECRET_NAME: Final = r"(?<!tik)token(?!s|i)|api[-_]?key|passw|secret|credential"
# What a flag, a variable or a key is given by such a name with `=` or `:`; a version is none, nor what is compared.
_NAMED: Final = re.compile(
    rf"((?:{_SECRET_NAME})[\w-]{{0,40}}[\"']?\s?(?:=(?!=)|:(?!/))\s?[\"']?)(?!\d+(?:\.|\b)|[$%{{*])[^\s\"',}}&]+",
    re.IGNORECASE,
)
_OPTION: Final = re.compile(rf"[\w-]{{0,40}}(?:{_SECRET_NAME})[\w-]{{0,40}}", re.IGNORECASE)
_USER: Final = re.compile(r"(?<=://)([^/\s?#]{1,500})@")
_VARIABLE: Final = re.compile(r"\$\{?\w+\}?|\$\{\{[^{}]*\}\}|\$\([^()]*\)|\{\{[^{}]*\}\}|\{\w*\}|%\w+%|\*+")
_PLAIN: Final = frozenset({"git", "hg"})  # who asks a host's ssh service, or says nothing
_QUERY: Final = re.compile(
    r"([?&][\w-]{0,40}(?:token|secret|passw|sig|credential|key|auth)[\w-]{0,40}=)(?![$%{*])[^&\s#\"']+", re.IGNORECASE
)
_CONDA: Final = re.compile(r"(?<=/t/)[A-Za-z0-9-]{8,200}(?=/|\Z|[\s\"'])")  # https://conda.anaconda.org/t/TOKEN/channel


def masked(text: str) -> str:
    """The text with `***` in the place of secrets."""
    if "://" in text:
        text = _USER.sub(_user, text)
        text = _CONDA.sub(_MASK, _QUERY.sub(rf"\1{_MASK}", text))
    return _NAMED.sub(rf"\1{_MASK}", _TOKEN.sub(_MASK, text))


def _user(match: re.Match[str]) -> str:
    """Who asks a host, and with which password: only what is a variable, or no secret, is told."""
    said, before = match[1], match.string[max(0, match.start() - 6) : match.start() - 3]
    plain = said in _PLAIN or (before == "ssh" and ":" not in said)
    if plain or all(_VARIABLE.fullmatch(part) for part in said.split(":", 1)):
        return match[0]
    return f"{_MASK}@"


def masked_within(value: Any) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """A value of JSON with all of its texts masked; of a pair whose first text names a secret, the second."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, list | tuple):
        pair = len(value) == 2 and all(isinstance(item, str) for item in value)  # noqa: PLR2004
        if pair and _OPTION.fullmatch(value[0]) and not _VARIABLE.fullmatch(value[1]):
            return [value[0], _MASK if value[1] else ""]
        found = [masked_within(item) for item in value]
        return found if isinstance(value, list) else getattr(value, "_make", tuple)(found)
    if isinstance(value, dict):
        return {key: masked_within(item) for key, item in value.items()}
    return value
