"""Each kind of difference: an environment that is clean, one thing tampered with, and that kind alone is said."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attest.environments import CFG, Venv, compiled, row, write

from vramguard.attest import KINDS, Attestation, attest, find
from vramguard.attest.locks import load

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK = "alpha==1.0 --hash=sha256:{0}\nbeta==2.0 --hash=sha256:{0}\n".format("0" * 64)


class Case:
    """A clean environment with a lock beside it, and what is expected of it."""

    def __init__(self, folder: Path) -> None:
        self.venv = Venv(folder / "venv")
        self.site = self.venv.site
        self.lock = write(folder / "requirements.txt", LOCK)
        self.alpha = self.venv.install("alpha", "1.0", requires=["beta>=2"], scripts=["alpha"])
        self.beta = self.venv.install("beta", "2.0", {"beta/__init__.py": "B = 2\n", "beta/more.py": "M = 1\n"})
        self.pyc = compiled(self.site / "beta/more.py")
        self.expected: list[str] = []
        self.no_lock = False

    def attested(self) -> Attestation:
        locks = [] if self.no_lock else [load(self.lock)]
        return attest(find(self.venv.root), locks, (), self.expected)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_what_is_as_recorded_is_clean(case: Case) -> None:
    assert case.attested().differences == ()


TAMPERED: dict[str, Callable[[Case], object]] = {}


def tampered(kind: str) -> Callable[[Callable[[Case], object]], Callable[[Case], object]]:
    """Name the kind of difference that a function brings about."""

    def keep(function: Callable[[Case], object]) -> Callable[[Case], object]:
        TAMPERED[f"{kind}/{function.__name__}"] = function
        return function

    return keep


@tampered("altered")
def altered(case: Case) -> None:
    write(case.site / "beta/__init__.py", "B = 3\n")


@tampered("altered")
def altered_script(case: Case) -> None:
    write(case.venv.root / "bin/alpha", "#!/bin/sh\nimport os\n")


@tampered("altered")
def only_the_size(case: Case) -> None:
    path = case.beta / "RECORD"
    path.write_text(path.read_text("utf-8").replace(",6\n", ",7\n"), "utf-8")


@tampered("missing")
def missing(case: Case) -> None:
    (case.site / "alpha/__init__.py").unlink()


@tampered("extra")
def extra_module(case: Case) -> None:
    write(case.site / "alpha/plugin.py", "")


@tampered("extra")
def extra_package(case: Case) -> None:
    write(case.site / "gamma/__init__.py", "")
    write(case.site / "gamma/inner/__init__.py", "")


@tampered("extra")
def set_aside_by_pip(case: Case) -> None:
    write(case.site / "~lpha-0.9.dist-info/METADATA", "Name: alpha\nVersion: 0.9\n")


@tampered("clobbered")
def clobbered(case: Case) -> None:
    case.venv.record(case.alpha, row("beta/__init__.py", b"other"))


@tampered("unhashed")
def unhashed(case: Case) -> None:
    write(case.site / "beta/bare.py", "")
    case.venv.record(case.beta, "beta/bare.py,,")


@tampered("weak-hash")
def weak_hash(case: Case) -> None:
    write(case.site / "beta/weak.py", "w")
    case.venv.record(case.beta, row("beta/weak.py", b"w", "md5"))


@tampered("no-record")
def no_record(case: Case) -> None:
    (case.beta / "RECORD").unlink()
    write(case.beta / "top_level.txt", "beta\n")


@tampered("broken-record")
def too_few_columns(case: Case) -> None:
    case.venv.record(case.beta, "beta/more.py")


@tampered("broken-record")
def not_utf8(case: Case) -> None:
    write(case.site / os.fsdecode(b"beta/\xff.txt"), "x")
    path = case.beta / "RECORD"
    path.write_bytes(path.read_bytes() + row("beta/?.txt", b"x").encode().replace(b"?", b"\xff") + b"\n")


@tampered("broken-record")
def two_hashes_of_one_file(case: Case) -> None:
    case.venv.record(case.beta, row("beta/more.py", b"other"))


@tampered("record-outside")
def record_outside(case: Case) -> None:
    case.venv.record(case.beta, "../../../../../../../../../etc/passwd,sha256=AAAA,1")
    case.venv.record(case.beta, "/etc/passwd,sha256=AAAA,1")


@tampered("link")
def link_out(case: Case) -> None:
    (case.site / "alpha/__init__.py").unlink()
    (case.site / "alpha/__init__.py").symlink_to("/etc/passwd")


@tampered("link")
def link_of_a_folder_out(case: Case) -> None:
    outside = case.venv.root.parent / "outside"
    shutil.move(case.site / "alpha", outside)
    (case.site / "alpha").symlink_to(outside)


@tampered("link")
def link_of_a_script_out(case: Case) -> None:
    (case.venv.root / "bin/alpha").unlink()
    (case.venv.root / "bin/alpha").symlink_to("/bin/true")


@tampered("unreadable")
def pipe(case: Case) -> None:
    (case.site / "alpha/__init__.py").unlink()
    os.mkfifo(case.site / "alpha/__init__.py")


@tampered("broken-metadata")
def another_name(case: Case) -> None:
    moved = case.site / "alpha-9.9.dist-info"
    case.alpha.rename(moved)
    path = moved / "RECORD"
    path.write_text(path.read_text("utf-8").replace("alpha-1.0", "alpha-9.9"), "utf-8")


@tampered("broken-metadata")
def broken_requirement(case: Case) -> None:
    case.venv.install("beta", "2.0", {"beta/__init__.py": "", "beta/more.py": "M = 1\n"}, ["???"])


@tampered("broken-metadata")
def broken_direct_url(case: Case) -> None:
    write(case.beta / "direct_url.json", "[" * 100_000)


@tampered("broken-metadata")
def unreadable_requires_python(case: Case) -> None:
    case.venv.install(
        "beta", "2.0", {"beta/more.py": "M = 1\n", "beta/__init__.py": ""}, headers="Requires-Python: ??\n"
    )


@tampered("duplicate")
def duplicate(case: Case) -> None:
    case.lock.write_text(LOCK + "alpha==1.1\n", "utf-8")
    case.venv.install("alpha", "1.1", {"alpha_again.py": ""})


@tampered("no-lock")
def no_lock(case: Case) -> None:
    case.no_lock = True


@tampered("not-in-lock")
def not_in_lock(case: Case) -> None:
    case.venv.install("gamma")


@tampered("not-in-lock")
def setuptools_that_is_asked_for(case: Case) -> None:
    case.venv.install("setuptools")
    case.venv.install("beta", "2.0", {"beta/more.py": "M = 1\n", "beta/__init__.py": ""}, ["setuptools"])


@tampered("not-installed")
def not_installed(case: Case) -> None:
    case.lock.write_text(LOCK + "gamma==1 ; python_version >= '3.11'\ndelta==1 ; python_version < '3'\n", "utf-8")


@tampered("version")
def version(case: Case) -> None:
    case.lock.write_text(LOCK.replace("beta==2.0", "beta==2.0.1"), "utf-8")


@tampered("version")
def version_that_nobody_fixed(case: Case) -> None:
    case.lock.write_text(LOCK.replace("beta==2.0 --hash=sha256:" + "0" * 64, "beta>=2.0"), "utf-8")


@tampered("source")
def from_another_archive(case: Case) -> None:
    said = '{"url": "https://x.example/beta.whl", "archive_info": {"hashes": {"sha256": "11"}}}'
    case.venv.install(
        "beta", "2.0", {"beta/more.py": "M = 1\n", "beta/__init__.py": ""}, more={"direct_url.json": said}
    )


@tampered("source")
def from_a_commit(case: Case) -> None:
    said = '{"url": "https://x.example/beta", "vcs_info": {"vcs": "git", "commit_id": "%s"}}' % ("a" * 40)
    case.venv.install(
        "beta", "2.0", {"beta/more.py": "M = 1\n", "beta/__init__.py": ""}, more={"direct_url.json": said}
    )


@tampered("source")
def from_a_folder(case: Case) -> None:
    said = '{"url": "file:///src/beta", "dir_info": {}}'
    case.venv.install(
        "beta", "2.0", {"beta/more.py": "M = 1\n", "beta/__init__.py": ""}, more={"direct_url.json": said}
    )


@tampered("missing-requirement")
def missing_requirement(case: Case) -> None:
    case.venv.install("alpha", "1.0", requires=["beta>=2", "gamma", "delta ; extra == 'x'"])


@tampered("missing-requirement")
def missing_for_an_extra_that_is_asked_for(case: Case) -> None:
    case.venv.install("alpha", "1.0", requires=["beta[Fast]"])
    case.venv.install("beta", "2.0", {"beta/more.py": "M = 1\n", "beta/__init__.py": ""}, ["gamma ; extra == 'fast'"])


@tampered("unmet-requirement")
def unmet_requirement(case: Case) -> None:
    case.venv.install("alpha", "1.0", requires=["beta>=2.1"])


@tampered("requires-python")
def requires_python(case: Case) -> None:
    case.venv.install(
        "beta", "2.0", {"beta/more.py": "M = 1\n", "beta/__init__.py": ""}, headers="Requires-Python: <3.11\n"
    )


@tampered("editable")
def editable(case: Case) -> None:
    said = '{"url": "file:///src/beta", "dir_info": {"editable": true}}'
    case.venv.install(
        "beta", "2.0", {"beta.pth": "/src/beta\n", "beta/more.py": "M = 1\n"}, more={"direct_url.json": said}
    )
    (case.site / "beta/__init__.py").unlink()


@tampered("editable")
def egg_link(case: Case) -> None:
    shutil.rmtree(case.beta)
    shutil.rmtree(case.site / "beta")
    write(case.site / "beta.egg-link", "/src/beta\n.")


@tampered("startup-hook")
def hook_without_a_record(case: Case) -> None:
    write(case.site / "hook.pth", "# a comment\nimport os; os.environ\n")


@tampered("startup-hook")
def pth_that_adds_nothing_new(case: Case) -> None:
    write(case.site / "hook.pth", "beta\n")


@tampered("startup-hook")
def sitecustomize(case: Case) -> None:
    write(case.site / "sitecustomize.py", "")


@tampered("startup-hook")
def sitecustomize_beside_the_packages(case: Case) -> None:
    write(case.site.parent / "usercustomize.py", "")


@tampered("outside-path")
def outside_path(case: Case) -> None:
    files = {"beta/more.py": "M = 1\n", "beta/__init__.py": "", "beta.pth": "../../../../src\n"}
    case.venv.install("beta", "2.0", files)


@tampered("system-site-packages")
def system_site_packages(case: Case) -> None:
    write(case.venv.root / "pyvenv.cfg", CFG.replace("false", "true"))


@tampered("stale-bytecode")
def touched_source(case: Case) -> None:
    source = case.site / "beta/more.py"
    os.utime(source, (source.stat().st_atime, source.stat().st_mtime + 2))


@tampered("stale-bytecode")
def another_hash(case: Case) -> None:
    data = compiled(case.site / "beta/more.py", flags=3).read_bytes()
    case.pyc.write_bytes(data[:8] + bytes(8) + data[16:])


@tampered("unchecked-bytecode")
def another_hash_that_nobody_checks(case: Case) -> None:
    data = compiled(case.site / "beta/more.py", flags=1).read_bytes()
    case.pyc.write_bytes(data[:8] + bytes(8) + data[16:])


@tampered("orphan-bytecode")
def orphan_that_is_cached(case: Case) -> None:
    case.pyc.rename(case.pyc.with_name("gone.cpython-311.pyc"))


@tampered("orphan-bytecode")
def orphan_that_runs(case: Case) -> None:
    case.pyc.rename(case.site / "beta/gone.pyc")


@tampered("foreign-bytecode")
def foreign_bytecode(case: Case) -> None:
    compiled(case.site / "beta/more.py", magic=3531)


@tampered("broken-bytecode")
def empty_bytecode(case: Case) -> None:
    case.pyc.write_bytes(b"")


@tampered("broken-bytecode")
def unknown_flags(case: Case) -> None:
    compiled(case.site / "beta/more.py", flags=4)


@tampered("digest")
def another_digest(case: Case) -> None:
    case.expected = [f"sha256:{'0' * 64}"]


@pytest.mark.parametrize("name", TAMPERED)
def test_one_thing_tampered_with_is_one_kind_of_difference(case: Case, name: str) -> None:
    kind = name.partition("/")[0]
    TAMPERED[name](case)
    if (
        name in ("missing-requirement/missing_requirement", "unmet-requirement/unmet_requirement")
        or "extra_that" in name
    ):
        (case.venv.root / "bin/alpha").unlink()
    found = case.attested()
    assert {item.kind for item in found.differences} == {kind}, found.differences


def test_every_kind_is_tampered_with_and_documented() -> None:
    assert {name.partition("/")[0] for name in TAMPERED} == set(KINDS)
    text = (Path(__file__).parents[2] / "docs" / "attest.md").read_text("utf-8")
    assert [kind for kind in KINDS if f"| `{kind}` |" not in text] == []


@pytest.mark.parametrize(
    "path",
    ["beta/__init__.py", "beta/more.py", "alpha-1.0.dist-info/METADATA", "alpha/__init__.py", "../../../bin/alpha"],
)
def test_any_flipped_byte_of_a_recorded_file_is_reported(case: Case, path: str) -> None:
    file = case.site / path
    data, stat = file.read_bytes(), file.stat()
    clean = case.attested().digests.content
    for place in range(len(data)):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        found = case.attested()
        assert file.name in {Path(item.path or "").name for item in found.differences if item.kind == "altered"}
        names_interpreter = data.startswith(b"#!") and 2 <= place < data.index(b"\n")
        assert (found.digests.content == clean) == names_interpreter
    file.write_bytes(data)
    assert case.attested().digests.content == clean


def test_any_flipped_byte_of_bytecode_is_reported_or_changes_its_digest(case: Case) -> None:
    data, clean = case.pyc.read_bytes(), case.attested().digests
    for place in range(len(data)):
        case.pyc.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        found = case.attested()
        checked = 8 <= place < 16  # the source's time and size, which are compared with the source
        assert (found.digests.bytecode == clean.bytecode) == checked
        assert bool(found.differences) == (place < 16)
        assert found.digests.content == clean.content
