"""What `init` writes: a commented vramguard.toml, the hook's entry, the workflow, and packs of remedies.

It overwrites nothing that it is not told to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard import HOME, __version__
from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from vramguard.packs import File


BASELINE = '# baseline = "vramguard-baseline.json"'

CONFIGURATION = f"""\
# vramguard: what this repository asks of a pull request. Every key is optional; `vramguard rules` lists the rules.

# The card of a deployment that names none, and the share of it that the peak may take.
# gpu = "h100-sxm5-80gb"
# budget = 0.80

# Findings of the day on which the gate came in. They do not block, new ones do.
{BASELINE}

# Where models meet hardware is read where it stands (`vramguard inspect` lists it), and `vramguard lock` writes down
# which models those are. A path that is mounted says nothing of what it holds; this does:
# models = {{"/mnt/llama" = "meta-llama/Llama-3.1-8B-Instruct"}}

# What stands in no file of this repository. Names are vLLM's; what is absent is the engine's default.
# [[deployment]]
# config = "models/llama/config.json"
# engine = "transformers"
# gpu = "h100-sxm5-80gb"
# max_model_len = 32768
# concurrency = 1

# Findings that somebody has accepted. A reason is required; `until` makes the waiver lapse.
# [[waiver]]
# rules = ["VG102"]
# paths = ["research/"]
# reason = "never installed in production"
# until = 2027-01-31
"""

HOOK = f"""\
repos:
  - repo: {HOME}
    rev: v{__version__}  # `pre-commit autoupdate --freeze` pins it to a commit
    hooks:
      - id: vramguard
"""

WORKFLOW = f"""\
name: vramguard
on:
  pull_request:
permissions:
  contents: read
jobs:
  gate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1  # v7.0.1
        with:
          fetch-depth: 0  # a revert is told from the base's history
          persist-credentials: false
      - uses: {HOME.removeprefix("https://github.com/")}@v{__version__}  # better still, the commit of that release
        with:
          diff-base: ${{{{ github.event.pull_request.base.sha }}}}
"""

FILES = (
    ("vramguard.toml", CONFIGURATION),
    (".pre-commit-config.yaml", HOOK),
    (".github/workflows/vramguard.yml", WORKFLOW),
)


def use_baseline(root: Path, name: str) -> str:
    """Have the configuration that `write` wrote name the baseline; one line that says so, or what is to be added."""
    path = root / FILES[0][0]
    if path.read_text(encoding="utf-8", errors="replace") != CONFIGURATION:
        return f'add `baseline = "{name}"` to your configuration'
    path.write_text(CONFIGURATION.replace(BASELINE, f'baseline = "{name}"'), encoding="utf-8")
    return f"{path.name}: names the baseline"


def write(root: Path) -> Iterator[str]:
    """Write each file that is not there; one line of report for each, with the text to add where one is."""
    for name, text in FILES:
        path = root / name
        if not path.parent.resolve().is_relative_to(root.resolve()):
            yield f"{name}: not written, as a link leads out of the repository there"
        elif not path.exists() and not path.is_symlink():
            _create(path, text)
            yield f"{name}: written"
        elif path.is_symlink() or not path.is_file():
            yield f"{name}: there already, but no regular file; left as it is"
        elif "vramguard" in path.read_text(encoding="utf-8", errors="replace") or name == "vramguard.toml":
            yield f"{name}: there already, left as it is"
        else:
            yield f"{name}: there already; add to it:"
            yield from (f"    {line}" for line in text.splitlines()[1:])


def write_files(root: Path, files: Iterable[File], *, force: bool = False) -> Iterator[str]:
    """Write the files of a pack; one line of report for each. `force` overwrites those that are there.

    Lines for a file that others write too (CODEOWNERS) are shown where it is there, and never written over it.
    """
    for file in files:
        path = root / file.path
        if not path.parent.resolve().is_relative_to(root.resolve()):
            yield f"{file.path}: not written, as a link leads out of the repository there"
        elif not path.exists() and not path.is_symlink():
            _create(path, file.text)
            yield f"{file.path}: written"
        elif path.is_symlink() or not path.is_file():
            yield f"{file.path}: there already, but no regular file; left as it is"
        else:
            yield from _again(path, file, force=force)


def _again(path: Path, file: File, *, force: bool) -> Iterator[str]:
    """What becomes of a file of a pack that is there."""
    held = path.read_text(encoding="utf-8", errors="replace")
    if file.lines:
        known = {line.split()[0] for line in held.splitlines() if line.strip()}
        missing = [line for line in file.text.splitlines() if line[:1] != "#" and line.split()[0] not in known]
        yield f"{file.path}: there already; add to it:" if missing else f"{file.path}: there already, and has it all"
        yield from (f"    {line}" for line in missing)
    elif held == file.text:
        yield f"{file.path}: there already, as it is written today"
    elif force:
        _create(path, file.text)
        yield f"{file.path}: overwritten"
    else:
        yield f"{file.path}: there already, left as it is (--force overwrites it)"


def _create(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write `{path}`: {error.strerror}") from error
