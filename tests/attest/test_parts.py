"""What is no difference, what is only a note, and the words with which requirements and locks are told apart."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import struct
from typing import TYPE_CHECKING, Any

import pytest
from attest.environments import Venv, compiled, row, write
from timed import within

from vramguard.attest import Attestation, attest, find
from vramguard.attest.locks import found_in, load
from vramguard.attest.record import parse
from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

UV = """version = 1
[[package]]
name = "alpha"
version = "1.0"
source = {{ {source} }}
sdist = {{ url = "https://x.example/alpha.tar.gz", hash = "sha256:{digest}" }}
"""


def kinds(found: Attestation) -> list[str]:
    return [item.kind for item in found.differences]


def notes(found: Attestation) -> list[str]:
    return [item.kind for item in found.notes]


def attested(venv: Venv, *locks: Path, allow: Collection[str] = ()) -> Attestation:
    return attest(find(venv.root), [load(path) for path in locks] or None, allow)


@pytest.fixture
def venv(tmp_path: Path) -> Venv:
    return Venv(tmp_path / "venv")


def test_who_asks_for_what_is_said_with_the_way_down(venv: Venv) -> None:
    venv.install("root", requires=["middle"])
    venv.install("middle", requires=["urllib3<2", "late ; python_version >= '3.12'"])
    venv.install("other", requires=["urllib3>=1.26", "urllib3<1.27; python_full_version == '3.11.7'"])
    venv.install("urllib3", "2.5.0")
    (item,) = attested(venv).differences
    assert (item.kind, item.distribution) == ("unmet-requirement", "urllib3 2.5.0")
    clauses: Any = item.data["clauses"]
    assert [(one["clause"], one["by"], one["chain"]) for one in clauses] == [
        ("urllib3<2", "middle 1.0", ["root", "middle"]),
        ("urllib3<1.27", "other 1.0", ["other"]),
    ]
    assert "middle 1.0 (by way of root)" in item.what


def test_a_release_that_nothing_says_makes_a_note_of_what_depends_on_it(venv: Venv) -> None:
    write(venv.root / "pyvenv.cfg", "home = /usr/bin\n")
    venv.install("alpha", requires=["gone ; python_full_version < '3.11.4'", "never ; python_full_version < '3.11'"])
    found = attested(venv)
    assert (kinds(found), notes(found)) == ([], ["missing-requirement"])


def test_requirements_in_a_circle_end(venv: Venv) -> None:
    venv.install("alpha", requires=["beta[x]"])
    venv.install("beta", requires=["alpha", "gone ; extra == 'x'"])
    (item,) = attested(venv).differences
    assert item.what.startswith("gone is asked for by beta 1.0")


def test_what_installers_write_beside_a_wheel_is_not_extra(venv: Venv) -> None:
    info = venv.install("alpha")
    for name in ("REQUESTED", "direct_url.json", "uv_cache.json", "RECORD.jws"):
        write(info / name, '{"url": "https://x.example/a.whl", "archive_info": {}}')
    write(venv.site / "README.txt", "This directory exists so that 3rd party packages can be installed\n"
          "here.  Read the source for site.py for more details.\n")  # fmt: skip
    write(venv.site / "_virtualenv.pth", "import _virtualenv")
    write(venv.site / "pip-26.3.virtualenv", "")
    found = attested(venv)
    assert (kinds(found), sorted(notes(found))) == ([], ["known-file", "known-file", "startup-hook"])
    write(venv.site / "_virtualenv.pth", "import _virtualenv ")
    assert kinds(attested(venv)) == ["startup-hook"]


def test_one_file_of_two_distributions_is_fine_if_they_agree(venv: Venv) -> None:
    venv.install("alpha", files={"shared/__init__.py": ""})
    venv.install("beta", files={"shared/__init__.py": ""})
    assert kinds(attested(venv)) == []


def test_stronger_hashes_are_compared_as_well(venv: Venv) -> None:
    info = venv.install("alpha")
    write(venv.site / "alpha/strong.py", "s")
    venv.record(info, row("alpha/strong.py", b"s", "sha512"))
    assert kinds(attested(venv)) == []
    write(venv.site / "alpha/strong.py", "t")
    assert kinds(attested(venv)) == ["altered"]


def test_hooks_that_are_as_recorded_are_notes(venv: Venv) -> None:
    files = {
        "hook.pth": "import alpha\n# no code\n",
        "sitecustomize.py": "",
        "alpha.py": "",
        "usercustomize/__init__.py": "",
    }
    venv.install("alpha", files=files)
    found = attested(venv)
    assert (kinds(found), notes(found)) == ([], ["startup-hook"] * 3)


def test_an_editable_install_may_be_allowed(venv: Venv, tmp_path: Path) -> None:
    said = json.dumps({"url": "file:///src", "dir_info": {"editable": True}})
    venv.install("My.Project", files={"__editable__.p.pth": "/src\n"}, more={"direct_url.json": said})
    write(tmp_path / "pyproject.toml", '[project]\nname = "my-project"\nversion = "1"\n')
    lock = write(tmp_path / "requirements.txt", "")
    assert kinds(attested(venv, lock)) == ["editable"]
    assert "file:///src" in attested(venv, lock).differences[0].what
    found = attested(venv, lock, allow=["my-project"])
    assert (kinds(found), notes(found)) == ([], ["editable"])


def test_older_installs_own_what_they_list(venv: Venv) -> None:
    write(venv.site / "alpha-1.0-py3.11.egg-info/PKG-INFO", "Name: alpha\nVersion: 1.0\n")
    write(venv.site / "alpha-1.0-py3.11.egg-info/installed-files.txt", "../alpha/__init__.py\nPKG-INFO\n")
    write(venv.site / "alpha-1.0-py3.11.egg-info/requires.txt", "beta>=3\n\n[fast:python_version < '3']\ngone\n")
    write(venv.site / "alpha/__init__.py", "")
    write(venv.site / "beta-2.0.egg-info", "Name: beta\nVersion: 2.0\n")
    write(venv.site / "gamma-1.0-py3.11.egg/EGG-INFO/PKG-INFO", "Name: gamma\nVersion: 1.0\n")
    found = attested(venv)
    assert kinds(found) == ["no-record", "no-record", "no-record", "unmet-requirement"]
    assert [held.distribution.shown for held in found.distributions] == ["alpha 1.0", "beta 2.0", "gamma 1.0"]


def test_bytecode_that_fits_by_hash(venv: Venv) -> None:
    venv.install("alpha", files={"alpha/a.py": "A = 1\n", "alpha/b.py": "B = 1\n", "alpha/c.py": "", "alpha/t.py": ""})
    compiled(venv.site / "alpha/a.py", flags=3)
    compiled(venv.site / "alpha/b.py", flags=1)
    compiled(venv.site / "alpha/c.py", tag="cpython-310", magic=3439)
    compiled(venv.site / "alpha/t.py", tag="cpython-311-pytest-9.2.0")
    compiled(venv.site / "alpha/t.py", tag="cpython-311.opt-2")
    found = attested(venv)
    assert (kinds(found), notes(found)) == ([], ["unchecked-bytecode", "foreign-bytecode"])


def test_bytecode_of_an_older_python_has_a_hash_that_only_it_computes(venv: Venv) -> None:
    venv = Venv(venv.root.parent / "old", "lib/python3.10/site-packages")
    write(venv.root / "pyvenv.cfg", "version = 3.10.13\n")
    venv.install("alpha", files={"alpha/a.py": "A = 1\n", "alpha/b.py": "B = 1\n"})
    compiled(venv.site / "alpha/a.py", flags=3, tag="cpython-310", magic=3439)
    compiled(venv.site / "alpha/b.py", flags=1, tag="cpython-310", magic=3439)
    found = attested(venv)
    assert (kinds(found), notes(found)) == (["unchecked-bytecode"], ["unread-bytecode"])


def test_bytecode_that_a_wheel_brought_may_be_compiled_anew(venv: Venv) -> None:
    info = venv.install("alpha", files={"alpha/a.py": "A = 1\n", "alpha/only.pyc": b""})
    cached = compiled(venv.site / "alpha/a.py")
    venv.record(info, row("alpha/__pycache__/a.cpython-311.pyc", cached.read_bytes() + b"other"))
    venv.record(info, "alpha/__pycache__/a.cpython-311.pyc,,")
    venv.record(info, "alpha/__pycache__/gone.cpython-311.pyc,,")
    only = cached.read_bytes()
    write(venv.site / "alpha/only.pyc", only)
    record = info / "RECORD"
    empty = row("alpha/only.pyc", b"")
    record.write_text(record.read_text("utf-8").replace(empty, row("alpha/only.pyc", only)), "utf-8")
    found = attested(venv)
    assert (kinds(found), notes(found)) == ([], ["orphan-bytecode", "recompiled-bytecode"])


@pytest.mark.parametrize(
    ("source", "said", "expected"),
    [
        ('registry = "https://pypi.org/simple"', None, []),
        ('url = "https://x.example/alpha.tar.gz"', {"archive_info": {"hash": f"sha256={'1' * 64}"}}, []),
        ('url = "https://x.example/alpha.tar.gz"', {"archive_info": {"hashes": {"sha256": "1" * 64}}}, []),
        ('url = "https://x.example/alpha.tar.gz"', {"archive_info": {"hashes": {"sha256": "2" * 64}}}, ["source"]),
        ('url = "https://x.example/alpha.tar.gz"', {"archive_info": {}}, ["source"]),
        (f'git = "https://x.example/alpha#{"a" * 40}"', {"vcs_info": {"vcs": "git", "commit_id": "a" * 40}}, []),
        (
            f'git = "https://x.example/alpha#{"a" * 40}"',
            {"vcs_info": {"vcs": "git", "commit_id": "b" * 40}},
            ["source"],
        ),
        (f'git = "https://x.example/alpha#{"a" * 40}"', None, ["source"]),
        ('editable = "."', {"dir_info": {}}, []),
    ],
)
def test_where_a_distribution_came_from(
    venv: Venv, tmp_path: Path, source: str, said: dict[str, Any] | None, expected: list[str]
) -> None:
    more = {"direct_url.json": json.dumps({"url": "https://x.example/alpha.tar.gz", **said})} if said else None
    venv.install("alpha", more=more)
    lock = write(tmp_path / "uv.lock", UV.format(source=source, digest="1" * 64))
    assert kinds(attested(venv, lock)) == expected


def test_what_a_lock_has_beside_is_a_note(venv: Venv, tmp_path: Path) -> None:
    lock = write(tmp_path / "uv.lock", UV.format(source='registry = "https://pypi.org/simple"', digest="1" * 64))
    found = attested(venv, lock)
    assert (kinds(found), notes(found)) == ([], ["locked-only"])


@pytest.mark.parametrize(
    ("installed", "fits"), [("1.0", True), ("1.0.0", True), ("1.0+cu118", False), ("1.0.post1", False)]
)
def test_versions_are_compared_whole(venv: Venv, tmp_path: Path, installed: str, fits: bool) -> None:  # noqa: FBT001
    venv.install("alpha", installed)
    lock = write(tmp_path / "requirements.txt", f"Alpha==1.0 --hash=sha256:{'1' * 64}\n")
    assert kinds(attested(venv, lock)) == ([] if fits else ["version"])
    assert kinds(attested(venv, lock, allow=["alpha"])) == []


def test_pip_is_no_difference_unless_somebody_asks_for_it(venv: Venv, tmp_path: Path) -> None:
    lock = write(tmp_path / "requirements.txt", "")
    venv.install("pip")
    found = attested(venv, lock)
    assert (kinds(found), notes(found)) == ([], ["not-in-lock"])
    venv.install("alpha", requires=["pip"])
    assert kinds(attested(venv, lock, allow=["alpha"])) == ["not-in-lock"]


def test_a_requirements_file_takes_in_others(venv: Venv, tmp_path: Path) -> None:
    venv.install("alpha")
    venv.install("beta", "2.0")
    main = write(tmp_path / "requirements.txt", "-r more.txt\nbeta==2.0\n")
    write(tmp_path / "more.txt", "alpha==1.0\n-r requirements.txt\n")
    assert kinds(attested(venv, main)) == []
    write(tmp_path / "more.txt", "-r ../above.txt\n")
    with pytest.raises(ConfigError, match="name it by --lock"):
        load(main)


ONE, TWO = "1" * 64, "a" * 40
ARCHIVE = {"url": "https://x.example/alpha-1.0.tar.gz", "archive_info": {"hash": f"sha256={ONE}"}}
FOLDER = {"url": "file:///src/my-alpha", "dir_info": {}}
COMMIT = {"url": "https://x.example/alpha", "vcs_info": {"vcs": "git", "commit_id": TWO}}


@pytest.mark.parametrize(
    ("line", "said", "expected"),
    [
        (f"alpha @ https://x.example/alpha-1.0.tar.gz#sha256={ONE}", ARCHIVE, []),
        (f"alpha @ https://x.example/alpha-1.0.tar.gz --hash=sha256:{ONE}", ARCHIVE, []),
        (f"alpha @ https://x.example/alpha-1.0.tar.gz#sha256={'2' * 64}", ARCHIVE, ["source"]),
        (f"alpha==1.0 --hash=sha256:{ONE}", ARCHIVE, []),
        (f"git+https://x.example/alpha@{TWO}", COMMIT, []),
        (f"git+https://x.example/alpha@{'b' * 40}", COMMIT, ["source"]),
        ("./parts/my-alpha[fast]", FOLDER, []),
        ("./parts/other", FOLDER, ["not-in-lock"]),
        ("./dist/alpha-1.0-py3-none-any.whl", None, []),
        ("./dist/alpha-1.1-py3-none-any.whl", None, ["version"]),
        ("alpha @ file:///src/my-alpha", FOLDER, []),
    ],
)
def test_lines_that_are_urls_and_paths(venv: Venv, tmp_path: Path, line: str, said: Any, expected: list[str]) -> None:  # noqa: ANN401
    venv.install("alpha", more={"direct_url.json": json.dumps(said)} if said else None)
    assert kinds(attested(venv, write(tmp_path / "requirements.txt", f"{line}\n"))) == expected


def test_which_lock_is_found(tmp_path: Path) -> None:
    assert found_in(tmp_path) == ([], [])
    loose = write(tmp_path / "requirements.txt", "alpha>=1\n")
    assert found_in(tmp_path) == ([], [])
    loose.write_text("alpha==1\n", "utf-8")
    assert found_in(tmp_path) == ([loose], [])
    uv = write(tmp_path / "uv.lock", UV.format(source='editable = "."', digest="1" * 64))
    assert found_in(tmp_path) == ([uv], ["requirements.txt"])


@pytest.mark.parametrize("content", ["{", "a: b", "[tool.x]\n"])
def test_what_is_no_lock(tmp_path: Path, content: str) -> None:
    for name in ("gone.lock", "config.json", "pyproject.toml"):
        if name != "gone.lock":
            write(tmp_path / name, content)
        with pytest.raises(ConfigError):
            load(tmp_path / name)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe",
        b"a\0b,,\n",
        b'"' * 200_000,
        b"x" * 200_000 + b",,\n",
        b"a,sha256=!,1\n",
        b"a,,x\n",
        b"a,b,c,d\n",
        b",,\n",
    ],
)
def test_any_bytes_are_a_record_or_a_flaw(venv: Venv, data: bytes) -> None:
    assert parse(data).flaws
    info = venv.install("alpha")
    (info / "RECORD").write_bytes(data)
    assert "broken-record" in kinds(attested(venv))


def test_hostile_metadata_is_a_finding(venv: Venv) -> None:
    info = venv.install("alpha")
    for data in (b"", b"\xff\0" * 1000, b"Name: x\n" * 10_000, b"Requires-Dist: " + b"(" * 100_000 + b"\n", b" \n" * 9):
        (info / "METADATA").write_bytes(data)
        found = kinds(attested(venv))
        assert "altered" in found
        assert "broken-metadata" in found


def test_a_path_out_of_the_environment_is_never_opened(venv: Venv, tmp_path: Path) -> None:
    """The hash of the file outside is right, and the file there is a pipe on which a reader would wait."""
    import os

    os.mkfifo(tmp_path / "outside")
    info = venv.install("alpha")
    venv.record(info, row("../../../../outside", b""))
    (venv.root / "bin").symlink_to(tmp_path)
    venv.record(info, row("../../../bin/outside", b""))
    assert kinds(attested(venv)) == ["record-outside", "link"]


def test_five_thousand_files_in_three_seconds(venv: Venv) -> None:
    for number in range(25):
        files = {f"p{number}/m{index}.py": f"X = {index}\n" * 50 for index in range(200)}
        venv.install(f"p{number}", files=files)
    with within(3):
        found = attested(venv)
    assert (kinds(found), found.digests.files) == ([], 25 * 201)


def test_headers_with_large_times_are_cut_as_python_cuts_them(venv: Venv) -> None:
    import os

    venv.install("alpha", files={"alpha/a.py": "A = 1\n"})
    os.utime(venv.site / "alpha/a.py", (1 << 33, (1 << 33) + 7))
    compiled(venv.site / "alpha/a.py")
    assert kinds(attested(venv)) == []
    source = venv.site / "alpha/a.py"
    cached = venv.site / "alpha/__pycache__/a.cpython-311.pyc"
    assert struct.unpack("<I", cached.read_bytes()[8:12]) == (7,)
    shutil.rmtree(source.parent)
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"A = 1\n").digest()).decode().rstrip("=")
    assert digest in (venv.site / "alpha-1.0.dist-info/RECORD").read_text("utf-8")
    assert kinds(attested(venv)) == ["missing"]
