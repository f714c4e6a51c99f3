"""What is installed: the wheel, an install of it elsewhere, an editable install, and the locks behind both."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vramguard

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
PROJECT = tomli.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = tomli.loads((ROOT / "poetry.lock").read_text("utf-8"))

# The backend is a locked development tool, so building needs neither isolation nor a network.
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, clean_environment: Mapping[str, str]) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", ROOT, cwd=folder, environment=clean_environment)
    (built,) = folder.glob("*.whl")
    return built


def borrower(folder: Path, environment: Mapping[str, str]) -> Path:
    """A new environment that has none of ours, and reads our dependencies from the one that runs the tests."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent, environment=environment)
    (site,) = folder.glob("lib/python*/site-packages")
    ours = Path(tomli.__file__).parents[1]
    # As a path at the very end, without its own .pth files: an editable vramguard there stays out of reach.
    (site / "dependencies.pth").write_text(f"{ours}\\n", "utf-8")
    return folder / "bin" / "python"
