"""Crontabs: the lines that scripts and Dockerfiles write into one, and files that are one.

man7.org, crontab(5): five fields or a nickname, in /etc/cron.d a user, then the command.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Recipe, ScriptText, Word
from vramguard.link.pipelines.parts import MOST, Job, Pipeline, Step, Trigger
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts

_TABLE: Final = re.compile(
    r"\|\s*crontab\b|\bcrontab[ \t]+(?:-u[ \t]+\S+[ \t]+)?(?:-(?![a-z])|[\w./])|/etc/cron|var/spool/cron"
)
_FILE: Final = re.compile(r"(?:^|/)(?:crontab|[\w.-]{1,100}\.cron(?:tab)?)$")
_LINE: Final = re.compile(
    r"(?P<mark>^|=?[\"'])[ \t]*(?:(?:(?:\*|[\d*][\d*/,-]{0,30})[ \t]+){4}(?:\*|[\dA-Za-z*][\dA-Za-z*/,-]{0,30})"
    r"|@(?:hourly|daily|midnight|weekly|monthly|yearly|annually))[ \t]+(?:root[ \t]+)?(?P<command>[^\n]{3,1000})"
)
_QUOTED: Final = re.compile(r"[\"'][ \t]*\)?[ \t]*(?:\||>)[^\n]*$")
_LONGEST: Final = 1500  # characters of a line


def pipelines(facts: Facts) -> Iterator[Pipeline]:
    """Every line of a crontab as a pipeline that the clock starts."""
    for script in facts.of(ScriptText):
        if _FILE.search(script.at.path) or _TABLE.search(script.text.text):
            yield from _of_text(script.text.text, script.at.path, 1)
    for recipe in facts.of(Recipe):
        for stage in recipe.stages:
            for run in stage.runs:
                if _TABLE.search(run.text):
                    yield from _of_text(run.text, recipe.at.path, run.at.line)


def _is_kept(match: re.Match[str]) -> bool:
    """Whether a quoted line goes on into a table, or into a variable: others are only said to people."""
    return match["mark"] in ("", '="', "='") or _QUOTED.search(match["command"]) is not None


def _of_text(text: str, path: str, first: int) -> Iterator[Pipeline]:
    found = 0
    for number, line in enumerate(text.splitlines(), first):
        match = _LINE.search(line) if len(line) < _LONGEST and not line.lstrip().startswith("#") else None
        if match is not None and found < MOST and _is_kept(match):
            found += 1
            at = Location(path, number, match.start() + 1, number, match.end() + 1)
            command = _QUOTED.sub("", match["command"]).rstrip("\"'\\ ")
            job = Job(at, "cron", (Step(at, script=Word(command, at)),))
            yield Pipeline(at, "crontab", "a crontab", (Trigger(at, "clock", "schedule"),), (job,))
