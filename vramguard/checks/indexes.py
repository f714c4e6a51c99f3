"""Demand 1: where packages come from."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import JUDGED, WEAKER, weight
from vramguard.extract.declaration import host_of
from vramguard.facts import Install, PathClass, Project, RequirementOption
from vramguard.link.environments import environments_of
from vramguard.link.installs import installs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.source import Location

_LOCAL = re.compile(
    r"localhost|127\.[\d.]+|\[?::1\]?|10\.[\d.]+|192\.168\.[\d.]+|172\.(?:1[6-9]|2\d|3[01])\.[\d.]+|host\.docker\.internal"
    r"|[\w-]+|(?:[\w-]+\.)+(?:local|internal|svc|lan|test|localhost|cluster\.local)"
)
_FIRST = {"index-url", "default-index", "i", "pypi-url"}
_MORE = {"extra-index-url", "index", "find-links"}
_MANIFESTS = {"pyproject.toml", "Pipfile"}
_TRUST = {"trusted-host", "allow-insecure-host"}
_ASKED = _FIRST | _MORE | _TRUST | {"pre", "prerelease", "index-strategy"}


class _Told(NamedTuple):
    """One setting of where packages come from."""

    at: Location
    option: str
    value: str
    hashed: bool  # or safe otherwise from what another index offers
    where: str


@check("insecure-index")
@dataclass(frozen=True)
class InsecureIndex:
    """Where packages come from: plain http, hosts that need no certificate, a second index beside the first.

    `allowed`: indexes that may stand beside the first, as a host or a host with the start of a path. `vendors`: those
    of known vendors, which as a second one are a warning where no hash says which file is meant.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    allowed: tuple[str, ...] = ()
    vendors: tuple[str, ...] = (
        *("download.pytorch.org", "pypi.nvidia.com", "pypi.ngc.nvidia.com", "developer.download.nvidia.com"),
        *("flashinfer.ai", "data.pyg.org", "storage.googleapis.com/jax-releases", "wheels.vllm.ai", "repo.radeon.com"),
        *("pytorch-extension.intel.com", "abetlen.github.io/llama-cpp-python", "huggingface.github.io/autogptq-index"),
    )

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each setting and place."""
        seen: set[tuple[str, str, str]] = set()
        for told in _told(facts):
            judged, weaker = weight(self, facts, told.at.path)
            for value in told.value.split() or [""]:
                found = self._flaw(told, value) if judged else None
                if found and (told.where, told.option, value) not in seen:
                    seen.add((told.where, told.option, value))
                    reason, severity = found
                    values = {"option": told.option, "value": f" {value}" if value else "", "reason": reason}
                    yield Problem(told.at, values, severity=weaker or severity, subject=f"{told.option} {value}")

    def _flaw(self, told: _Told, value: str) -> tuple[str, Severity | None] | None:
        """What is wrong with a setting, and its weight; None for the rule's own."""
        option = told.option
        url = re.sub(r"^[\w.-]+=(?=https?://)", "", value)  # uv: `--index name=https://…`
        host = host_of(url) if "://" in url else url.partition(":")[0]
        local = Severity.WARNING if _LOCAL.fullmatch(host) else None
        if option in _TRUST:
            return f"the certificate of {value or 'a host'} is not asked for, so anybody between may answer", local
        if option in _FIRST | _MORE and url.startswith("http://"):
            return "http lets anybody between change what is installed", local
        if option in {"pre", "prerelease"} and value in {"", "allow", "1", "true"}:
            return "versions that nobody has released are taken as well", Severity.WARNING
        if option == "index-strategy" and value.startswith("unsafe"):
            return "whichever index has the highest version wins, whoever runs it", None
        if option in _MORE and (url.startswith("https://") or "$" in url) and not told.hashed:
            return self._second(url, host)
        return None

    def _second(self, url: str, host: str) -> tuple[str, Severity | None] | None:
        place = host + re.sub(r"^[^/]*//[^/?#]*|[?#].*$", "", url) + "/"
        if any(place.startswith(f"{known}/") for known in ("pypi.org", "pypi.python.org", *self.allowed)):
            return None
        if "$" in (host or url) or not host:
            return "a variable says which index stands beside the first", Severity.WARNING
        if any(place.startswith(f"{known}/") for known in self.vendors):
            return (
                f"a name that {host} does not know is looked for elsewhere, and no hash says which file is meant",
                Severity.WARNING,
            )
        return (
            "whoever can put a package of one of these names on either index is installed: no hash says which is meant",
            None,
        )


def _told(facts: Facts) -> Iterator[_Told]:
    """What commands and files say of indexes."""
    installs = installs_of(facts)
    for install in facts.of(Install):
        if install.tool == "conda":
            continue
        safe = _one_by_one(install.tool, install.options) or installs.hashed(install)
        for option, value in install.options:
            if option in _ASKED:
                yield _Told(install.at, option, value, safe, install.place)
    files = {file.path: file.requirements for file in environments_of(facts).files}
    locked = {project.at.path for project in facts.of(Project) if environments_of(facts).locked(project)}
    said: dict[str, list[RequirementOption]] = defaultdict(list)
    for item in facts.of(RequirementOption):
        said[item.at.path] += [item] if not item.flaw else []
    for path, items in said.items():
        lines = files.get(path, ())
        hashed = bool(lines) and all(line.hashed or line.pinned is None for line in lines)
        options = [(item.option.lstrip("-"), item.value) for item in items]
        manifest = path.rpartition("/")[2] in _MANIFESTS
        safe = hashed or path in locked or (manifest and _one_by_one("uv", options, names=("index",)))
        yield from (_Told(item.at, item.option.lstrip("-"), item.value, safe, path) for item in items)


def _one_by_one(tool: str, options: Iterable[tuple[str, str]], names: tuple[str, ...] = ()) -> bool:
    """Whether the first index that knows a name is the only one that is asked for it: so uv does, unless told not to.

    `names`: the only options that are uv's own, in a file that other tools read as well.
    """
    more = {name for name, _ in options if name in _MORE}
    unsafe = any(name == "index-strategy" and value.startswith("unsafe") for name, value in options)
    return tool == "uv" and not unsafe and (not names or more <= set(names))
