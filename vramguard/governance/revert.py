"""Whether a change only undoes what was merged before, told from git's objects and not from what it says of itself."""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from vramguard.discover import git
from vramguard.governance.moves import blob_name
from vramguard.source import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.discover import GitTree, WorkTree

_DEPTH = 500  # commits whose state is compared: what a revert undoes is young
_MERGED = 60  # commits that are taken back one by one, which may take a merge of each of their files
_ABSENT = None
_REVERTS = re.compile(r"This reverts commit ([0-9a-f]{7,64})\b")
_RAW = ("--raw", "--no-abbrev", "--no-renames", "--no-ext-diff", "--relative", "-z")

Blob = str | None  # git's name for a content; None where there is no file


class Step(NamedTuple):
    """One commit against its first parent: before and after of each file that it changed."""

    commit: str
    files: dict[str, tuple[Blob, Blob]]


class Undone(NamedTuple):
    """What a change undoes, in words; `declared` if its own commits name it."""

    what: str
    declared: bool


def find(head: WorkTree, base: GitTree) -> Undone | None:
    """What the head undoes: merged commits, whole, or all of its changes back to one state of the base's history."""
    changed = _changed(head, base)
    if not changed:
        return None
    wanted = {path: after for path, (_, after) in changed.items()}
    before = {path: old for path, (old, _) in changed.items()}
    declared = _declared(base)
    if declared and _after_undoing(base, declared, before) == wanted:
        return Undone(f"the change undoes {_names(declared)}", declared=True)
    state = dict(before)
    for step in _log(base, changed, f"-{_DEPTH}", "--first-parent"):
        state.update({path: old for path, (old, _) in step.files.items() if path in state})
        if state == wanted:
            return Undone(f"every changed file is again as it was before {_names([step])}", declared=False)
    for step in _log(base, changed, f"-{_MERGED}", "--full-history"):
        if step.files.keys() == changed.keys() and _after_undoing(base, [step], before) == wanted:
            return Undone(f"the change undoes {_names([step])}", declared=False)
    return None


def _names(steps: Iterable[Step]) -> str:
    return ", ".join(step.commit[:12] for step in steps)


def _changed(head: WorkTree, base: GitTree) -> dict[str, tuple[Blob, Blob]]:
    """Every file in which the working tree differs from the base: its content there and here."""
    output = git(base.root, "diff-index", *_RAW, base.commit) or b""
    found: dict[str, tuple[Blob, Blob]] = {}
    for token, path in _tokens(output):
        old, new = _blobs(token)
        found[path or ""] = (old, new or _hashed(head, base, path or ""))
    untracked = git(base.root, "ls-files", "-z", "--others", "--exclude-standard") or b""
    for path in map(os.fsdecode, untracked.split(b"\0")):
        if kind_of(path):  # any other is left over from a build, and no part of the change
            found[path] = (_ABSENT, _hashed(head, base, path))
    return {path: (old, new) for path, (old, new) in found.items() if old != new}


def _tokens(output: bytes) -> Iterator[tuple[bytes, str | None]]:
    """Git's raw format with `-z`: a commit's name alone, or `:MODE MODE OLD NEW STATUS` and its path."""
    tokens = iter(output.split(b"\0"))
    for token in tokens:
        plain = token.lstrip(b"\n")
        if plain.startswith(b":"):
            yield plain, os.fsdecode(next(tokens))
        elif plain:
            yield plain, None


def _blobs(token: bytes) -> tuple[Blob, Blob]:
    old, new = (name.decode() if name.strip(b"0") else _ABSENT for name in token.split()[2:4])
    return old, new


def _hashed(head: WorkTree, base: GitTree, path: str) -> Blob:
    """Git's name for what stands in the working tree and not in the index."""
    file = head.root / path
    try:
        data = os.fsencode(file.readlink()) if file.is_symlink() else head.read(path)
    except (OSError, ValueError):
        return _ABSENT
    return _ABSENT if data is None else blob_name(data, len(base.commit))


def _declared(base: GitTree) -> list[Step]:
    """The merged commits that the commits of this change say they revert, the latest first as git undoes them."""
    messages = (git(base.root, "log", "--reverse", "--format=%B", f"{base.commit}..HEAD") or b"").decode(
        "utf-8", "replace"
    )
    steps: list[Step] = []
    for name in _REVERTS.findall(messages):
        if git(base.root, "merge-base", "--is-ancestor", name, base.commit) is not None:
            steps += _log(base, (), "-1", tip=name)
    return steps


def _log(base: GitTree, paths: Iterable[str], *flags: str, tip: str = "") -> Iterator[Step]:
    """Commits that touch the paths, the latest first, each with all of its files."""
    arguments = ("log", *flags, "--full-diff", "-m", "--diff-merges=first-parent", "--format=%H", *_RAW)
    output = git(base.root, "--literal-pathspecs", *arguments, tip or base.commit, "--", *paths) or b""
    step: Step | None = None
    for token, path in _tokens(output):
        if path is None:
            if step is not None:
                yield step
            step = Step(token.decode(), {})
        elif step is not None:
            step.files[path] = _blobs(token)
    if step is not None:
        yield step


def _after_undoing(base: GitTree, steps: Iterable[Step], before: Mapping[str, Blob]) -> Mapping[str, Blob] | None:
    """The files of `before`, which are the base's, once the steps are taken back; None where that is no clean merge."""
    state: dict[str, Blob] = dict(before)
    contents: dict[str, bytes] = {}
    for step in steps:
        for path, (old, new) in step.files.items():
            if path not in state:
                return None
            now = state[path]
            if now == new:
                state[path] = old
            elif now is None or new is None or old is None:
                return None
            else:
                merged = _merge(*(contents.get(blob) or _content(base, blob) for blob in (now, new, old)))
                if merged is None:
                    return None
                state[path] = blob_name(merged, len(base.commit))
                contents[str(state[path])] = merged
    return state


def _content(base: GitTree, blob: str) -> bytes:
    return git(base.root, "cat-file", "blob", blob) or b""


def _merge(ours: bytes, common: bytes, theirs: bytes) -> bytes | None:
    """Git's own three-way merge of one file; None where it conflicts."""
    with TemporaryDirectory() as folder:
        names = ("ours", "common", "theirs")
        for name, data in zip(names, (ours, common, theirs), strict=True):
            Path(folder, name).write_bytes(data)
        return git(Path(folder), "merge-file", "-p", "--quiet", *names)
