"""Commands that only start another: `exec`, `sudo -u x`, `env A=b`, `timeout 10`, `tini --`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Mapping


class Prefix(NamedTuple):
    """How a prefix's own words end: its options that take the next word, and how many words of its own follow them."""

    valued: frozenset[str] = frozenset()
    own: int = 0
    assigns: bool = False


def _prefix(valued: str = "", own: int = 0, *, assigns: bool = False) -> Prefix:
    return Prefix(frozenset(valued.split()), own, assigns)


# Options from the manual page of each (GNU coreutils 9.5, sudo 1.9, util-linux 2.40, numactl 2.0, tini 0.19,
# dumb-init 1.2), read 2026-11-28. Those of the form `--name=value` need no entry.
PREFIXES: Mapping[str, Prefix] = {
    "exec": _prefix("-a"),
    "command": _prefix(),
    "builtin": _prefix(),
    "nohup": _prefix(),
    "setsid": _prefix(),
    "time": _prefix("-f -o --format --output"),
    "sudo": _prefix("-u -g -h -p -C -D -R -T -r -t -U --user --group --host --prompt --chdir --chroot", assigns=True),
    "doas": _prefix("-u -C"),
    "env": _prefix("-u -C -a --unset --chdir --argv0", assigns=True),
    "timeout": _prefix("-k -s --kill-after --signal", own=1),
    "gtimeout": _prefix("-k -s --kill-after --signal", own=1),
    "nice": _prefix("-n --adjustment"),
    "ionice": _prefix("-c -n -p -P -u --class --classdata"),
    "chrt": _prefix("-T -P -D", own=1),
    "taskset": _prefix(own=1),
    "numactl": _prefix("-i -p -m -N -C --interleave --preferred --membind --cpunodebind --physcpubind --cpubind"),
    "stdbuf": _prefix("-i -o -e --input --output --error"),
    "tini": _prefix("-p -e"),
    "tini-static": _prefix("-p -e"),
    "docker-init": _prefix("-p -e"),
    "dumb-init": _prefix("-r --rewrite"),
    "catatonit": _prefix("-g"),
    "gosu": _prefix(own=1),
    "su-exec": _prefix(own=1),
    "setpriv": _prefix("--reuid --regid --groups --inh-caps --ambient-caps --bounding-set"),
    "unbuffer": _prefix(),
    "catchsegv": _prefix(),
    "then": _prefix(),
    "!": _prefix(),
}
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_MOST = 20  # prefixes before one command


def assignment(text: str) -> tuple[str, str] | None:
    """Name and value of `NAME=value`."""
    match = _ASSIGNMENT.fullmatch(text)
    return (match[1], match[2]) if match else None


def unwrapped(words: tuple[Word, ...]) -> tuple[tuple[Word, ...], dict[str, Word]]:
    """A command without the prefixes that start it, and the variables that they set for it."""
    env: dict[str, Word] = {}
    for _ in range(_MOST):
        prefix = PREFIXES.get(words[0].text.rpartition("/")[2]) if words and words[0].known else None
        if prefix is None:
            break
        rest = _rest(words[1:], prefix, env)
        if not rest:  # it starts nothing, such as `exec > log`, or is something else by the same name
            break
        words = rest
    return words, env


def _rest(words: tuple[Word, ...], prefix: Prefix, env: dict[str, Word]) -> tuple[Word, ...]:
    own, number = prefix.own, 0
    while number < len(words):
        text = words[number].text
        named = assignment(text) if prefix.assigns else None
        if text == "--":
            number += 1
            break
        if named:
            env[named[0]] = Word(named[1], words[number].at, words[number].known)
        elif text in prefix.valued:
            number += 1
        elif text.startswith("-") and len(text) > 1:
            pass
        elif own:
            own -= 1
        else:
            break
        number += 1
    return words[number + (own if number and words[number - 1].text == "--" else 0) :]
