"""Where an environment keeps its packages, and which Python it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attest.environments import SITE, Venv, write

from vramguard.attest import attest, find
from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("site", "version"),
    [
        ("lib/python3.11/site-packages", "3.11"),
        ("lib64/python3.12/site-packages", "3.12"),
        ("lib/python3.13t/site-packages", "3.13"),
        ("local/lib/python3.11/dist-packages", "3.11"),
        ("lib/python3/dist-packages", None),
        ("lib/pypy3.10/site-packages", "3.10"),
        ("Lib/site-packages", None),
    ],
)
def test_every_layout(tmp_path: Path, site: str, version: str | None) -> None:
    (tmp_path / site).mkdir(parents=True)
    found = find(tmp_path)
    assert (found.sites, found.python.version) == ((site,), version)
    assert found.windows == site.startswith("Lib/")
    inner = find(tmp_path / site) if site != "lib/python3/dist-packages" else found
    assert (inner.prefix, inner.sites) == (found.prefix, (site,))


def test_lib64_is_walked_once_if_it_is_a_link_and_beside_lib_if_it_is_none(tmp_path: Path) -> None:
    Venv(tmp_path)
    (tmp_path / "lib64").symlink_to("lib")
    assert find(tmp_path).sites == (SITE,)
    (tmp_path / "lib64").unlink()
    other = SITE.replace("lib/", "lib64/")
    (tmp_path / other).mkdir(parents=True)
    assert find(tmp_path).sites == (SITE, other)


@pytest.mark.parametrize(
    ("path", "text", "full"),
    [
        ("pyvenv.cfg", "VERSION = 3.11.7\n", "3.11.7"),
        ("pyvenv.cfg", "version_info = 3.11.4.final.0\n", "3.11.4"),
        ("pyvenv.cfg", "home=/usr/bin\n", None),
        ("conda-meta/python-3.11.9-h955ad1f_0.json", "", "3.11.9"),
        ("include/python3.11/patchlevel.h", '#define PY_VERSION              "3.11.2+"\n', "3.11.2"),
    ],
)
def test_the_release_of_python(tmp_path: Path, path: str, text: str, full: str | None) -> None:
    (tmp_path / SITE).mkdir(parents=True)
    write(tmp_path / path, text)
    assert find(tmp_path).python == ("cpython", "3.11", full)


def test_what_is_no_environment(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path, write(tmp_path / "file", "")):
        with pytest.raises(ConfigError, match="environment"):
            find(path)
    for version in ("3.11", "3.12"):
        (tmp_path / f"lib/python{version}/site-packages").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"holds the packages of Python 3\.11, 3\.12"):
        find(tmp_path)


def test_packages_of_another_python_are_not_walked_and_are_noted(tmp_path: Path) -> None:
    Venv(tmp_path)
    write(tmp_path / "lib/python3.9/site-packages/left.py", "")
    found = attest(find(tmp_path), None)
    assert found.differences == ()
    assert [item.kind for item in found.notes] == ["other-python"]


def test_a_folder_of_packages_that_lies_elsewhere_is_said(tmp_path: Path) -> None:
    Venv(tmp_path / "venv")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "venv/lib/python3.11/dist-packages").symlink_to(tmp_path / "elsewhere")
    assert [item.kind for item in attest(find(tmp_path / "venv"), None).differences] == ["link"]
    (tmp_path / "venv" / SITE).rmdir()
    with pytest.raises(ConfigError, match="lie outside"):
        find(tmp_path / "venv")


def test_a_target_folder_has_its_scripts_beside_the_packages(tmp_path: Path) -> None:
    venv = Venv(tmp_path / "staged")
    venv.install("alpha", files={"alpha/__init__.py": "", "alpha/x.cpython-312-x86_64-linux-gnu.so": "so"})
    info = venv.site / "alpha-1.0.dist-info"
    record = (info / "RECORD").read_text("utf-8")
    venv.site.rename(tmp_path / "target")
    write(tmp_path / "target/bin/alpha", "#!/usr/bin/python\nalpha\n")
    import base64
    import hashlib

    digest = base64.urlsafe_b64encode(hashlib.sha256(b"#!/usr/bin/python\nalpha\n").digest()).decode().rstrip("=")
    write(tmp_path / "target/alpha-1.0.dist-info/RECORD", f"{record}../../bin/alpha,sha256={digest},24\n")
    found = attest(find(tmp_path / "target"), None)
    assert found.differences == ()
    assert found.environment.python.version == "3.12"
    write(tmp_path / "target/bin/alpha", "#!/usr/bin/python3\nalpha\n")
    again = attest(find(tmp_path / "target"), None)
    assert [item.kind for item in again.differences] == ["altered"]
    assert again.digests.content == found.digests.content
