"""The conditions of a workflow's jobs: whether an event lets one run, and whether it runs whatever went wrong."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"\|\||&&|!(?!=)|[()]|'[^']{0,500}'|[^\s|&!()']+|!=|\s+|.", re.DOTALL)
_MOST: Final = 2000  # characters; nobody writes a longer condition
_EVENT: Final = re.compile(
    r"github\.event_name\s*(==|!=)\s*'([\w-]{1,60})'|'([\w-]{1,60})'\s*(==|!=)\s*github\.event_name"
)
_OF_EVENT: Final = (
    (re.compile(r"\b(github\.event\.)?inputs\."), frozenset(("workflow_dispatch", "workflow_call"))),
    (re.compile(r"\bgithub\.event\.schedule\b"), frozenset(("schedule",))),
    (re.compile(r"\bgithub\.event\.workflow_run\."), frozenset(("workflow_run",))),
    (re.compile(r"\bgithub\.event\.client_payload\b"), frozenset(("repository_dispatch",))),
    (re.compile(r"\bgithub\.event\.pull_request\b"), frozenset(("pull_request", "pull_request_target"))),
)
_WHATEVER: Final = re.compile(r"\b(always|failure)\s*\(\s*\)|!\s*cancelled\s*\(\s*\)")
_PERSON: Final = re.compile(r"\binputs\.|github\.event\.inputs\.")


def lets(condition: str, event: str) -> bool:
    """Whether a condition may hold on an event; what the text does not say may hold."""
    text = condition.strip().removeprefix("${{").removesuffix("}}").strip()
    if not text or len(text) > _MOST:
        return True
    return _Reading(text, event).either() is not False


def whatever(condition: str) -> bool:
    """Whether a job runs although one before it has failed, or was refused."""
    return _WHATEVER.search(condition[:_MOST]) is not None


def asked(condition: str) -> bool:
    """Whether an answer that a person gives at the start decides."""
    return _PERSON.search(condition[:_MOST]) is not None


class _Reading:
    """A condition, read from left to right: True, False, or None for what nobody knows."""

    def __init__(self, text: str, event: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.next = 0
        self.event = event
        self.depth = 0

    def either(self) -> bool | None:
        found = [self.both()]
        while self._take("||"):
            found.append(self.both())
        return True if True in found else None if None in found else False

    def both(self) -> bool | None:
        found = [self.one()]
        while self._take("&&"):
            found.append(self.one())
        return False if False in found else None if None in found else True

    def one(self) -> bool | None:
        self._blank()
        if self._take("!"):
            inner = self.one() if self.depth < 100 else None  # noqa: PLR2004 - nobody denies so often
            return None if inner is None else not inner
        if self._take("("):
            self.depth += 1
            inner = self.either() if self.depth < 100 else None  # noqa: PLR2004 - nor nests so deep
            self._take(")")
            return inner
        return self._atom()

    def _atom(self) -> bool | None:
        text, open_ = "", 0
        while self.next < len(self.tokens):
            token = self.tokens[self.next]
            if open_ == 0 and token in ("||", "&&", ")"):
                break
            open_ += {"(": 1, ")": -1}.get(token, 0)
            text += token
            self.next += 1
        match = _EVENT.search(text)
        if match:
            same = (match[2] or match[3]) == self.event
            return same if (match[1] or match[4]) == "==" else not same
        for pattern, events in _OF_EVENT:
            if pattern.search(text) and self.event not in events and "!=" not in text:
                return False
        return None

    def _blank(self) -> None:
        while self.next < len(self.tokens) and self.tokens[self.next].isspace():
            self.next += 1

    def _take(self, token: str) -> bool:
        self._blank()
        if self.next < len(self.tokens) and self.tokens[self.next] == token:
            self.next += 1
            return True
        return False
