"""Joins: constraints with what they constrain, sources with what they were compiled to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts
from vramguard.link.environments import Environments, RequirementsFile
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from vramguard.facts import Fact

SHA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def environments(files: dict[str, str]) -> tuple[Environments, Facts]:
    found: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode()) if kind_of(path) else None
        if isinstance(document, Document):
            found += extract(document)
    facts = Facts(found, paths=files)
    return Environments(facts), facts


def installed(files: dict[str, str], path: str = "requirements.txt") -> RequirementsFile:
    (found,) = [file for file in environments(files)[0].files if file.path == path]
    return found


def exact(files: dict[str, str], path: str = "requirements.txt") -> list[str]:
    return [line.name for line in installed(files, path).requirements if line.pinned is True]


def test_constraints_make_lines_exact() -> None:
    files = {"requirements.txt": "-c c.txt\nTorch\nnumpy>=1\nscipy==1.0\ngit+https://h/zoo@main\n"}
    pins = {"constraints.txt": "torch==2.1.0\nnumpy<2\nzoo==1\n"}
    assert exact({"requirements.txt": files["requirements.txt"].replace("c.txt", "constraints.txt"), **pins}) == [
        "Torch",
        "scipy",
    ]


def test_constraints_reach_what_is_installed_together_and_no_further() -> None:
    files = {
        "requirements.txt": "-r requirements/base.txt\ntorch\n",
        "requirements/base.txt": "-c ../constraints.txt\nnumpy\n",
        "constraints.txt": "-r more-constraints.txt\n",
        "more-constraints.txt": "torch==2.1.0\nnumpy==1.26.4\n",
        "other-requirements.txt": "torch\n",
    }
    assert exact(files) == ["torch"]
    assert exact(files, "requirements/base.txt") == ["numpy"]
    assert exact(files, "other-requirements.txt") == []


def test_hashes_in_constraints_count() -> None:
    (line,) = installed(
        {"requirements.txt": "-c constraints.txt\na\n", "constraints.txt": f"a==1 --hash={SHA}\n"}
    ).requirements
    assert (line.pinned, line.hashed, line.reason) == (True, True, "")


def test_files_that_take_in_each_other() -> None:
    files = {
        "requirements.txt": "-r a-requirements.txt\nx\n",
        "a-requirements.txt": "-r requirements.txt\n-c constraints.txt\ny\n",
    }
    assert exact({**files, "constraints.txt": "-c requirements.txt\nx==1\n"}) == ["x"]


@pytest.mark.parametrize(
    ("files", "constraint"),
    [
        ({"base.constraints.txt": "a\n"}, True),
        ({"constraints.txt": "a\n", "requirements.txt": "-r constraints.txt\n"}, False),
        ({"pins-requirements.txt": "a\n", "requirements.txt": "-c pins-requirements.txt\nb\n"}, True),
        ({"requirements.txt": "a\n"}, False),
    ],
)
def test_what_only_constrains(files: dict[str, str], *, constraint: bool) -> None:
    assert environments(files)[0].files[0].constraint is constraint


def test_the_source_of_a_compiled_file_is_not_judged() -> None:
    both = environments({"requirements/base.in": "a\n", "requirements/base.txt": "a==1\n"})[0].files
    assert [file.path for file in both] == ["requirements/base.txt"]
    apart = environments({"requirements/base.in": "a\n", "requirements/other.txt": "a==1\n"})[0].files
    assert [file.path for file in apart] == ["requirements/base.in", "requirements/other.txt"]


def test_how_a_compiled_file_differs_from_its_source() -> None:
    source = "a\nb>=1\nc==2\nd ; sys_platform == 'win32'\nsetuptools\n./local\nE>1\nf @ https://h/f\n"
    found = environments({"requirements/base.in": source, "requirements/base.txt": "a==1\nc==1\ne==2\nf==1\n"})[
        0
    ].sources
    ((path, compiled, at, differences),) = found
    assert (path, compiled, at.line) == ("requirements/base.in", "requirements/base.txt", 2)
    assert differences == ("b is not in it", "c==2 is held as ==1")


def test_a_compiled_file_that_nobody_reads_is_given_the_doubt() -> None:
    found = environments({"requirements.in": "a\n", "requirements.txt": ""})[0]
    assert [source.differences for source in found.sources] == [()]


def test_an_exact_line_of_the_same_file_fixes_its_extras() -> None:
    (file,) = environments({"requirements.txt": "a==1\na[x]\nb==1 ; python_version < '3'\nb\n"})[0].files
    assert [line.pinned for line in file.requirements] == [True, True, True, False]


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements_lock.txt", "requirements-lock.txt", "requirements.txt"]
)
def test_other_names_of_compiled_files(name: str) -> None:
    assert [file.path for file in environments({"requirements.in": "a\n", name: "a==1\n"})[0].files] == [name]


def test_orphan_hashes_are_counted() -> None:
    assert installed({"requirements.txt": f"a==1 \\\n # b\n --hash={SHA} \\\n --hash={SHA}\n"}).orphans == 2


COMMENT = "#\n# This file is autogenerated by pip-compile with Python 3.11\n#\n#    pip-compile {0}\n#\n"


def test_a_file_that_says_what_it_was_compiled_from() -> None:
    files = {
        "reqs/gpu.in": "torch\nvllm\n",
        "reqs/locked.txt": "a\n",
        "reqs/gpu-requirements.txt": COMMENT.format("--output-file=reqs/gpu-requirements.txt reqs/gpu.in")
        + "torch==2.1.0\n",
    }
    files["gpu-requirements.in"] = "torch\nvllm\n"
    files["reqs/gpu-requirements.txt"] = files["reqs/gpu-requirements.txt"].replace(
        "reqs/gpu.in", "gpu-requirements.in"
    )
    found = environments(files)[0]
    assert [(source.path, source.compiled, source.differences) for source in found.sources] == [
        ("gpu-requirements.in", "reqs/gpu-requirements.txt", ("vllm is not in it",))
    ]


def test_a_file_that_names_its_sources_was_compiled_from_no_other() -> None:
    compiled = COMMENT.format("--output-file=requirements.txt pyproject.toml") + "torch==2.1.0\n"
    project = '[project]\nname = "a"\ndependencies = ["torch>=2.5"]\n'
    found = environments({"requirements.in": "vllm\n", "requirements.txt": compiled, "pyproject.toml": project})[0]
    assert [(source.path, source.differences) for source in found.sources] == [
        ("pyproject.toml", ("torch>=2.5 is held as ==2.1.0",))
    ]
    assert [file.path for file in found.files] == ["requirements.in", "requirements.txt"]


def test_overrides_stand_in_the_place_of_what_was_asked() -> None:
    compiled = COMMENT.format("--output-file=requirements.txt --override=pins.txt requirements.in") + "torch==2.1.0\n"
    compiled = compiled.replace("pip-compile --", "uv pip compile --")
    found = environments({"requirements.in": "torch>=2.5\n", "requirements.txt": compiled})[0]
    assert [source.differences for source in found.sources] == [()]
