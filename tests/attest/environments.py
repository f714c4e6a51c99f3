"""Environments written by hand: wheels of a few lines, laid out as an installer would, without pip and network."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import struct
from typing import TYPE_CHECKING, Final

from vramguard.attest.known import MAGIC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SITE: Final = "lib/python3.11/site-packages"
TIME: Final = 1_700_000_000  # of every file
CFG: Final = "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.7\n"


def row(path: str, data: bytes, algorithm: str = "sha256") -> str:
    """A line of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).decode().rstrip("=")
    return f"{path},{algorithm}={digest},{len(data)}"


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    os.utime(path, (TIME, TIME))
    return path


class Venv:
    """A venv under construction."""

    def __init__(self, root: Path, site: str = SITE) -> None:
        self.root = root
        self.site = root / site
        self.site.mkdir(parents=True)
        write(root / "pyvenv.cfg", CFG)

    def install(
        self,
        name: str,
        version: str = "1.0",
        files: Mapping[str, str | bytes] | None = None,
        requires: Iterable[str] = (),
        *,
        scripts: Iterable[str] = (),
        more: Mapping[str, str] | None = None,
        headers: str = "",
    ) -> Path:
        """Lay out a wheel: its files, a script of each name, and `more` beside METADATA. Returns the .dist-info."""
        info = f"{name}-{version}.dist-info"
        lines = "".join(f"Requires-Dist: {line}\n" for line in requires)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{headers}{lines}\nAbout it.\n"
        contents: dict[str, str | bytes] = dict(
            files if files is not None else {f"{name}/__init__.py": f"N = '{name}'\n"}
        )
        contents |= {f"{info}/METADATA": metadata, f"{info}/INSTALLER": "pip\n"}
        contents |= {f"{info}/{path}": text for path, text in (more or {}).items()}
        for script in scripts:
            contents[f"../../../bin/{script}"] = f"#!{self.root}/bin/python\nimport {name}\n"
        rows = []
        for path, content in contents.items():
            data = content.encode() if isinstance(content, str) else content
            write(self.site / path, data)
            rows.append(row(path, data))
        write(self.site / info / "RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
        return self.site / info

    def record(self, info: Path, line: str) -> None:
        """Add a line to a RECORD."""
        path = info / "RECORD"
        path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")


def compiled(source: Path, *, flags: int = 0, tag: str = "cpython-311", magic: int = MAGIC["3.11"]) -> Path:
    """What stands for the bytecode of a source: the header that Python writes, and code that nobody loads."""
    data, stat = source.read_bytes(), source.stat()
    timed = struct.pack("<II", int(stat.st_mtime) & 0xFFFFFFFF, len(data) & 0xFFFFFFFF)
    check = importlib.util.source_hash(data) if flags else timed
    content = struct.pack("<H", magic) + b"\r\n" + struct.pack("<I", flags) + check + b"\xe3code"
    return write(source.parent / "__pycache__" / f"{source.stem}.{tag}.pyc", content)
