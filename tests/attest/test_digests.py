"""The digests: the same wherever and whenever, another for any other byte, and what docs/attest.md computes by hand."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from attest.environments import Venv, compiled, write

from vramguard.attest import attest, find

PAGE = Path(__file__).parents[2] / "docs" / "attest.md"


def built(root: Path) -> Venv:
    venv = Venv(root)
    files = {"alpha/__init__.py": "A = 1\n", "alpha/a b.txt": "", "../../../share/alpha.txt": "shared"}
    venv.install("alpha", files=files, scripts=["alpha"], more={"direct_url.json": f'{{"url": "file://{root}"}}'})
    venv.install("beta", requires=["alpha"])
    compiled(venv.site / "beta/__init__.py")
    return venv


def digest(venv: Venv) -> str:
    return attest(find(venv.root), None).digests.content


def test_two_installs_of_the_same_wheels_have_one_digest(tmp_path: Path) -> None:
    one, other = built(tmp_path / "one"), built(tmp_path / "another, with a longer path")
    for path in other.site.rglob("*"):
        os.utime(path, (1, 1))
    assert digest(one) == digest(other)
    first, second = (attest(find(venv.root), None).distributions for venv in (one, other))
    assert [(held.distribution.name, held.digest) for held in first] == [
        (held.distribution.name, held.digest) for held in second
    ]


@pytest.mark.parametrize("path", ["alpha/__init__.py", "extra.py", "../../../share/alpha.txt", "../../../bin/alpha"])
def test_another_file_is_another_digest(tmp_path: Path, path: str) -> None:
    venv = built(tmp_path / "venv")
    before = digest(venv)
    write(venv.site / path, "#!/bin/sh\nother\n")
    assert digest(venv) != before


def test_bytecode_is_in_a_digest_of_its_own(tmp_path: Path) -> None:
    venv = built(tmp_path / "venv")
    before = attest(find(venv.root), None).digests
    (cached,) = venv.site.rglob("*.pyc")
    cached.write_bytes(cached.read_bytes() + b"x")
    after = attest(find(venv.root), None).digests
    assert (after.content == before.content, after.bytecode == before.bytecode) == (True, False)
    assert (before.files, before.bytecode_files) == (7, 1)


def test_a_shell_recomputes_it(tmp_path: Path) -> None:
    venv = built(tmp_path / "venv")
    script = next(
        block for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "find" in block
    )
    script = script.replace("/opt/venv", str(venv.root))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert f"sha256:{done.stdout.split()[0]}" == digest(venv)


def test_a_script_that_a_shell_starts_has_three_lines_of_its_interpreter(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        venv = Venv(tmp_path / name)
        start = f"#!/bin/sh\n'''exec' \"{tmp_path}/{name}/bin/python\" \"$0\" \"$@\"\n' '''\n"
        venv.install("alpha", files={"alpha/__init__.py": "", "../../../bin/alpha": f"{start}import alpha\n"})
        digests.add(digest(venv))
    assert len(digests) == 1
