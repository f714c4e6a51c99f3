"""The pre-commit hook as a user meets it: the real pre-commit, this repository, and another one that adopts it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Git, Repo

pytest.importorskip("pre_commit", reason="pre-commit is not installed: see requirements-dev.txt")

ROOT = Path(__file__).parents[1]
PINNED = "numpy==2.4.6 --hash=sha256:" + "0" * 64 + "\n"


@pytest.fixture(scope="module")
def hook_repository(tmp_path_factory: pytest.TempPathFactory, git: Git) -> Path:
    """A repository with one commit: the working tree as it stands, less what git ignores."""
    root = tmp_path_factory.mktemp("hook") / "vramguard"
    names = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # a file deleted but not yet committed is still listed
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=as it stands")
    return root


@pytest.fixture(scope="module")
def environment(
    tmp_path_factory: pytest.TempPathFactory, clean_environment: Mapping[str, str], registry: None
) -> Mapping[str, str]:
    """Where pre-commit keeps what it installs, shared by the tests of this file so that it installs once."""
    del registry  # only its skip is wanted: pre-commit installs the hook's dependencies from it
    return {**clean_environment, "PRE_COMMIT_HOME": str(tmp_path_factory.mktemp("pre-commit"))}


def pre_commit(*arguments: str | Path, cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "pre_commit", *arguments)
    return subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


@pytest.mark.parametrize(
    ("command", "name"),
    [("validate-manifest", ".pre-commit-hooks.yaml"), ("validate-config", ".pre-commit-config.yaml")],
)
def test_both_files_are_valid(command: str, name: str, clean_environment: Mapping[str, str]) -> None:
    done = pre_commit(command, ROOT / name, cwd=ROOT, environment=clean_environment)
    assert (done.returncode, done.stdout) == (0, "")


def test_try_repo_rejects_and_accepts(hook_repository: Path, environment: Mapping[str, str], repo: Repo) -> None:
    root = repo({"requirements.txt": "numpy>=2\n"}, commit="a range")
    done = pre_commit("try-repo", hook_repository, "vramguard", "--all-files", cwd=root, environment=environment)
    assert done.returncode == 1, done.stdout
    assert "VG101" in done.stdout

    root = repo({"requirements.txt": PINNED}, commit="an exact version with its hash")
    done = pre_commit("try-repo", hook_repository, "vramguard", "--all-files", cwd=root, environment=environment)
    assert done.returncode == 0, done.stdout
    assert "Passed" in done.stdout


@pytest.fixture
def adopt(hook_repository: Path, environment: Mapping[str, str], git: Git) -> Callable[[Path], None]:
    """Put the hook into a repository and let git run it before every commit."""

    def install(root: Path) -> None:
        revision = git(hook_repository, "rev-parse", "HEAD").strip()
        configuration = f"repos:\n  - repo: {hook_repository}\n    rev: {revision}\n    hooks:\n      - id: vramguard\n"
        (root / ".pre-commit-config.yaml").write_text(configuration, "utf-8")
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "--message=adopt the hook")
        done = pre_commit("install", cwd=root, environment=environment)
        assert done.returncode == 0, done.stdout

    return install


def commit(root: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = ("git", "commit", "--all", "--message=change")
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_a_commit_that_only_deletes_the_lock_is_stopped(
    adopt: Callable[[Path], None], environment: Mapping[str, str], repo: Repo
) -> None:
    declared = '[project]\nname = "a"\nversion = "1"\ndependencies = ["numpy>=2"]\n'
    lock = (
        'lock-version = "1.0"\ncreated-by = "a test"\n[[packages]]\nname = "numpy"\nversion = "2.4.6"\n'
        'wheels = [{ name = "numpy-2.4.6-py3-none-any.whl", url = "https://example.invalid/numpy-2.4.6-py3-none-any.whl",'
        f' hashes = {{ sha256 = "{"0" * 64}" }} }}]\n'
    )
    root = repo({"pyproject.toml": declared, "pylock.toml": lock}, commit="declared and locked")
    adopt(root)
    (root / "pylock.toml").unlink()
    done = commit(root, environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "VG103" in done.stdout + done.stderr


def test_a_clean_commit_goes_through(
    adopt: Callable[[Path], None], environment: Mapping[str, str], repo: Repo, git: Git
) -> None:
    root = repo({"requirements.txt": PINNED, "sub/notes.txt": "a\n"}, commit="pinned")
    adopt(root)
    repo({"sub/notes.txt": "b\n"})
    done = commit(root / "sub", environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(root, "log", "-1", "--format=%s") == "change\n"
