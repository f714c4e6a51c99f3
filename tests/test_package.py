"""What is installed: the wheel, an install of it elsewhere, an editable install, and the locks behind them."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

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
POLICIES = {path.name: tomli.loads(path.read_text("utf-8")) for path in (ROOT / "policies").glob("*.toml")}
QUIET = ("--quiet", "--disable-pip-version-check")


def run(*command: str | Path, cwd: Path, environment: Mapping[str, str], code: int = 0) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, clean_environment: Mapping[str, str]) -> Path:
    """The wheel, built without a network: its backend is one of the locked development tools."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "pip", *QUIET, "wheel", "--no-deps", "--no-build-isolation")
    run(*build, f"--wheel-dir={folder}", ROOT, cwd=folder, environment=clean_environment)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_policies_data_and_types_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"vramguard-{vramguard.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"vramguard", info}
    assert {name for name in names if name.startswith("vramguard/policies/")} == {
        f"vramguard/policies/{name}" for name in POLICIES
    }
    data = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vramguard" / "data").glob("*.toml")}
    assert data
    assert data | {"vramguard/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert {name for name in names if re.search(r"__pycache__|(?:^|/)tests?(?:/|_)", name)} == set()


def test_the_metadata_says_what_pyproject_says(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    info = f"vramguard-{vramguard.__version__}.dist-info"
    metadata = archive.read(f"{info}/METADATA").decode("utf-8")
    assert re.findall(r"^Requires-Python: (.*)$", metadata, re.MULTILINE) == [">=3.11"]
    assert set(re.findall(r"^Provides-Extra: (.*)$", metadata, re.MULTILINE)) == {
        *PROJECT["project"]["optional-dependencies"]
    }
    assert "vramguard=vramguard.__main__:main" in archive.read(f"{info}/entry_points.txt").decode("utf-8")
    assert PROJECT["project"]["version"] == vramguard.__version__


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, clean_environment: Mapping[str, str], registry: None) -> Path:
    """A new environment with what requirements.txt locks, and no vramguard."""
    del registry  # only its skip is wanted
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder, environment=clean_environment)
    install = (folder / "bin" / "python", "-m", "pip", *QUIET, "install", "--require-hashes")
    run(*install, "-r", ROOT / "requirements.txt", cwd=folder, environment=clean_environment)
    return folder


@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_an_install_works_away_from_the_repository(
    environment: Path, wheel: Path, clean_environment: Mapping[str, str], tmp_path: Path, *, editable: bool
) -> None:
    python, command = environment / "bin" / "python", environment / "bin" / "vramguard"
    install = (python, "-m", "pip", *QUIET, "install", "--no-deps", "--force-reinstall")
    run(*install, *(("--editable", ROOT) if editable else (wheel,)), cwd=tmp_path, environment=clean_environment)

    where = run(
        python, "-c", "import vramguard; print(vramguard.__file__)", cwd=tmp_path, environment=clean_environment
    )
    assert Path(where.strip()).is_relative_to(ROOT if editable else environment)
    version = run(command, "--version", cwd=tmp_path, environment=clean_environment)
    assert version == f"vramguard {vramguard.__version__}\n"
    rules = run(command, "rules", cwd=tmp_path, environment=clean_environment)
    assert {rule["id"] for policy in POLICIES.values() for rule in policy["rule"]} <= set(re.findall(r"VG\d{3}", rules))

    (tmp_path / "requirements.txt").write_text("numpy>=2\n", "utf-8")
    assert "VG101" in run(command, "check", cwd=tmp_path, environment=clean_environment, code=1)


def exported(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Name -> version and hashes of what a requirements file with hashes holds."""
    logical = path.read_text("utf-8").replace("\\\n", " ").splitlines()
    lines = [line.split(" --hash=") for line in logical if line and not line.startswith("#")]
    requirements = [(Requirement(line[0]), frozenset(map(str.strip, line[1:]))) for line in lines]
    return {canonicalize_name(each.name): (str(each.specifier), hashes) for each, hashes in requirements}


def locked() -> dict[str, set[tuple[str, frozenset[str]]]]:
    """Name -> versions, each with its hashes, in poetry.lock: more than one where they depend on the Python."""
    found: dict[str, set[tuple[str, frozenset[str]]]] = {}
    for package in LOCK["package"]:
        hashes = frozenset(file["hash"] for file in package["files"])
        found.setdefault(canonicalize_name(package["name"]), set()).add((f"=={package['version']}", hashes))
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_exported_files_agree_with_the_lock(name: str) -> None:
    held = locked()
    requirements = exported(ROOT / name)
    assert {name for name, pin in requirements.items() if pin not in held.get(name, set())} == set()
    assert all(hashes for _, hashes in requirements.values())


def test_the_exported_files_hold_what_pyproject_asks_for() -> None:
    runtime = {canonicalize_name(Requirement(each).name) for each in PROJECT["project"]["dependencies"]}
    tools = {canonicalize_name(name) for name in PROJECT["tool"]["poetry"]["group"]["dev"]["dependencies"]}
    assert runtime <= set(exported(ROOT / "requirements.txt"))
    assert not tools & set(exported(ROOT / "requirements.txt"))
    development = set(exported(ROOT / "requirements-dev.txt"))
    assert runtime | tools <= development
    assert not {"torch", "transformers"} & development


def test_the_lock_holds_every_extra_and_names_no_index_of_its_own() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = {canonicalize_name(Requirement(each).name) for extra in extras.values() for each in extra}
    assert wanted <= set(locked())
    assert [package["name"] for package in LOCK["package"] if "source" in package] == []


def test_the_backend_is_exact_and_the_one_that_is_locked() -> None:
    (backend,) = map(Requirement, PROJECT["build-system"]["requires"])
    assert {str(backend.specifier)} == {version for version, _ in locked()["poetry-core"]}


def test_ci_installs_the_witnesses_that_are_locked() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    named = dict(re.findall(r"\b(torch|transformers|accelerate)(==[\d.]+)", script))
    assert named == {name: next(iter(locked()[name]))[0] for name in ("torch", "transformers", "accelerate")}
