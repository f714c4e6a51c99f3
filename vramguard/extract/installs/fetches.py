"""What commands take in that is no package: clones, scripts that a shell is handed, archives of a branch."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from vramguard.extract.declaration import commit
from vramguard.extract.installs.starts import SHELLS, base
from vramguard.extract.installs.tools import PYTHON
from vramguard.extract.installs.words import VARIABLE
from vramguard.facts import Fetch, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.extract.installs.commands import Started

# `git clone -h` of git 2.39.5, and what later ones add: options that take the next word.
_CLONE_VALUED = frozenset(
    [
        "-b",
        "--branch",
        "-o",
        "--origin",
        "-u",
        "--upload-pack",
        "--reference",
        "--reference-if-able",
        "--template",
        "-c",
        "--config",
        "-j",
        "--jobs",
        "--depth",
        "--shallow-since",
        "--shallow-exclude",
        "--separate-git-dir",
        "--server-option",
        "--filter",
        "--bundle-uri",
        "--revision",
        "--ref-format",
        "-C",
    ]
)
_GIT = re.compile(r"[\"']?\$\W?(?:\w{1,20}_)?GIT(?:_(?:BIN|CMD|EXE|PATH))?\W{0,2}", re.IGNORECASE)
_FULL = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{40}(?![0-9a-fA-F])")
_URL = re.compile(r"(?:https?|ftp)://\S+", re.IGNORECASE)
_REMOTE = re.compile(r"(?:https?|ssh|git)://|[\w.-]+@[\w.-]+:|git@", re.IGNORECASE)
_SUBSTITUTED = re.compile(r"(?:<\(|\$\(|`)\s*(?:curl|wget)\b")
_ARCHIVE = re.compile(
    r"(?:github\.com/[^/\s]+/[^/\s]+/(?:archive|tarball|zipball)|codeload\.github\.com/[^/\s]+/[^/\s]+/(?:zip|tar\.gz)"
    r"|/-/archive)/(?:refs/(?:heads|tags)/)?(?P<ref>[^\s?#]+)"
)
_LATEST = re.compile(r"/releases/latest/download/")
_SUFFIX = re.compile(r"\.(?:zip|tar\.gz|tgz|tar\.bz2|tar)$")
_CHECKS = {"sha256sum", "sha512sum", "sha384sum", "shasum", "gpg", "gpgv", "cosign", "minisign"}
_BETWEEN = {"tee", "gunzip", "zcat", "sed", "tr", "cat", "grep"}
_OTHERS = SHELLS | {"perl", "node", "ruby", "source", "."}
_CHANGES = "what a URL serves can change, and no hash stands beside it"


def found(started: Sequence[Started], form: str) -> Iterator[Fetch]:
    """Each thing that is fetched, in order; commands behind it may make it exact."""
    for number, item in enumerate(started):
        name = base(item.words[0])
        if name == "git" or (not item.words[0].known and _GIT.fullmatch(item.words[0].text)):
            yield from _clone(item, started[number + 1 :], form)
        elif name in {"curl", "wget"}:
            yield from _download(item, started[number + 1 :], form)


# Clones


def _clone(item: Started, after: Sequence[Started], form: str) -> Iterator[Fetch]:
    words = item.words
    place = next((n for n, word in enumerate(words[1:6], 1) if word.text == "clone"), None)
    if place is None:
        return
    named: list[Word] = []
    said: dict[str, Word] = {}
    number = place + 1
    while number < len(words):
        text = words[number].text
        option, equals, rest = text.partition("=")
        if text in _CLONE_VALUED and number + 1 < len(words):
            said[text.lstrip("-")] = words[number + 1]
            number += 1
        elif equals and text.startswith("--"):
            said[option.lstrip("-")] = Word(rest, words[number].at, words[number].known)
        elif not text.startswith("-"):
            named.append(words[number])
        number += 1
    url = named[0] if named else None
    if url is None or (url.known and not _REMOTE.match(url.text)):
        return
    folder = named[1].text if len(named) > 1 else posixpath.basename(url.text.rstrip("/")).removesuffix(".git")
    wanted = said.get("revision") or _checked_out(folder, after)
    pinned, reason = _at(wanted)
    branch = said.get("b") or said.get("branch")
    if wanted is None and branch is not None:
        reason = f"`{branch.text}` is a branch or a tag, and both can move"
    if pinned is False and not url.known and not VARIABLE.sub("", url.text).strip("/."):
        pinned = Unknown(url.text)
    inside = (item.at.line, item.at.column) <= (url.at.line, url.at.column)  # a variable's value stands elsewhere
    yield Fetch(url.at if inside else item.at, form, "clone", url.text, pinned, reason)


def _at(wanted: Word | None) -> tuple[bool | Unknown, str]:
    if wanted is not None and not wanted.known and not _FULL.search(wanted.text):
        return Unknown(wanted.text), "a variable says its commit, whose value is not in this repository"
    reason = commit(wanted.text if wanted else None)
    return not reason, reason


def _checked_out(folder: str, after: Sequence[Started]) -> Word | None:
    """What is checked out of a clone later on, before another clone takes its place as the one that is meant."""
    here = True
    taken: Word | None = None  # what `git fetch origin REF` made FETCH_HEAD
    for item in after:
        name, texts = base(item.words[0]), [word.text for word in item.words]
        if name == "cd" and len(texts) > 1:
            here = here or posixpath.basename(texts[1].rstrip("/")) == posixpath.basename(folder.rstrip("/"))
        if name != "git":
            continue
        if "clone" in texts[1:6]:
            here = False
            continue
        there = any(posixpath.basename(text.rstrip("/")) == posixpath.basename(folder) for text in texts[1:4])
        verb = next((n for n, text in enumerate(texts) if text in {"checkout", "reset", "switch", "fetch"}), None)
        if verb is None or not (here or there):
            continue
        rest = [word for word in item.words[verb + 1 :] if not word.text.startswith("-")]
        exact = next((word for word in rest if _FULL.fullmatch(word.text)), None)
        if exact:
            return exact
        if texts[verb] == "fetch":
            taken = rest[1] if len(rest) > 1 else None
        elif rest and "--" not in texts[verb + 1 : verb + 2]:
            return taken if rest[-1].text == "FETCH_HEAD" else rest[-1]
    return None


# Downloads


def _download(item: Started, after: Sequence[Started], form: str) -> Iterator[Fetch]:
    urls = [word for word in item.words[1:] if _URL.match(word.text) or (not word.known and "://" in word.text)]
    if not urls and any(_piped(after)):
        urls = [word for word in item.words[1:] if not word.known][:1]
    checked = any(base(later.words[0]) in _CHECKS for later in after[:12])
    for number, url in enumerate(urls):
        target = _target(item, url, number)
        if target is None and any(_piped(after)):
            yield _fetched(url, "script", form, checked=False)
        elif _runs(target or _name(url.text), after):
            yield _fetched(url, "script", form, checked=checked)
        elif match := _ARCHIVE.search(url.text):
            yield _archive(url, match["ref"], form, checked=checked)
        elif _LATEST.search(url.text):
            pinned = Unknown(url.text) if not url.known else checked
            reason = "" if checked else "it is whatever release is the latest"
            yield Fetch(url.at, form, "archive", url.text, checked or pinned, reason)


def _piped(after: Sequence[Started]) -> Iterator[bool]:
    """Whether the commands right behind a download hand it to a shell."""
    for later in after[:3]:
        name = base(later.words[0])
        texts = [word.text for word in later.words[1:]]
        if any(_SUBSTITUTED.search(text) for text in (later.words[0].text, *texts)):
            yield _reads(name) or name in {"eval", "exec"} or later.words[0].text.startswith(("$(", "`"))
            return
        if name in _BETWEEN:
            continue
        if _reads(name) and not any(not text.startswith("-") for text in texts[:1]):
            yield "-c" not in texts and (not texts or texts[0] in {"-", "-s", "--"} or texts[0].startswith("-"))
        return


def _reads(name: str) -> bool:
    """Whether a program runs what it reads."""
    return name in _OTHERS or PYTHON.fullmatch(name) is not None


def _target(item: Started, url: Word, number: int) -> str | None:
    """The file that a download is written to; None for the standard output."""
    texts = [word.text for word in item.words]
    name = base(item.words[0])
    for place, text in enumerate(texts[1:], 1):
        option = re.fullmatch(r"-[a-zA-Z]*[oO](.*)|--output(?:-document)?(?:=(.*))?", text)
        if option is None or (name == "curl" and "O" in text.partition("=")[0] and not text.startswith("--")):
            continue
        given = option[1] or option[2] or (texts[place + 1] if place + 1 < len(texts) else "")
        return None if given in {"-", "/dev/stdout"} else given
    remote = any(re.fullmatch(r"-[a-zA-Z]*[OJ][a-zA-Z]*|--remote-name(?:-all)?", text) for text in texts)
    return _name(url.text) if (name == "wget" or remote) and number >= 0 else None


def _runs(target: str, after: Sequence[Started]) -> bool:
    """Whether a file is run later on."""
    name = posixpath.basename(target)
    if not name:
        return False
    for later in after[:40]:
        words = later.words
        if base(words[0]) == name and ("/" in words[0].text):
            return True
        if _reads(base(words[0])) and any(posixpath.basename(word.text) == name for word in words[1:4]):
            return True
    return False


def _name(url: str) -> str:
    return posixpath.basename(url.partition("?")[0].partition("#")[0])


def _fetched(url: Word, kind: str, form: str, *, checked: bool) -> Fetch:
    pinned: bool | Unknown = checked or _FULL.search(url.text) is not None
    if not pinned and not url.known and not _URL.match(url.text):
        pinned = Unknown(url.text)
    return Fetch(url.at, form, kind, url.text, pinned, "" if pinned is True else _CHANGES)


def _archive(url: Word, ref: str, form: str, *, checked: bool) -> Fetch:
    bare = _SUFFIX.sub("", ref.partition("/")[0] if "/-/archive" in url.text else ref)
    if checked or _FULL.search(ref):
        return Fetch(url.at, form, "archive", url.text, pinned=True)
    if VARIABLE.search(bare):
        return Fetch(url.at, form, "archive", url.text, Unknown(url.text), "a variable says its commit")
    return Fetch(url.at, form, "archive", url.text, pinned=False, reason=commit(bare))
