"""Which values are error pages, sentinels, payloads, or no value where a label is due."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from vramguard.source.sampling import Rows

_LOOKED_AT = 4096  # characters of a value
_TITLE = 120  # characters of an error page's title with the name of its site
_FEW = 30  # different values of a column that may be the kinds of attack

# What a program writes for a value that it does not have, and no reader takes for a missing one.
_SENTINELS = frozenset({"undefined", "[object Object]", "[object object]", "Not Found", "not found"})
# Among sentences, also what a service says of a text that is gone (Twitter's, Reddit's, NewsAPI's).
_NO_SENTENCE = frozenset(
    {"Not Available", "[deleted]", "[Deleted]", "[removed]", "[Removed]", "null", "NULL", "NaN", "nan"}
)
_NO_LABEL = frozenset({"", "nan", "null", "undefined"})  # not None, n/a or NA: a class may be called so
_LABEL = re.compile(
    r"(?:.*[._ ])?(?:labels?|target|sentiment|output|response|answer|completion|chosen|rejected)", re.IGNORECASE
)

_HTTP = r"(?:400|401|403|404|410|429|500|502|503|504)"
_REASONS = (
    r"(?:(?:page|file|url|resource|site) )?not found|forbidden|access (?:is )?denied|unauthorized|bad request"
    r"|too many requests|internal server error|bad gateway|service (?:temporarily )?unavailable|gateway time-?out"
)
_DASH = r"[-|:\u2013\u2014]"
_BREAK = r" ?[-:|,.!\u2013\u2014]* ?"
_SITE = f"(?: ?{_DASH}.*)?"  # after a title
_TITLES = re.compile(
    rf"(?:error )?(?:http )?{_HTTP}{_BREAK}(?:error)?{_BREAK}(?:{_REASONS})[.!]?{_SITE}"
    rf"|(?:{_REASONS}){_BREAK}\(?(?:error )?{_HTTP}\)?{_SITE}"
    rf"|(?:http )?error {_HTTP}{_SITE}"
    r"|(?:oops!?|sorry,?|whoops!?)? ?(?:the |this )?(?:requested )?page (?:you (?:requested|are looking for) )?"
    rf"(?:was |is |could |can |does )?(?:not|n't)(?: be)? (?:found|exist|available)[.!]?{_SITE}"
    rf"|.{{1,60}} ?{_DASH} ?(?:404 ?{_DASH}? ?)?page not found"
    r"|access (?:to this page has been )?denied[.!]?(?: \| .*)?|attention required! \| cloudflare|just a moment\.\.\."
    r"|(?:amazon )?robot check|pardon our interruption(?:\.\.\.)?|are you (?:a )?(?:robot|human)\??"
    r"|(?:please )?(?:verify|confirm)(?: that)? you are (?:a )?human[.!]?"
    r"|(?:please )?enable (?:javascript|js)(?: and cookies)?(?: to continue)?[.!]?"
    r"|(?:500 )?internal server error[.!]?|(?:502 )?bad gateway[.!]?|(?:503 )?service (?:temporarily )?unavailable[.!]?"
)
_PAGE = re.compile(
    rf"<(?:title|h1)>[^<]{{0,60}}(?:\b{_HTTP}\b|not found|forbidden|access denied|just a moment|attention required)"
)
_NO_TEXT = re.compile(r"stat(?:us|e)|reason|err(?:or)?|http|code|log|result|outcome|exception|expected", re.IGNORECASE)
_FILES = (  # what stands in the place of a file that was not there to be downloaded
    (re.compile(r"\s*(?:<!doctype html|<html|<head)", re.IGNORECASE), "an HTML page"),
    (re.compile(r"\s*<\?xml[^>]*>\s*<Error>", re.IGNORECASE), "an error of a bucket"),
    (re.compile(r"404: Not Found\s*$|AccessDenied|\s*\{\"(?:message|error|detail)\": ?\"Not Found\""), "a 404 answer"),
)


def _loose(pattern: str) -> re.Pattern[str]:
    """A pattern for text in lower case in which a blank is up to three: no value makes it slow."""
    return re.compile(pattern.replace(" ?", r"\s{0,3}").replace(" ", r"\s{1,3}"))


_SQL = _loose(
    r"['\"] ?\)? ?(?:or|and) (?:\(? ?['\"]?\w{1,20}['\"]? ?= ?['\"]?\w{1,20}|not \d|['\"]{2} ?=)"
    r"|\bunion (?:all )?select (?:null|\d|@@|char\(|concat\()|; ?drop table |\bxp_cmdshell\b"
    r"|\bwaitfor delay ['\"]|\b(?:pg_)?sleep ?\( ?\d{1,9} ?\) ?(?:--|#|and|\))|\bfrom information_schema\.tables\b"
    r"|(?m:^\w{0,20}['\"] ?;? ?(?:--|#)$)"
)
_SCRIPT = _loose(
    r"<script[^>]{0,80}>[^<]{0,200}(?:alert|eval|prompt|confirm|document\.cookie)\b|javascript: ?(?:alert|eval) ?\("
    r"|\bon(?:error|load|click|mouseover|focus) ?= ?['\"]? ?(?:alert|prompt|confirm|eval) ?\("
)
_SHELL = _loose(
    r"(?:[;|&`]|\$\() ?(?:cat /etc/(?:passwd|shadow)|rm -rf /(?:[*\s]|$))|(?:\.\./){3,8}etc/passwd|\$\{jndi:"
)
_PROMPT = _loose(
    r"\b(?:ignore|disregard|forget) (?:all )?(?:of )?(?:the |your |my |any )?"
    r"(?:previous|prior|above|earlier|preceding) (?:instructions?|prompts?|directions?)"
)
# Each kind with words of which a value has at least one, to be looked for in all of a column at once.
_INJECTIONS = (
    (_SQL, ("'", '"', "union ", "drop ", "xp_cmd", "waitfor ", "sleep", "information_schema")),
    (_SCRIPT, ("<script", "javascript:", "onerror", "onload", "onclick", "onmouse", "onfocus")),
    (_SHELL, ("/etc/", "rm -rf", "jndi")),
    (_PROMPT, ("instruction", "prompt", "direction")),
)
_SQL_QUERY = re.compile(r"\s*(?:select|insert|update|delete|with|create)\b", re.IGNORECASE)
_ERRORS = (
    *("not found", "be found", " exist", "page not", "forbidden", "denied", "unauthorized", "request", "server error"),
    *("gateway", "unavailable", "error 4", "error 5", "robot", "human", "just a moment", "attention", "pardon"),
    "enable j",
)
_ATTACKS = re.compile(
    r"sqli|injection|xss|attack|payload|malicious|malware|waf|security|jail_?break|red_?team|harmful|adversarial"
    r"|vulnerab|exploit|cves?|phish|csic|intrusion|fuzz|guard_?rails?|web_?shell|benign|anomal",
    re.IGNORECASE,
)
_BY_PATH = re.compile(r"sql|prompts?(?![a-z])", re.IGNORECASE)  # questions for a database, or for a model


def error_file(start: str) -> str:
    """What stands in the place of a whole file, by its beginning: nothing if that may be the file."""
    return next((what for pattern, what in _FILES if pattern.match(start)), "")


def tells_of_attacks(path: str, rows: Rows) -> bool:
    """Whether a file says that attacks are what it collects: by its path, its columns, or few values of one."""
    names = [path.replace("-", "_"), *(column.name for column in rows.columns[:50])]
    if _BY_PATH.search(path) or any(_ATTACKS.search(name) for name in names):
        return True
    return any(_ATTACKS.search(value) for column in rows.columns[:50] for value in _kinds(column.cells))


def _kinds(cells: Iterable[str]) -> set[str]:
    """The different values of a column that has few, each a word."""
    found = set(cells)
    return {value for value in found if len(value) <= _FEW} if len(found) <= _FEW else set()


def is_label(name: str) -> bool:
    """Whether a column's name says that a model learns to give it."""
    return _LABEL.fullmatch(name) is not None


def missing(values: Iterable[str]) -> set[str]:
    """Values that say there is none."""
    short = {value for value in values if len(value) <= len("undefined")}
    return {value for value in short if value.strip().lower() in _NO_LABEL}


def sentinels(different: Collection[str], *, prose: bool) -> set[str]:
    """Values that are a program's word for none."""
    return {value for value in (_SENTINELS | _NO_SENTENCE if prose else _SENTINELS) if value in different}


def within(name: str, different: Iterable[str]) -> Iterator[tuple[str, set[str]]]:
    """The values that are error pages, and those that carry a payload."""
    values = {value: value[:_LOOKED_AT].lower() for value in different}
    everything = "\n".join(values.values())
    if not _NO_TEXT.search(name):
        yield "error-page", {value for value in _with(_ERRORS, values, everything) if is_error_page(value)}
    injected = set[str]()
    for pattern, words in _INJECTIONS:
        found = {value for value in _with(words, values, everything) if pattern.search(values[value])}
        injected |= set() if pattern is _SQL and found and _are_queries(values) else found
    yield "injection", injected


def _with(words: Iterable[str], values: Mapping[str, str], everything: str) -> list[str]:
    """Values in whose text one of these words stands; most columns hold none, which is soon told."""
    present = [word for word in words if word in everything]
    return [value for value, text in values.items() if any(word in text for word in present)] if present else []


def is_error_page(value: str) -> bool:
    """Whether a value is the title of a page that was not there, or the page."""
    if len(value) <= _TITLE:
        text = " ".join(value.lower().split())
        if _TITLES.fullmatch(text):
            return True
    return "<" in value[:_LOOKED_AT] and _PAGE.search(value[:_LOOKED_AT].lower()) is not None


def _are_queries(different: Collection[str]) -> bool:
    """Whether a column is of SQL, as examples for a model that writes it are."""
    return 5 * sum(_SQL_QUERY.match(value) is not None for value in different) > len(different)
