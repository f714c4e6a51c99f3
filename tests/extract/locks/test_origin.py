"""What locks repeat of a declaration. The digests were computed by the tools themselves, each by the release named."""

from __future__ import annotations

import datetime as dt

import pytest
import tomli

from vramguard.extract.locks.origin import pdm_hashes, pipfile_hashes, uv_manifest
from vramguard.facts import Declared

PROJECT = """\
[project]
name = "pricing"
requires-python = ">=3.11"
dependencies = ["torch>=2", "numpy"]

[project.optional-dependencies]
serve = ["vllm"]

[dependency-groups]
Lint_Tools = ["ruff"]

[[tool.pdm.source]]
name = "inner"
url = "https://example.com/simple"

[tool.pdm.dev-dependencies]
test = ["pytest"]
lint-tools = ["mypy"]

[tool.pdm.resolution]
allow-prereleases = true

[tool.pdm.resolution.overrides]
numpy = "1.26.4"
"""


@pytest.mark.parametrize(
    "digest",
    [
        pytest.param("6636b6fda4f6aad8ed8cd3c3b90a05bb64a45732a49c77554e4fdde2275d8f96", id="pdm 2.8.2, 2.12.4"),
        pytest.param("f528f8a8827c5bf610590b2142a2b78498352749f22563a7e113ba0c67c7c7cd", id="pdm 2.16.1"),
        pytest.param("231389a341313a5f9e344f7dd31d161353d89551c2135ff7f018510256d74725", id="pdm 2.20.1, 2.29.4"),
    ],
)
def test_pdm(digest: str) -> None:
    assert f"sha256:{digest}" in pdm_hashes(tomli.loads(PROJECT))


@pytest.mark.parametrize(
    "change",
    [
        ("torch>=2", "torch>=2.1"),
        ('["vllm"]', '["vllm", "ray"]'),
        (">=3.11", ">=3.12"),
        ('["pytest"]', "[]"),
        ("example.com", "example.org"),
    ],
)
def test_every_pdm_sees_such_a_change(change: tuple[str, str]) -> None:
    assert not pdm_hashes(tomli.loads(PROJECT)) & pdm_hashes(tomli.loads(PROJECT.replace(*change)))


def test_pdm_converts_what_has_no_project_table() -> None:
    assert pdm_hashes(tomli.loads('[tool.poetry]\nname = "a"\n')) == frozenset()


PIPFILE = """\
[packages]
Torch_Audio = "*"
numpy = {version = ">=1.26", extras = ["x"]}

[dev-packages]
pytest = "*"

[docs]
sphinx = "*"

[requires]
python_version = "3.11"

[scripts]
go = "python x.py"
"""
SOURCE = '[[source]]\nname = "inner"\nurl = "https://example.com/simple"\nverify_ssl = true\n\n'


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        pytest.param(PIPFILE, "34b9363d18a37e2fd49999b8dcad4efc81a102f53b30da23b4e8701f7f330434", id="plette 2.4.0"),
        pytest.param(PIPFILE, "7c41b45f721c456e3123151bdec17ab90f7d0cb30973ee6a5a849aed1dfedab6", id="pipfile 0.0.2"),
        pytest.param(
            SOURCE + PIPFILE, "432d4fc5337dc2660a2b8a68ed9e4b8ac9dde7fd1ec8ecc2b7ab4e17c32bdc7a", id="plette, source"
        ),
        pytest.param(
            SOURCE + PIPFILE, "2aee5f2ef5165b21f92502384ffdae17dee743aed97f660ea083952341981af4", id="pipfile, source"
        ),
    ],
)
def test_pipenv(text: str, digest: str) -> None:
    assert digest in pipfile_hashes(tomli.loads(text))


def test_the_newest_pipenv_sees_no_change_in_how_a_name_is_written() -> None:
    other = PIPFILE.replace("Torch_Audio", "torch-audio")
    assert pipfile_hashes(tomli.loads(PIPFILE)) & pipfile_hashes(tomli.loads(other))
    assert not pipfile_hashes(tomli.loads(PIPFILE)) & pipfile_hashes({**tomli.loads(PIPFILE), "requires": {}})


def test_scripts_are_not_locked() -> None:
    assert pipfile_hashes(tomli.loads(PIPFILE)) == pipfile_hashes(tomli.loads(PIPFILE.replace("x.py", "y.py")))


def test_what_uv_repeats_of_its_own_table() -> None:
    table = {"constraint-dependencies": ["a<2", 1, "?"], "override-dependencies": ["b==1.0", "c @ https://h/c"]}
    assert uv_manifest({"tool": {"uv": table}}) == {
        Declared("constraint:", "a", "<2"),
        Declared("override:", "b", "==1.0"),
        Declared("override:", "c", None),
    }


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"project": 1, "tool": 2, "packages": 3},
        {"project": {"dependencies": 1}, "tool": {"pdm": 2, "uv": 3}},
        {"project": {"dependencies": [1]}, "dependency-groups": {"a": 1}, "tool": {"pdm": {"dev-dependencies": []}}},
        {"project": {"name": "a"}, "tool": {"pdm": {"resolution": 1, "source": 2}, "uv": {"override-dependencies": 1}}},
        {"project": {"requires-python": dt.date(2026, 1, 1)}, "packages": {"a": dt.date(2026, 1, 1)}},
        {"packages": ["a"], "dev-packages": "b", "source": 1, "docs": [2]},
    ],
)
def test_wrong_types_never_crash(table: dict[str, object]) -> None:
    assert isinstance(pdm_hashes(table) | pipfile_hashes(table) | uv_manifest(table), frozenset)
