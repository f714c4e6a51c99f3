"""What several test files share: a throwaway repository, git that obeys no one's configuration, and the registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Git(Protocol):
    def __call__(self, root: Path, *arguments: str) -> str: ...


class Repo(Protocol):
    def __call__(self, files: Mapping[str, str | bytes | None], *, commit: str | None = None) -> Path: ...


@pytest.fixture(scope="session", autouse=True)
def _no_models_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What this machine's Hugging Face cache holds, and its tokens, decide nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(tmp_path_factory.mktemp("models")))
        for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HUGGINGFACE_HUB_CACHE", "HUGGING_FACE_HUB_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("HF_TOKEN_PATH", os.devnull)
        yield


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of this repository."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def clean_environment() -> Mapping[str, str]:
    """The environment less what git, a hook or a colour setting left in it, with an author for commits."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "PRE_COMMIT", "FORCE_COLOR"))
    }
    author = {f"GIT_{who}_{what}": "test@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return kept | author | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def git(clean_environment: Mapping[str, str]) -> Git:
    """`git(root, "log", "-1")` runs git there and returns its output; a failure fails the test, with git's words."""

    def run(root: Path, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=root, env=clean_environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def repo(tmp_path: Path, git: Git) -> Repo:
    """`repo({"a/b.txt": "text"})` writes files under one temporary folder and returns it; None removes a file.

    With `commit="message"` the folder is a git repository and everything in it is committed. Calls add up, so a second
    call with a commit makes a second commit.
    """
    root = tmp_path / "repo"

    def build(files: Mapping[str, str | bytes | None], *, commit: str | None = None) -> Path:
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            _write(root / name, content)
        if commit is not None:
            if not (root / ".git").exists():
                git(root, "init", "--quiet", "--initial-branch=main")
            git(root, "add", "--all")
            git(root, "commit", "--quiet", "--allow-empty", f"--message={commit}")
        return root

    return build


def _write(path: Path, content: str | bytes | None) -> None:
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip the test where pip reaches no package registry; in CI that is a failure, never a skip."""
    target = tmp_path_factory.mktemp("registry")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=0", "--timeout=10"]
    done = subprocess.run(
        [*pip, f"--dest={target}", "iniconfig==2.3.1"], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode and os.environ.get("CI") != "true":
        pytest.skip("pip reaches no package registry")
    assert done.returncode == 0, done.stderr
