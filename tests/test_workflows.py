"""action.yml and the workflows: linted, pinned, and the action's own script run as a runner would run it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Git, Repo

    RunCheck = Callable[..., "Outcome"]

ROOT = Path(__file__).parents[1]
ACTION = ROOT / "action.yml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
LINTED = [ACTION, *WORKFLOWS]
BIN = Path(sys.executable).parent

INJECTION = """
runs:
  using: composite
  steps:
    - shell: bash
      run: echo ${{ inputs.path }}
    - uses: actions/checkout@v4
"""


def lint(command: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which(command, path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if not tool and os.environ.get("CI") != "true":
        pytest.skip(f"{command} is not installed: see requirements-dev.txt")
    assert tool, command
    return subprocess.run([tool, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_zizmor_finds_nothing() -> None:
    done = lint("zizmor", "--offline", "--no-progress", "--color=never", *LINTED, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout + done.stderr


def test_jactionlint_finds_nothing() -> None:
    done = lint("jactionlint", "--color=never", *LINTED, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "linter", [("zizmor", "--offline", "--no-progress"), ("jactionlint",)], ids=lambda each: each[0]
)
def test_the_linters_see_an_injection(linter: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "action.yml").write_text("name: bad\ndescription: bad\ninputs:\n  path:\n    default: .\n" + INJECTION)
    done = lint(*linter, tmp_path / "action.yml", cwd=tmp_path)
    assert done.returncode not in (0, 2), done.stdout + done.stderr
    assert "template-injection" in done.stdout


@pytest.mark.parametrize("path", LINTED, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_with_its_version(path: Path) -> None:
    used = re.findall(r"^\s*-? *uses: (.*)$", path.read_text("utf-8"), re.MULTILINE)
    assert used
    pinned = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [each for each in used if not pinned.fullmatch(each) and not each.startswith("./ ")] == []


def steps() -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = yaml.safe_load(ACTION.read_text("utf-8"))["runs"]["steps"]
    return found


def test_no_script_holds_an_expression() -> None:
    scripts = [step["run"] for step in steps() if "run" in step]
    assert scripts
    assert [script for script in scripts if "${{" in script] == []


class Outcome(NamedTuple):
    """What the runner sees of the step "Check"."""

    log: str
    outputs: Mapping[str, str]
    summary: str


@pytest.fixture
def run_check(tmp_path: Path, clean_environment: Mapping[str, str]) -> RunCheck:
    """Run the script of the step "Check" in a repository, with the inputs given, as a runner's bash would."""
    (script,) = (step["run"] for step in steps() if step["name"] == "Check")
    installed = tmp_path / "temp" / "vramguard" / "bin"
    installed.mkdir(parents=True)
    (installed / "vramguard").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vramguard "$@"\n', "utf-8")
    (installed / "vramguard").chmod(0o755)
    outputs, summary = tmp_path / "outputs", tmp_path / "summary"
    files = {"RUNNER_TEMP": tmp_path / "temp", "GITHUB_OUTPUT": outputs, "GITHUB_STEP_SUMMARY": summary}
    inputs = {"PYTHONPATH": str(ROOT), "JUDGED": ".", "FAIL_ON": "error", "DIFF_BASE": "", "ARGS": ""}

    def run(root: Path, **given: str) -> Outcome:
        environment = {**clean_environment, **{key: str(path) for key, path in files.items()}, **inputs, **given}
        bash = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
        done = subprocess.run(bash, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        pairs = (line.split("=", 1) for line in outputs.read_text("utf-8").splitlines())
        return Outcome(done.stdout, dict(pairs), summary.read_text("utf-8"))

    return run


def test_the_check_of_a_bad_repository(run_check: RunCheck, repo: Repo) -> None:
    outcome = run_check(repo({"requirements.txt": "numpy>=2\n"}))
    assert outcome.outputs["exit-code"] == "1"
    assert "VG101" in outcome.log
    assert "::error " in outcome.log
    assert "VG101" in Path(outcome.outputs["sarif"]).read_text("utf-8")
    body = outcome.summary.removeprefix("### vramguard\n\n")
    assert "VG101" in body
    assert all(line.startswith("    ") for line in body.splitlines())


def test_the_check_of_what_a_shallow_pull_request_adds(
    run_check: RunCheck, repo: Repo, git: Git, tmp_path: Path
) -> None:
    origin = repo({"requirements.txt": "numpy>=2\n"}, commit="old debt")
    base = git(origin, "rev-parse", "HEAD").strip()
    repo({"notes.txt": "new\n"}, commit="a harmless change")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{origin}", "shallow")
    outcome = run_check(tmp_path / "shallow", DIFF_BASE=base)
    assert outcome.outputs["exit-code"] == "0", outcome.log


def test_the_check_takes_arguments_and_hands_on_bad_usage(run_check: RunCheck, repo: Repo) -> None:
    root = repo({"requirements.txt": "numpy>=2\n"})
    assert run_check(root, ARGS="--ignore VG1").outputs["exit-code"] == "0"
    outcome = run_check(root, ARGS="--no-such-option")
    assert outcome.outputs["exit-code"] == "2"


def test_an_input_is_never_run(run_check: RunCheck, repo: Repo) -> None:
    root = repo({"requirements.txt": ""})
    run_check(root, ARGS="$(touch run-by-args)", JUDGED="$(touch run-by-path)", DIFF_BASE="", FAIL_ON="`touch run`")
    assert [path.name for path in root.iterdir()] == ["requirements.txt"]
