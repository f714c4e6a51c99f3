"""What Python does before the first line of a program: .pth files, sitecustomize, and the folders that they add."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.attest.difference import Difference, Findings, shortened, some
from vramguard.attest.files import Entry
from vramguard.attest.known import CUSTOMIZE, maker
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from vramguard.attest.contents import Contents
    from vramguard.attest.distributions import Distribution

_LONGEST: Final = 1 << 20  # bytes of a .pth file that are read


class _Lines(NamedTuple):
    """A .pth file, as site.py reads it: lines that are executed, and folders outside of the walked ones."""

    code: list[str]
    outside: list[str]
    inside: list[str]


def report(contents: Contents, allowed: Collection[str], findings: Findings) -> None:
    """Report what runs at every start, and editable installs; those of `allowed` distributions as notes."""
    environment = contents.files.environment
    linked: dict[str, list[str]] = {}
    for path in sorted(contents.files.entries):
        if posixpath.dirname(path) in environment.sites and path.endswith(".pth"):
            _pth(contents, path, linked, findings)
    for path in _customizing(contents):
        kept = contents.verified(path)
        what = f"{'recorded' if kept else 'not recorded'}; Python imports it at every start"
        findings.add(Difference("startup-hook", what, contents.owner(path), path), note=kept)
    for item in contents.installed:
        if item.editable:
            _editable(item, linked.get(item.shown, []), item.key in allowed, findings)
    if environment.sees_system:
        what = "pyvenv.cfg has include-system-site-packages = true; those packages are not looked at"
        findings.add(Difference("system-site-packages", what, None, "pyvenv.cfg"))


def _pth(contents: Contents, path: str, linked: dict[str, list[str]], findings: Findings) -> None:
    data = contents.files.read(path, _LONGEST + 1) or b""
    lines = _read(contents, posixpath.dirname(path), data)
    whose = maker(posixpath.basename(path), contents.hashes[path].sha256) if path in contents.hashes else None
    vouched = contents.verified(path)
    owner = contents.owner(path)
    said = f"{whose} put it there" if whose else "recorded" if vouched else "not recorded"
    if len(data) > _LONGEST:
        findings.add(Difference("unreadable", "it is too long to be read to its end", owner, path))
    if lines.code:
        what = f"{said}; runs `{shortened(lines.code[0])}`{_more(lines.code)}"
        findings.add(Difference("startup-hook", what, owner, path, {"lines": lines.code}), note=vouched or bool(whose))
    elif not vouched and not lines.outside:
        what = f"{said}; adds {some([f'`{shortened(line)}`' for line in lines.inside]) or 'nothing'}"
        findings.add(Difference("startup-hook", what, owner, path, {"lines": lines.inside}))
    if lines.outside:
        editable = next((item for item in contents.installed if item.editable and item.shown == owner), None)
        if editable is not None and vouched:
            linked.setdefault(editable.shown, []).extend(lines.outside)
            return
        what = f"{said}; adds `{shortened(lines.outside[0])}`{_more(lines.outside)}"
        findings.add(Difference("outside-path", what, owner, path, {"folders": lines.outside}))


def _more(lines: list[str]) -> str:
    return f" and {plural(len(lines) - 1, 'more line')}" if len(lines) > 1 else ""


def _read(contents: Contents, site: str, data: bytes) -> _Lines:
    """The lines of a .pth file (CPython 3.14, Lib/site.py, addpackage): `import` runs, all else is a folder."""
    lines = _Lines([], [], [])
    for line in data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line.startswith(("import ", "import\t")):
            lines.code.append(line.rstrip())
        elif _is_walked(contents, site, line.rstrip()):
            lines.inside.append(line.rstrip())
        else:
            lines.outside.append(line.rstrip())
    return lines


def _is_walked(contents: Contents, site: str, line: str) -> bool:
    """Whether a folder that a line adds is one whose files are all in the digest."""
    environment = contents.files.environment
    try:
        real = os.path.realpath(os.path.join(environment.join(site), line))  # noqa: PTH118 - need not be text
    except (OSError, ValueError):
        return True  # no system finds such a folder
    roots = (os.path.realpath(environment.join(folder)) for folder in environment.sites)
    return any(real == root or real.startswith(root + os.sep) for root in roots)


def _customizing(contents: Contents) -> Iterator[str]:
    """Every sitecustomize and usercustomize, in any form that Python imports, among the packages and beside them."""
    environment = contents.files.environment
    for path in sorted(contents.files.entries):
        folder, name = posixpath.split(path)
        top, stem, ending = posixpath.dirname(folder), *name.partition(".")[::2]
        module = folder in environment.sites and stem in CUSTOMIZE
        package = top in environment.sites and posixpath.basename(folder) in CUSTOMIZE and stem == "__init__"
        if (module or package) and _is_module(ending):
            yield path
    for library in sorted({posixpath.dirname(site) for site in environment.sites if site}):
        for name in CUSTOMIZE:
            if isinstance(contents.files.find(f"{library}/{name}.py"), Entry | str):
                yield f"{library}/{name}.py"


def _is_module(ending: str) -> bool:
    return ending in ("py", "pyc") or ending.endswith(("so", "pyd"))


def _editable(item: Distribution, folders: list[str], allowed: bool, findings: Findings) -> None:  # noqa: FBT001
    url = item.direct_url.url if item.direct_url else ""
    where = item.linked or url or "; ".join(folders)
    what = f"it runs from {shortened(where)}, and its files there are in no digest"
    data = {"url": url or None, "folders": folders or ([item.linked] if item.linked else [])}
    findings.add(Difference("editable", what, item.shown, item.folder, data), note=allowed)
