"""Where an installed environment keeps its packages, and which Python they are for; nothing of it is executed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBRARIES: Final = ("lib", "lib64", "local/lib", "local/lib64")
_SITES: Final = ("site-packages", "dist-packages")
_PYTHON: Final = re.compile(r"(python|pypy)(3(?:\.\d+)?)t?")
_PATCHLEVEL: Final = re.compile(r'^#define\s+PY_VERSION\s+"(3\.\d+\.\d+)', re.MULTILINE)
_SMALL: Final = 1 << 16  # bytes of a configuration that are read


class Python(NamedTuple):
    """The Python that an environment is for; None where the folder does not say it."""

    implementation: str = "cpython"
    version: str | None = None  # 3.11
    full: str | None = None  # 3.11.7


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment. `sites` run from `prefix`, a real path; "" is the prefix itself (`pip install --target`)."""

    shown: str
    prefix: str
    sites: tuple[str, ...]
    python: Python
    astray: tuple[str, ...] = ()  # package folders that are links out of the environment
    others: tuple[str, ...] = ()  # package folders of another Python
    sees_system: bool = False
    windows: bool = False

    def join(self, path: str) -> str:
        """A path of the environment as the system takes it."""
        return os.path.join(self.prefix, path)  # noqa: PTH118 - a name need not be text

    def holds(self, real: str) -> bool:
        """Whether a real path lies in the environment."""
        return real == self.prefix or real.startswith(self.prefix.rstrip(os.sep) + os.sep)


class _Site(NamedTuple):
    path: str
    python: Python


def find(path: Path) -> Environment:
    """The environment at a path: a venv, a Python's or conda's prefix, or a folder of packages. Raises ConfigError."""
    real = os.path.realpath(path)
    if not Path(real).is_dir():
        raise ConfigError(f"no such environment: `{path}`")
    inner = _prefix_of(real)
    prefix = inner or real
    found = [site for site in _sites(prefix) if inner is None or os.path.realpath(f"{prefix}/{site.path}") == real]
    windows = any(site.path.startswith("Lib/") for site in found)
    if not found:
        if not _is_flat(real):
            raise ConfigError(f"`{path}` is no environment: it has no folder site-packages")
        return Environment(str(path), real, ("",), Python())
    settings = _settings(prefix)
    kept, others = _of_one_python(found, _stated(settings), path)
    inside, astray = _placed(kept, prefix)
    if not inside:
        raise ConfigError(f"the packages of `{path}` lie outside of it: name the folder that they lie in")
    return Environment(
        str(path),
        prefix,
        inside,
        _python(prefix, kept, settings),
        astray,
        tuple(site.path for site in others),
        settings.get("include-system-site-packages", "").lower() == "true",
        windows,
    )


def _prefix_of(real: str) -> str | None:
    """The prefix of a folder that is itself a site-packages."""
    parts = Path(real).parts
    if len(parts) > 3 and parts[-1] in _SITES:  # noqa: PLR2004 - lib, python3.11, site-packages
        if parts[-2] == "Lib":
            return str(Path(*parts[:-2]))
        if _PYTHON.fullmatch(parts[-2]):
            local = parts[-4] == "local" and parts[-1] == "dist-packages"
            return str(Path(*parts[: -4 if local else -3]))
    return None


def _sites(prefix: str) -> Iterator[_Site]:
    """Every folder of packages below a prefix, as its layout names it."""
    for library in _LIBRARIES:
        for name in _names(f"{prefix}/{library}"):
            match = _PYTHON.fullmatch(name)
            for site in _SITES if match else ():
                if match and Path(prefix, library, name, site).is_dir():
                    yield _Site(f"{library}/{name}/{site}", _named(match))
    if "Lib" in _names(prefix) and Path(prefix, "Lib", "site-packages").is_dir():
        yield _Site("Lib/site-packages", Python())


def _named(match: re.Match[str]) -> Python:
    """`python3.11` says a version, `python3` (Debian's) and `pypy3` none."""
    return Python("pypy" if match[1] == "pypy" else "cpython", match[2] if "." in match[2] else None)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names, not paths
    except OSError:
        return []


def _is_flat(folder: str) -> bool:
    """Whether a folder holds packages without more: `pip install --target`."""
    return Path(folder).name in _SITES or any(name.endswith((".dist-info", ".egg-info")) for name in _names(folder))


def _of_one_python(found: list[_Site], stated: str | None, path: Path) -> tuple[list[_Site], list[_Site]]:
    """The folders that the environment's Python looks into, and those of others."""
    versions = sorted({site.python.version for site in found if site.python.version})
    if stated is None and len(versions) > 1:
        raise ConfigError(f"`{path}` holds the packages of Python {', '.join(versions)}: name one of their folders")
    kept = [site for site in found if site.python.version in (None, stated or site.python.version)]
    return (kept or found), ([site for site in found if site not in kept] if kept else [])


def _placed(sites: list[_Site], prefix: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The folders by their real paths from the prefix, each once; and those that are elsewhere, as named."""
    inside: dict[str, None] = {}
    astray = []
    for site in sites:
        real = os.path.realpath(f"{prefix}/{site.path}")
        if real.startswith(prefix.rstrip(os.sep) + os.sep):
            inside[os.path.relpath(real, prefix).replace(os.sep, "/")] = None
        else:
            astray.append(site.path)
    return tuple(inside), tuple(astray)


def _settings(prefix: str) -> dict[str, str]:
    """pyvenv.cfg, as CPython's site.py reads it: one `key = value` a line, the key in any case."""
    text = _text(f"{prefix}/pyvenv.cfg")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _text(path: str) -> str:
    if not Path(path).is_file():
        return ""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a name need not be text
            return file.read(_SMALL).decode("utf-8", "replace")
    except OSError:
        return ""


def _release(settings: dict[str, str]) -> str | None:
    """The full version that pyvenv.cfg states: `version` of venv, `version_info` of virtualenv and uv."""
    for key in ("version_info", "version"):
        match = re.match(r"3\.\d+\.\d+", settings.get(key, ""))
        if match:
            return match[0]
    return None


def _stated(settings: dict[str, str]) -> str | None:
    release = _release(settings)
    return release.rpartition(".")[0] if release else None


def _python(prefix: str, sites: list[_Site], settings: dict[str, str]) -> Python:
    """Which Python, by pyvenv.cfg, by the names of the folders, and by the files beside them."""
    full = _release(settings) or _conda(prefix)
    version = next((site.python.version for site in sites if site.python.version), None)
    version = version or (full.rpartition(".")[0] if full else None)
    if full is None and version is not None:
        full = _headers(prefix, version)
    implementation = "pypy" if settings.get("implementation", "").lower() == "pypy" else sites[0].python.implementation
    return Python(implementation, version, full if full and version and full.startswith(f"{version}.") else None)


def _conda(prefix: str) -> str | None:
    """`conda-meta/python-3.11.7-h955ad1f_0.json` is conda's note of its Python."""
    matches = (re.match(r"python-(3\.\d+\.\d+)-", name) for name in _names(f"{prefix}/conda-meta"))
    return next((match[1] for match in matches if match), None)


def _headers(prefix: str, version: str) -> str | None:
    """The version in the headers of a Python that was installed here."""
    match = _PATCHLEVEL.search(_text(f"{prefix}/include/python{version}/patchlevel.h"))
    return match[1] if match else None
