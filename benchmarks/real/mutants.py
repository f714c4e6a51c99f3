"""Break real lock files in ways that people break them, and see whether vramguard says so.

Usage: python mutants.py CHECKOUTS [--vramguard COMMAND] [--seed N]

CHECKOUTS is the folder that compare.py takes. Every mutant is one edit to one project, in a folder of its own; what it
edits is drawn with the seed. A control is an edit that changes nothing that was locked: there silence is right.
Exit code 0 when every mutant is caught and every control is silent, else 1.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Files = dict[str, str]
Edit = Callable[[Files, "Project", random.Random], None]
_KEPT = re.compile(r"pyproject\.toml|uv\.lock|poetry\.lock|.*requirements.*|.*\.in|alignments\.txt|metricx\.txt")
_BLOCK = re.compile(r"^\[\[package\]\]\n(?:(?!^\[\[package\]\]|^\[metadata\]|^\[extras\]).*\n?)*", re.MULTILINE)
_PIN = re.compile(r"^[A-Za-z0-9][^\n]*==[^\n]*\\\n(?:[ \t]+--hash[^\n]*\n)+", re.MULTILINE)
_DEPENDENCIES = re.compile(r"^dependencies = \[\n(.*?)^\]", re.MULTILINE | re.DOTALL)
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_MD5 = "md5:9e107d9d372bb6826bd81d3542a419d6"


class Project(NamedTuple):
    """A pyproject.toml and its lock, or a compiled requirements file beside what it was compiled from."""

    repository: str
    declared: str
    lock: str


class NotHereError(Exception):
    """The project has nothing that this edit could break."""


def _swap(files: Files, path: str, old: str, new: str) -> None:
    if not old or old not in files[path] or old == new:
        raise NotHereError
    files[path] = files[path].replace(old, new, 1)


def _is_poetry(project: Project) -> bool:
    return project.lock.endswith("poetry.lock")


def _only_uv(project: Project) -> None:
    if _is_poetry(project):
        raise NotHereError


def _pin(files: Files, project: Project, draw: random.Random, change: Callable[[str], str]) -> None:
    block = draw.choice(_PIN.findall(files[project.lock]))
    _swap(files, project.lock, block, change(block))


def _hashed_block(files: Files, project: Project, draw: random.Random, least: int = 1) -> str:
    blocks = [found[0] for found in _BLOCK.finditer(files[project.lock]) if len(_SHA256.findall(found[0])) >= least]
    return draw.choice(blocks)


def _drop_hashes(text: str, count: int = 0) -> str:
    return re.sub(r',? ?hash = "sha256:[0-9a-f]{64}"', "", text, count=count)


def hashes_dropped(files: Files, project: Project, draw: random.Random) -> None:
    block = _hashed_block(files, project, draw)
    _swap(files, project.lock, block, _drop_hashes(block))


def one_hash_dropped(files: Files, project: Project, draw: random.Random) -> None:
    block = _hashed_block(files, project, draw, 2)
    _swap(files, project.lock, block, _drop_hashes(block, 1))


def all_hashes_dropped(files: Files, project: Project, _draw: random.Random) -> None:
    files[project.lock] = _drop_hashes(files[project.lock])


def md5_only(files: Files, project: Project, draw: random.Random) -> None:
    block = _hashed_block(files, project, draw)
    _swap(files, project.lock, block, _SHA256.sub(_MD5, block))


def one_md5(files: Files, project: Project, draw: random.Random) -> None:
    block = _hashed_block(files, project, draw, 2)
    _swap(files, project.lock, block, _SHA256.sub(_MD5, block, count=1))


def digest_cut(files: Files, project: Project, draw: random.Random) -> None:
    block = _hashed_block(files, project, draw)
    _swap(files, project.lock, block, re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1", block))


def files_emptied(files: Files, project: Project, draw: random.Random) -> None:
    block = _hashed_block(files, project, draw)
    bare = re.sub(r"^(wheels|files) = \[\n(?:.*\n)*?\]\n", r"\1 = []\n", block, flags=re.MULTILINE)
    _swap(files, project.lock, block, re.sub(r"^sdist = .*\n", "", bare, flags=re.MULTILINE))


def _entries(files: Files, project: Project) -> list[str]:
    """The lines of the table of dependencies that could be edited alone."""
    text = files[project.declared]
    if _is_poetry(project):
        section = text.partition("[tool.poetry.dependencies]\n")[2].partition("\n[")[0]
        return [line for line in section.split("\n") if re.match(r'[a-z][\w-]* *= *"', line) and "python" not in line]
    found = _DEPENDENCIES.search(text)
    lines = found[1].split("\n") if found else []
    return [line for line in lines if re.match(r'\s*"[^"]+",?\s*$', line)]


def version_changed(files: Files, project: Project, draw: random.Random) -> None:
    old = draw.choice([line for line in _entries(files, project) if re.search(r"\d", line)])
    _swap(files, project.declared, old, re.sub(r"(\d+)", lambda digits: str(int(digits[1]) + 1), old, count=1))


def operator_changed(files: Files, project: Project, draw: random.Random) -> None:
    old = draw.choice([line for line in _entries(files, project) if re.search(r">=|\^|==", line)])
    _swap(
        files, project.declared, old, re.sub(r">=|\^|==", "~=" if '"' in old and "= " not in old else "~", old, count=1)
    )


def dependency_added(files: Files, project: Project, draw: random.Random) -> None:
    old = draw.choice(_entries(files, project))
    new = 'vllm = "0.10.2"\n' if _is_poetry(project) else '    "vllm==0.10.2",\n'
    _swap(files, project.declared, old, new + old)


def dependency_removed(files: Files, project: Project, draw: random.Random) -> None:
    old = draw.choice(_entries(files, project))
    _swap(files, project.declared, old + "\n", "")


def dependency_renamed(files: Files, project: Project, draw: random.Random) -> None:
    old = draw.choice(_entries(files, project))
    _swap(files, project.declared, old, re.sub(r"([A-Za-z][\w-]*)", r"\1-nightly", old, count=1))


def extra_changed(files: Files, project: Project, draw: random.Random) -> None:
    lines = [line for line in _entries(files, project) if re.search(r'"[\w-]+\[', line)]
    old = draw.choice(lines)
    _swap(files, project.declared, old, re.sub(r"\[[^]]*\]", "", old, count=1))


def marker_added(files: Files, project: Project, draw: random.Random) -> None:
    lines = [line for line in _entries(files, project) if line.rstrip().endswith('",') and ";" not in line]
    _only_uv(project)
    old = draw.choice(lines)
    _swap(files, project.declared, old, old.rstrip()[:-2] + "; sys_platform == 'linux'\",")


def python_changed(files: Files, project: Project, _draw: random.Random) -> None:
    found = re.search(r'^(?:requires-python|python) = ".*"', files[project.declared], re.MULTILINE)
    if not found:
        raise NotHereError
    _swap(files, project.declared, found[0], found[0].partition("=")[0] + '= ">=3.12,<3.14"')


def _add(files: Files, path: str, header: str, line: str) -> None:
    """Add a line to a table, and the table where there is none."""
    table = f"\n[{header}]\n"
    if table not in files[path]:
        files[path] += table
    _swap(files, path, table, f"{table}{line}\n")


def group_added(files: Files, project: Project, _draw: random.Random) -> None:
    if _is_poetry(project):
        _add(files, project.declared, "tool.poetry.group.load.dependencies", 'locust = "^2.31"')
    else:
        _add(files, project.declared, "dependency-groups", 'load = ["locust>=2.31"]')


def override_added(files: Files, project: Project, _draw: random.Random) -> None:
    _only_uv(project)
    _add(files, project.declared, "tool.uv", 'override-dependencies = ["numpy==1.26.4"]')


def source_moved(files: Files, project: Project, draw: random.Random) -> None:
    """A dependency now comes from a branch, while the lock still has it from the index."""
    _only_uv(project)
    name = re.findall(r'"([\w.-]+)', draw.choice(_entries(files, project)))[0]
    line = f'{name} = {{ git = "https://github.com/example/{name}", branch = "main" }}'
    _add(files, project.declared, "tool.uv.sources", line)


def locked_package_removed(files: Files, project: Project, draw: random.Random) -> None:
    """A direct dependency's entry is gone, what the lock says of the declaration is not."""
    names = [re.findall(r"[A-Za-z][\w.-]*", line)[0].lower().replace("_", "-") for line in _entries(files, project)]
    blocks = [
        f[0] for f in _BLOCK.finditer(files[project.lock]) if re.findall(r'^name = "(.*)"', f[0], re.M)[0] in names
    ]
    _swap(files, project.lock, draw.choice(blocks), "")


def locked_version_changed(files: Files, project: Project, draw: random.Random) -> None:
    """A direct dependency that is declared with == is locked at another version."""
    pairs = [
        re.findall(r'"?([A-Za-z][\w.-]*)(?:\[[^]]*\])?(?: *= *"|==)(\d[\w.]*)"', line)
        for line in _entries(files, project)
    ]
    named = {name.lower().replace("_", "-"): version for found in pairs for name, version in found}
    for name, version in sorted(named.items(), key=lambda _pair: draw.random()):
        old = f'name = "{name}"\nversion = "{version}"'
        if old in files[project.lock]:
            _swap(files, project.lock, old, f'name = "{name}"\nversion = "0.0.1"')
            return
    raise NotHereError


def content_hash_removed(files: Files, project: Project, _draw: random.Random) -> None:
    found = re.search(r"^content-hash = .*\n", files[project.lock], re.MULTILINE)
    _swap(files, project.lock, found[0] if found else "", "")


def lock_deleted(files: Files, project: Project, _draw: random.Random) -> None:
    del files[project.lock]


def tool_table_added(files: Files, project: Project, _draw: random.Random) -> None:
    files[project.declared] += "\n[tool.example]\nline-length = 100\n"


def crlf(files: Files, project: Project, _draw: random.Random) -> None:
    for path in (project.declared, project.lock):
        files[path] = files[path].replace("\n", "\r\n")


def reordered(files: Files, project: Project, _draw: random.Random) -> None:
    first, second = _entries(files, project)[:2]
    _only_uv(project)
    _swap(files, project.declared, f"{first}\n", "")
    _swap(files, project.declared, f"{second}\n", f"{second}\n{first}\n")


def respelled(files: Files, project: Project, draw: random.Random) -> None:
    """The same requirement in other capitals and with spaces."""
    _only_uv(project)
    old = draw.choice([line for line in _entries(files, project) if re.search(r'"[\w-]+>=[^;]*"', line)])
    _swap(files, project.declared, old, re.sub(r'"([\w-]+)>=', lambda name: f'"{name[1].upper()} >= ', old))


def pin_hashes_dropped(files: Files, project: Project, draw: random.Random) -> None:
    _pin(files, project, draw, lambda block: block.partition(" \\\n")[0] + "\n")


def pin_md5(files: Files, project: Project, draw: random.Random) -> None:
    _pin(files, project, draw, lambda block: block.partition("\n")[0] + f"\n    --hash={_MD5}\n")


def pin_commented(files: Files, project: Project, draw: random.Random) -> None:
    """A comment between a pin and its hashes: pip drops the hashes."""
    _pin(files, project, draw, lambda block: block.replace("\\\n", "\\\n    # tested on Monday\n", 1))


def pin_loosened(files: Files, project: Project, draw: random.Random) -> None:
    _pin(files, project, draw, lambda block: block.replace("==", ">=", 1))


def pin_wildcard(files: Files, project: Project, draw: random.Random) -> None:
    _pin(files, project, draw, lambda block: re.sub(r"==(\d+)[^ \n]*", r"==\1.*", block, count=1))


def asked_not_compiled(files: Files, project: Project, _draw: random.Random) -> None:
    files[project.declared] = "vllm\n" + files[project.declared]


def asked_changed(files: Files, project: Project, draw: random.Random) -> None:
    """The version asked for is another than the one compiled."""
    old = draw.choice(re.findall(r"^[\w-]+==[\d.]+$", files[project.declared], re.MULTILINE))
    _swap(files, project.declared, old, old.partition("==")[0] + "==99.0")


def compiled_removed(files: Files, project: Project, draw: random.Random) -> None:
    """A bare name that is asked for is no longer in the compiled file."""
    for name in re.findall(r"^([\w-]+)$", files[project.declared], re.MULTILINE):
        found = [block for block in _PIN.findall(files[project.lock]) if block.startswith(f"{name}==")]
        if found:
            _swap(files, project.lock, draw.choice(found), "")
            return
    raise NotHereError


# What must be reported, any one of it, and the edits; nothing for a control.
LOCKS: dict[str, list[Edit]] = {
    "VG105": [hashes_dropped, one_hash_dropped, all_hashes_dropped, md5_only, one_md5, digest_cut, files_emptied],
    "VG104": [version_changed, operator_changed, dependency_added, dependency_removed, dependency_renamed,
              extra_changed, marker_added, python_changed, group_added, override_added, source_moved,
              locked_package_removed, locked_version_changed, content_hash_removed],
    "VG103": [lock_deleted],
    "control": [tool_table_added, crlf, reordered, respelled],
}  # fmt: skip
COMPILED: dict[str, list[Edit]] = {
    "VG102": [pin_hashes_dropped, pin_md5, pin_commented],
    "VG101": [pin_loosened, pin_wildcard, lock_deleted],
    "VG101 VG104": [asked_changed, asked_not_compiled, compiled_removed],
}
PROJECTS = [
    *((Project(name, folder + "pyproject.toml", folder + lock), LOCKS) for name, folder, lock in (
        ("cased/kit", "", "uv.lock"),
        ("zylon-ai/private-gpt", "", "uv.lock"),
        ("h2oai/h2o-llmstudio", "", "uv.lock"),
        ("mozilla-ai/lumigator", "lumigator/backend/", "uv.lock"),
        ("langchain-ai/langserve", "", "poetry.lock"),
        ("mozilla/translations", "", "poetry.lock"),
    )),
    *((Project("mozilla/translations", stem + ".in", stem + ".txt"), COMPILED) for stem in (
        "pipeline/alignments/requirements/alignments",
        "pipeline/eval/requirements/metricx",
    )),
]  # fmt: skip


def read(checkouts: Path, project: Project) -> Files:
    """The dependency files of a project's repository."""
    root = checkouts / project.repository.replace("/", "+")
    names = [path for path in root.rglob("*") if _KEPT.fullmatch(path.name) and path.is_file()]
    wanted = {root / project.declared, root / project.lock}
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in names
        if ".git" not in path.parts and (path in wanted or path.name in ("pyproject.toml", "uv.lock"))
    }


def fired(command: list[str], files: Files) -> frozenset[str]:
    """The rules that vramguard reports on these files, each with its path."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text.encode())
        run = subprocess.run(  # noqa: S603 - the command is the caller's own
            [*command, "check", "--output-format", "json"], cwd=folder, capture_output=True, text=True, check=False
        )
    if run.returncode not in (0, 1):
        sys.exit(f"vramguard exited with {run.returncode}: {run.stderr.strip()}")
    return frozenset(f"{finding['id']}:{finding['path']}" for finding in json.loads(run.stdout)["findings"])


def broken_by(edit: Edit, name: str, files: Files, project: Project, seed: int) -> Files | None:
    """The files after the edit; None where the project has nothing that it could break."""
    broken = dict(files)
    try:
        edit(broken, project, random.Random(f"{seed} {project} {name}"))  # noqa: S311 - a draw, no secret
    except (NotHereError, IndexError):  # IndexError: a draw from nothing
        return None
    return broken


def outcome(rules: str, new: frozenset[str]) -> tuple[bool, str]:
    """Whether vramguard is right about an edit, and in words; `new` is what it says that it did not say before."""
    if rules == "control":
        return not new, f"false alarm {sorted(new)}" if new else "silent"
    caught = any(place.partition(":")[0] in rules.split() for place in new)
    return caught, "caught" if caught else f"missed {sorted(new)}"


def main() -> int:
    """Make every mutant that can be made, and print what became of it."""
    parser = argparse.ArgumentParser(description="Break real lock files and see whether vramguard says so.")
    parser.add_argument("checkouts", type=Path, help="a folder with one checkout per repository, OWNER+NAME")
    parser.add_argument("--vramguard", default="vramguard", help="the command that starts it")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    command = shlex.split(options.vramguard)
    counts: dict[str, list[int]] = {}
    for project, edits in PROJECTS:
        files = read(options.checkouts, project)
        before = fired(command, files)
        for rules, edit in ((rules, edit) for rules, group in edits.items() for edit in group):
            name = getattr(edit, "__name__", "?")
            broken = broken_by(edit, name, files, project, options.seed)
            if broken is None:
                continue
            right, words = outcome(rules, fired(command, broken) - before)
            count = counts.setdefault(rules, [0, 0])
            count[0] += right
            count[1] += 1
            print(f"{project.repository}:{project.lock} {name}: {words}")
    for rules, (good, total) in sorted(counts.items()):
        print(f"{rules}: {good} of {total}")
    return 0 if all(good == total for good, total in counts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
