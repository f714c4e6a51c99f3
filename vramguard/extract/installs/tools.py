"""What installs packages: each tool's commands, and which of their options take the next word.

An option that is not known to take a value would make a package of it, so the tables are whole for these, read with
`--help` on 2026-11-28: pip 26.3 (and 23.2.1 for what has gone since), uv 0.13.9, pdm 2.29.4, pipenv 2026.10.3, pipx
1.18.4, pip-tools 7.6.2. Those of poetry, conda, mamba, micromamba, pixi, rye, hatch and easy_install were written from
knowledge of them, and not compared with a release.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# What the words that are no options are: packages; the first a package and the rest a program's own words; files of
# requirements; names of what is declared elsewhere (nothing new); a command that is run; nothing.
Positional = Literal["packages", "first", "files", "names", "command", "none"]


class Verb(NamedTuple):
    """One command of a tool. `valued`: option as written -> its long name, of those that take a value."""

    action: str
    positional: Positional = "none"
    valued: Mapping[str, str] = {}
    short: Mapping[str, str] = {}  # of switches
    syntax: Literal["pip", "conda", "at"] = "pip"  # how a package is written; `at`: name@version, too


def _valued(text: str) -> dict[str, str]:
    """`r/requirement` is `-r`, and `--requirement`; both named by the last."""
    result: dict[str, str] = {}
    for item in text.split():
        names = item.split("/")
        result.update({("-" if len(name) == 1 else "--") + name: names[-1] for name in names})
    return result


_PIP = _valued(
    "abi cache-dir cert client-cert exists-action extra-index-url global-option install-option build-option "
    "extra-index/extra-index-url index/index-url "  # pip takes any beginning of a name that no other option has
    "implementation keyring-provider log-file/local-log/log no-binary only-binary platform prefix progress-bar proxy "
    "python python-version report retries resume-retries root root-user-action source/source-dir/source-directory/src "
    "default-timeout/timeout trusted-host upgrade-strategy use-deprecated use-feature C/config-settings "
    "config-setting/config-settings c/constraint build-constraint e/editable f/find-links pypi-url/i/index-url "
    "r/requirement t/target group requirements-from-script refresh-package uploaded-prior-to all-releases only-final "
    "d/destination-directory/destination-dir/dest w/wheel-dir b/build"
)
_PIP_SHORT = {"U": "upgrade", "I": "ignore-installed", "q": "quiet", "v": "verbose", "V": "version", "h": "help"}

_UV_ALL = (
    "index default-index i/index-url extra-index-url f/find-links index-strategy keyring-provider P/upgrade-package "
    "upgrade-group resolution prerelease prerelease-package fork-strategy exclude-newer exclude-newer-package "
    "no-sources-package reinstall-package link-mode C/config-setting config-settings config-settings-package "
    "no-build-isolation-package cache-dir refresh-package p/python color allow-insecure-host trusted-host/"
    "allow-insecure-host directory project config-file python-platform torch-backend "
)
_UV_PIP = _valued(
    _UV_ALL + "requirement/r/requirements editable/e/editable no-editable-package constraint/c/constraints override/"
    "overrides excludes build-constraint/b/build-constraints extra cert group t/target prefix no-binary only-binary "
    "python-version output-format o/output-file format annotation-style custom-compile-command no-emit-package"
)
_UV_PROJECT = _valued(
    _UV_ALL + "extra no-extra group no-group only-group no-editable-package no-install-package package script "
    "output-format no-build-package no-binary-package requirement/r/requirements constraint/c/constraints m/marker "
    "optional bounds rev tag branch"
)
_UV_RUN = {**_UV_PROJECT, **_valued("w/with with-editable with-requirements env-file")}
for _switch in ("-m", "--script"):  # here the program is a module, a script
    _UV_RUN.pop(_switch, None)
_UV_TOOL = _valued(
    _UV_ALL + "from w/with with-editable with-requirements with-executables-from c/constraints overrides excludes "
    "b/build-constraints env-file no-build-package no-binary-package"
)
_UV_SHORT = {"U": "upgrade", "q": "quiet", "v": "verbose", "n": "no-cache", "h": "help", "m": "module", "s": "script"}

_POETRY = _valued("P/project C/directory G/group E/extras with without only python platform source markers")
_PDM = _valued(
    "p/project L/lockfile k/skip G/group with without C/config-setting override e/editable S/strategy python platform "
    "implementation exclude-newer"
)
_PIPENV = _valued(
    "pypi-mirror python extra-pip-args resolver categories extras config-settings i/index r/requirements e/editable"
)
_PIPX = _valued(
    "include-resources-from upgrade-strategy suffix python fetch-python preinstall app lock i/index-url pip-args "
    "cooldown backend output with spec python-args"
)
_PIP_TOOLS = _valued(
    "extra f/find-links i/index-url extra-index-url cert client-cert trusted-host uploaded-prior-to annotation-style "
    "P/upgrade-package o/output-file newline max-rounds cache-dir pip-args resolver unsafe-package config "
    "c/constraint build-deps-for python-executable"
)
_CONDA = _valued(
    "n/name p/prefix c/channel file revision repodata-fn solver experimental console clone subdir platform "
    "safety-checks r/root-prefix rc-file log-level relocate-prefix environment-specifier channel-priority-mode"
)
_CONDA_FILE = {**_CONDA, "-f": "file"}
_CONDA_CONFIG = {**_CONDA, **_valued("set add append prepend remove get env-file"), "--file": "rc-file"}
_PIXI = _valued(
    "manifest-path p/platform f/feature c/channel e/environment git branch tag rev s/subdir color w/workspace "
    "auth-file config-file pypi-keyring-provider concurrent-downloads concurrent-solves pinning-strategy expose with "
    "host build index"
)
_RYE = _valued("pyproject features extra-requirement spec p/python git url path tag rev branch optional include-dep")
_EASY = _valued(
    "d/install-dir s/script-dir i/index-url f/find-links b/build-directory S/site-dirs record allow-hosts prefix"
)


def _verbs(valued: Mapping[str, str], short: Mapping[str, str], **actions: Positional) -> dict[str, Verb]:
    return {
        name.replace("_", " "): Verb(name.rpartition("_")[2], positional, valued, short)
        for name, positional in actions.items()
    }


_CONDA_VERBS = {
    "install": Verb("install", "packages", _CONDA, syntax="conda"),
    "create": Verb("create", "packages", _CONDA, syntax="conda"),
    "update": Verb("update", "names", _CONDA, syntax="conda"),
    "upgrade": Verb("update", "names", _CONDA, syntax="conda"),
    "env create": Verb("env create", "none", _CONDA_FILE, syntax="conda"),
    "env update": Verb("env update", "none", _CONDA_FILE, syntax="conda"),
    "run": Verb("run", "command", _CONDA),
    "config": Verb("config", "names", _CONDA_CONFIG),
}
_MICROMAMBA_VERBS = {
    **_CONDA_VERBS,
    "install": Verb("install", "packages", _CONDA_FILE, syntax="conda"),
    "create": Verb("create", "packages", _CONDA_FILE, syntax="conda"),
}
_UVX = Verb("tool run", "first", _UV_TOOL, _UV_SHORT, "at")

# Tool -> its commands; "" is a tool that has none.
TOOLS: Mapping[str, Mapping[str, Verb]] = {
    "pip": {
        **_verbs(_PIP, _PIP_SHORT, install="packages", download="packages", wheel="packages"),
        "config set": Verb("config", "names", _PIP, _PIP_SHORT),
    },
    "uv": {
        "pip install": Verb("install", "packages", _UV_PIP, _UV_SHORT),
        "pip sync": Verb("sync", "files", {**_UV_PIP, "-r": "requirements"}, _UV_SHORT),
        "pip compile": Verb("compile", "files", _UV_PIP, _UV_SHORT),
        **_verbs(_UV_PROJECT, _UV_SHORT, sync="none", add="packages", lock="none"),
        "run": Verb("run", "command", _UV_RUN, _UV_SHORT),
        "tool install": Verb("tool install", "packages", _UV_TOOL, _UV_SHORT, "at"),
        "tool run": _UVX,
    },
    "uvx": {"": _UVX},
    "poetry": {
        "install": Verb("install", "none", _POETRY),
        "add": Verb("add", "packages", _POETRY, syntax="at"),
        "update": Verb("update", "names", _POETRY),
        "lock": Verb("lock", "none", _POETRY),
        "sync": Verb("sync", "none", _POETRY),
        "self add": Verb("self add", "packages", _POETRY, syntax="at"),
        "run": Verb("run", "command", _POETRY),
    },
    "pdm": _verbs(_PDM, {}, install="none", sync="none", add="packages", update="names", lock="none", run="command"),
    "pipenv": _verbs(_PIPENV, {}, install="packages", sync="none", update="names", lock="none", run="command"),
    "pipx": {
        **_verbs(_PIPX, {"f": "force"}, install="packages", run="first"),
        "inject": Verb("inject", "packages", _PIPX),
    },
    "conda": _CONDA_VERBS,
    "mamba": _CONDA_VERBS,
    "micromamba": _MICROMAMBA_VERBS,
    "pixi": {
        "add": Verb("add", "packages", _PIXI, syntax="conda"),
        "install": Verb("install", "none", _PIXI),
        "update": Verb("update", "names", _PIXI),
        "global install": Verb("global install", "packages", _PIXI, syntax="conda"),
        "run": Verb("run", "command", _PIXI),
    },
    "rye": {
        **_verbs(_RYE, {"f": "force"}, add="packages", sync="none", install="packages", run="command"),
        "tools install": Verb("install", "packages", _RYE),
    },
    "hatch": {"run": Verb("run", "command", _valued("e/env"))},
    "easy_install": {"": Verb("install", "packages", _EASY, {"U": "upgrade"})},
    "pip-compile": {"": Verb("compile", "files", _PIP_TOOLS, {"U": "upgrade"})},
    "pip-sync": {"": Verb("sync", "files", _PIP_TOOLS)},
}
# The name that a fact gives a tool, where it is another than the program's.
NAMES = {"uvx": "uv", "mamba": "conda", "micromamba": "conda", "pip-compile": "pip-tools", "pip-sync": "pip-tools"}
# Options whose values are files of requirements, constraints, packages, places in the repository.
FILES = frozenset({"requirement", "requirements", "with-requirements", "file"})
CONSTRAINTS = frozenset({"constraint", "constraints"})
PACKAGES = frozenset({"with", "from", "spec"})
EDITABLE = frozenset({"editable", "with-editable"})
DIRECTORY = frozenset({"directory", "project", "manifest-path"})

PYTHON = re.compile(r"(?:python|pypy)(?:\d+(?:\.\d+)?)?t?(?:\.exe)?|py(?:\.exe)?")
_PROGRAM = re.compile(
    r"(pip)(?:[23](?:\.\d+)?)?(?:\.exe)?|(easy_install)(?:-[23](?:\.\d+)?)?|([a-z][a-z_-]+)(?:\.exe)?"
)
_BY_VARIABLE = re.compile(r"\$[({]?(?:\w{0,40}_)?(PIP|UV|CONDA|MAMBA|POETRY)(?:3|_?(?:BIN|EXE|CMD|PATH))?[)}]?", re.I)
_WHICH = re.compile(r"\$\((?:which|command -v)\s+([\w.-]+)\)")

_END = r"[\"'}`)]{0,2}(?:,\s{0,40}[\"']|\s)"
_INTO = r"\s[^;\n]{0,400}(?:\\\n[^;\n]{0,400}){0,3}"  # the rest of a command, continued lines too
_A_SHELL = (
    r"\|\s*(?:\w{1,40}=\S{0,80}\s+|sudo\s+(?:-\S{1,40}\s+){0,4}){0,3}(?:/\S{0,40}/)?"
    r"(?:(?:ba|z|da|k)?sh|python[\d.]{0,5})\b"
)
_SAVED = r"(?:\.sh\b|\.py\b|/archive/|/tarball/|/zipball/|codeload|latest/download)"
# A name, and how it stands in a text that installs with it. Names are searched for as they are, which is fast.
_INSTALLERS = (
    ("pip", rf"(?<![\w-])pip(?:[0-9.]{{0,5}}(?:\.exe)?|env|x|-sync|-compile){_END}"),
    ("uv", rf"(?<![\w-])uvx?{_END}"),
    *((name, rf"(?<![\w-]){name}{_END}") for name in ("poetry", "pdm", "conda")),
    ("mamba", rf"(?:(?<![\w-])|(?<=micro))mamba{_END}"),
    *((name, rf"(?<![\w-]){name}{_END}") for name in ("pixi", "rye", "hatch")),
    ("easy_install", rf"(?<![\w-])easy_install(?:-[0-9.]{{1,5}})?{_END}"),
    ("setup.py", r"setup\.py[\"']?,?\s+[\"']?(?:install|develop)"),
    ("piptools", r"piptools\s"),
    *((name, rf"{name}\w{{0,20}}[)}}]?[\"']?\s") for name in ("PIP", "UV", "CONDA", "MAMBA", "POETRY")),
)
_FETCHERS = (
    ("git", r"(?<![\w-])git[\"']?,?\s+(?:-\S{1,80}\s+){0,4}[\"']?clone\b"),
    ("GIT", r"GIT\w{0,20}[)}\"']{0,3}\s+(?:-\S{1,80}\s+){0,4}clone\b"),
    *(
        (name, rf"{name}{_INTO}(?:{_A_SHELL}|{_SAVED})|(?<=[(`\s]){name}\s[^\n]{{0,400}}?[)`]")
        for name in ("curl", "wget")
    ),
)
_WITHOUT = 6  # of these have commands that are no `install`, or one that is worth a search
_INSTALLS = tuple((name, re.compile(pattern)) for name, pattern in _INSTALLERS)
_FETCHES = tuple((name, re.compile(pattern)) for name, pattern in _FETCHERS)


def installs(text: str) -> bool:
    """Whether a text names an installer."""
    return _any(text, _INSTALLS if "install" in text else _INSTALLS[:_WITHOUT])


def fetches(text: str) -> bool:
    """Whether a text clones a repository, or takes in a script or an archive from elsewhere."""
    return _any(text, _FETCHES)


def worth(text: str) -> bool:
    """Whether a text does one of the two: asked before anything else is."""
    return installs(text) or fetches(text)


@lru_cache(maxsize=512)  # compiled pipelines say the same a hundred times, and each text is asked about several times
def named(text: str) -> bool:
    """`worth` of a whole value, which may be a word alone."""
    return worth(text + " ")


def _any(text: str, tests: tuple[tuple[str, re.Pattern[str]], ...]) -> bool:
    for name, pattern in tests:
        place = text.find(name)
        while place >= 0:
            if pattern.match(text, place):
                return True
            place = text.find(name, place + len(name))
    return False


def program(text: str, *, known: bool) -> str | None:
    """The tool that a program's word names: `/usr/bin/pip3.11`, `$PIP`; `python` for an interpreter, else None."""
    which = _WHICH.fullmatch(text)
    name = which[1] if which else text.replace("\\", "/").rpartition("/")[2]
    if not known and not which and name == text:
        variable = _BY_VARIABLE.fullmatch(name)
        if variable:
            return variable[1].lower()
        return "python" if re.fullmatch(r"\$\W?\w*(?:PYTHON|PY|python)\w*\W*", name) else None
    if PYTHON.fullmatch(name):
        return "python"
    match = _PROGRAM.fullmatch(name)
    found = (match[1] or match[2] or match[3]) if match else None
    return found if found in TOOLS else None
