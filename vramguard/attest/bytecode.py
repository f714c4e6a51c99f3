"""Every .pyc against its source, by its header alone (PEP 552): no code is compiled, loaded or compared."""

from __future__ import annotations

import _imp
import posixpath
import re
from typing import TYPE_CHECKING, Final

from vramguard.attest.difference import Difference, Findings
from vramguard.attest.files import HEADER
from vramguard.attest.known import MAGIC
from vramguard.units import plural

if TYPE_CHECKING:
    from vramguard.attest.contents import Contents
    from vramguard.attest.files import Entry

_CACHED: Final = re.compile(r"(.+?)\.((?:cpython-|pypy|graalpy)\d+t?)\b.*\.pyc", re.DOTALL)
_TIMED, _UNCHECKED, _CHECKED = 0, 1, 3  # flags
_HASHED_SINCE: Final = (3, 11)  # siphash13 as importlib.util.source_hash; earlier releases used siphash24
_MAX_SOURCE: Final = 64 << 20


class _Bytecode:
    def __init__(self, contents: Contents, findings: Findings) -> None:
        self._contents = contents
        self._findings = findings
        python = contents.files.environment.python
        self._tag = (
            f"{'cpython-' if python.implementation == 'cpython' else 'pypy'}{(python.version or '').replace('.', '')}"
        )
        self._magic = MAGIC.get(python.version or "") if python.implementation == "cpython" else None
        self._python = python
        self._others: list[str] = []
        self._unread: list[str] = []
        self._recompiled: list[str] = []

    def report(self) -> None:
        for path in sorted(self._contents.files.entries):
            if path.endswith(".pyc") and path in self._contents.hashes:
                self._judge(path, self._contents.hashes[path].header)
        version = f"{self._python.implementation} {self._python.version or 'of an unknown version'}"
        if self._recompiled:
            what = f"{plural(len(self._recompiled), '.pyc file')} compiled anew over the recorded one, from its source"
            self._findings.add(Difference("recompiled-bytecode", what, data={"paths": self._recompiled}), note=True)
        if self._others:
            what = f"{plural(len(self._others), '.pyc file')} of another Python than {version}, which never loads them"
            self._findings.add(Difference("foreign-bytecode", what, data={"paths": self._others}), note=True)
        if self._unread:
            what = (
                f"{plural(len(self._unread), '.pyc file')} with a hash of the source, which only Python itself compares"
            )
            self._findings.add(Difference("unread-bytecode", what, data={"paths": self._unread}), note=True)

    def _say(self, kind: str, what: str, path: str, *, note: bool = False) -> None:
        self._findings.add(Difference(kind, what, self._contents.owner(path), path), note=note)

    def _judge(self, path: str, header: bytes) -> None:
        flags = int.from_bytes(header[4:8], "little")
        if len(header) < HEADER or header[2:4] != b"\r\n" or flags not in (_TIMED, _UNCHECKED, _CHECKED):
            self._say("broken-bytecode", "its header is none", path)
            return
        source, tag = _source(path)
        entry = self._contents.files.entries.get(source)
        if entry is None:
            kept = self._contents.verified(path)
            loaded = "Python does not load it" if tag else "Python runs it all the same"
            what = f"{'recorded' if kept else 'not recorded'}, and `{source}` is not there; {loaded}"
            self._say("orphan-bytecode", what, path, note=kept)
        elif tag and self._python.version and tag.removesuffix("t") != self._tag:
            self._others.append(path)
        elif self._magic is not None and int.from_bytes(header[:2], "little") != self._magic:
            number = int.from_bytes(header[:2], "little")
            what = f"its magic number is {number}, that of Python {self._python.version} is {self._magic}"
            self._say("foreign-bytecode", what, path)
        elif flags == _TIMED:
            self._timed(path, header, entry)
        else:
            self._hashed(path, header, source, flags)

    def _fresh(self, path: str) -> None:
        """Note one that fits its source and not the hash that RECORD has of it."""
        claims = self._contents.claims.get(path, ())
        if any(claim.row.digest for claim in claims) and not self._contents.verified(path):
            self._recompiled.append(path)

    def _timed(self, path: str, header: bytes, source: Entry) -> None:
        time, size = (int.from_bytes(header[start : start + 4], "little") for start in (8, 12))
        if size != source.size & 0xFFFFFFFF:
            self._say("stale-bytecode", f"compiled from {size:,} bytes, the source has {source.size:,}", path)
        elif time != source.mtime & 0xFFFFFFFF:
            self._say("stale-bytecode", "compiled from a source of another time", path)
        else:
            self._fresh(path)

    def _hashed(self, path: str, header: bytes, source: str, flags: int) -> None:
        unchecked = flags == _UNCHECKED
        data = self._contents.files.read(source, _MAX_SOURCE + 1)
        if data is None or len(data) > _MAX_SOURCE or not self._comparable():
            if unchecked:
                self._say("unchecked-bytecode", "the hash of the source in it could not be compared", path)
            else:
                self._unread.append(path)
        elif _imp.source_hash(int.from_bytes(header[:4], "little"), data) != header[8:HEADER]:
            kind = "unchecked-bytecode" if unchecked else "stale-bytecode"
            self._say(kind, "compiled from another source, by the hash in it", path)
        else:
            self._fresh(path)
            if unchecked:
                self._say("unchecked-bytecode", "its hash is that of the source as it is now", path, note=True)

    def _comparable(self) -> bool:
        version = self._python.version
        return version is not None and tuple(map(int, version.split("."))) >= _HASHED_SINCE


def report(contents: Contents, findings: Findings) -> None:
    """Report all bytecode that is not of the source beside it."""
    _Bytecode(contents, findings).report()


def _source(path: str) -> tuple[str, str]:
    """The source of `a/__pycache__/b.cpython-311.opt-1.pyc`, and the tag of its Python; `a/b.pyc` has none."""
    folder, name = posixpath.split(path)
    if posixpath.basename(folder) != "__pycache__":
        return path[:-1], ""
    match = _CACHED.fullmatch(name)
    stem, tag = (match[1], match[2]) if match else (name.partition(".")[0], "unknown")
    return posixpath.join(posixpath.dirname(folder), f"{stem}.py"), tag
