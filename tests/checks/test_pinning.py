"""Demand 1, for what the rules' own examples do not say: places, counts, severities, path classes, parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from judged import SHA, WEIGHTS, problems, weights

from vramguard.checks import Severity, load
from vramguard.checks.pinning import RequirementWithoutHash, UnpinnedRequirement
from vramguard.facts import Facts, Install, Requirement, Unknown
from vramguard.source import Location

if TYPE_CHECKING:
    from vramguard.checks import Check
    from vramguard.facts import Fact


def test_the_checks_are_registered() -> None:
    assert {"unpinned-requirement", "requirement-without-hash"} <= load().keys()


def test_one_problem_for_each_unpinned_requirement() -> None:
    found = problems(
        UnpinnedRequirement(), {"requirements.txt": "a\nb==1\nC[x]>=2 # why\n-e .\ngit+https://h/d@main\ne=1\n"}
    )
    assert [(p.at.line, p.at.column, p.values["requirement"], p.subject) for p in found] == [
        (1, 1, "a", "a;"),
        (3, 1, "C[x]>=2", "c;"),
        (6, 1, "e=1", "e;"),
    ]
    assert all(p.severity is None for p in found)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("torch[x]>=2", "torch[x]==VERSION"),
        ("torch=2", "torch==VERSION"),
    ],
)
def test_what_to_write_instead(text: str, exact: str) -> None:
    (found,) = problems(UnpinnedRequirement(), {"requirements.txt": text})
    assert found.values["exact"] == exact


def test_the_same_name_under_two_markers_is_two_subjects() -> None:
    text = "a>=1 ; python_version < '3.12'\na>=2 ; python_version >= '3.12'\n"
    assert len({p.subject for p in problems(UnpinnedRequirement(), {"requirements.txt": text})}) == 2


def test_ranges_that_a_lock_covers_are_left_to_the_lock() -> None:
    text = '[build-system]\nrequires = ["x>=1"]\n[project]\ndependencies = ["a>=1", "b =1"]\n'
    text += '[dependency-groups]\ndev = ["c"]\n'
    found = problems(UnpinnedRequirement(), {"pyproject.toml": text})
    assert [(p.values["name"], p.values["section"], p.severity) for p in found] == [
        ("x", "build-system.requires", Severity.WARNING),
        ("b", "project.dependencies", None),
    ]
    assert (
        problems(UnpinnedRequirement(build_system=Severity.ERROR), {"pyproject.toml": text})[0].severity
        is Severity.ERROR
    )


def test_constraints_weigh_less() -> None:
    files = {"constraints.txt": "urllib3<2\n", "requirements.txt": "-c constraints.txt\na==1\n"}
    assert [(p.at.path, p.severity) for p in problems(UnpinnedRequirement(), files)] == [
        ("constraints.txt", Severity.WARNING)
    ]
    assert problems(RequirementWithoutHash(), {"constraints.txt": "a==1\n"}) == []


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (UnpinnedRequirement(), "requirements.txt", "a\n"),
        (RequirementWithoutHash(), "requirements.txt", "a==1\n"),
    ],
)
def test_path_classes(check: Check, name: str, text: str) -> None:
    assert weights(check, name, text) == WEIGHTS


def test_one_problem_for_each_file_without_hashes() -> None:
    text = f"a\nb==1\nc==1 --hash={SHA}\nd==1\nE==1\nf==1\ng @ git+https://h/g@{'0' * 40}\n"
    (found,) = problems(RequirementWithoutHash(), {"requirements.txt": text})
    # the amount counts line 1 too: to pin it is no new debt
    assert (found.at.line, found.amount, found.subject) == (2, 5, "hashes")
    assert dict(found.values) == {"count": 4, "total": 6, "names": "b, d, E and 1 more", "note": ""}


def test_a_package_on_several_lines_is_counted_once_where_packages_are_named() -> None:
    text = "a-b==1 ; python_version < '3.9'\nA_b==2 ; python_version >= '3.9'\nc==1\nd==1\ne==1\n"
    (found,) = problems(RequirementWithoutHash(), {"requirements.txt": text})
    assert found.amount == 5
    assert (found.values["count"], found.values["total"], found.values["names"]) == (4, 4, "a-b, c, d and 1 more")


def test_a_file_without_exact_lines_says_nothing_about_hashes() -> None:
    assert problems(RequirementWithoutHash(), {"requirements.txt": "a\nb>=1\n-r base.txt\n"}) == []


def test_hash_lines_that_pip_ignores_are_told() -> None:
    (found,) = problems(RequirementWithoutHash(), {"requirements.txt": f"a==1 \\\n# b\n --hash={SHA}\n --hash={SHA}\n"})
    assert found.values["note"] == "; 2 `--hash` lines belong to no requirement, so pip ignores them"


def test_a_file_that_is_taken_in_from_elsewhere_is_not_known() -> None:
    lines = "-r https://example.com/all.txt\n-r gone.txt\n-r base.txt\n-c https://example.com/pins.txt\n"
    found = problems(UnpinnedRequirement(), {"requirements.txt": lines, "base.txt": "a==1\n"})
    assert [(problem.at.line, problem.values["requirement"]) for problem in found] == [
        (1, "-r https://example.com/all.txt"),
        (2, "-r gone.txt"),
    ]


def test_repositories_and_urls_are_left_to_the_rule_of_mutable_sources() -> None:
    lines = "git+https://h/o/r\nr @ git+ssh://git@h/o/r.git\nhttps://h/r.whl\ngit+https://h/o/r@${REF}\ngit+git@h:o/r\n"
    conda = "dependencies:\n- python=3.11.9=h955ad1f_0\n- pip:\n  - git+https://h/o/r@main\n"
    assert problems(UnpinnedRequirement(), {"requirements.txt": lines, "environment.yml": conda}) == []


def test_the_same_package_bare_and_exact_is_exact() -> None:
    lines = (
        "pyautogen==0.2.33\npyautogen[redis]\ntorch ; python_version < '3.9'\ntorch==2.1.0 ; python_version < '3.9'\n"
    )
    found = problems(UnpinnedRequirement(), {"requirements.txt": lines})
    assert [problem.at.line for problem in found] == [3], "an exact line under a marker need not hold"


def command(fields: dict[str, Any], *requirements: Requirement) -> list[Fact]:
    """A command's requirements and its install, as an extractor yields them."""
    at = Location("run.sh", 1, 1, 1, 9)
    form = "dockerfile" if "copied" in fields else "shell"
    return [*requirements, Install(at, form, "pip", "install", "run.sh", requirements, **fields)]


def shell(name: str, specifier: str = "", pinned: bool | Unknown = False) -> Requirement:  # noqa: FBT001, FBT002
    return Requirement(Location("run.sh", 1, 5, 1, 9), name, specifier, pinned, hashed=False, form="shell", reason="r")


def line(path: str, name: str, specifier: str) -> Requirement:
    return Requirement(Location(path), name, specifier, pinned=True, hashed=False, form="requirements")


@pytest.mark.parametrize(
    ("fields", "unpinned"),
    [
        ({}, ["torch", "vllm"]),
        ({"constraints": ("pins.txt",)}, ["vllm"]),
        ({"constraints": ("./pins.txt",)}, ["vllm"]),
        ({"files": ("pins.txt",)}, ["vllm"]),  # installed beside it: pip takes both lines for one package
        ({"options": (("constraint", "pins.txt"),)}, ["vllm"]),  # PIP_CONSTRAINT
        ({"constraints": (Unknown("$PINS"),)}, ["torch", "vllm"]),
        ({"constraints": ("/app/pins.txt",), "copied": (("pins.txt", "/app/pins.txt"),)}, ["vllm"]),
        ({"constraints": ("pins.txt",), "copied": ((".", "."),)}, ["vllm"]),
        ({"constraints": ("deps/pins.txt",), "copied": ((".", "."),)}, ["torch", "vllm"]),
        ({"constraints": ("gone.txt",)}, ["torch", "vllm"]),
    ],
)
def test_a_command_with_constraints(fields: dict[str, Any], unpinned: list[str]) -> None:
    named = [*command(fields, shell("torch"), shell("vllm")), line("pins.txt", "Torch", "==2.1.0")]
    facts = Facts(named, paths=("pins.txt", "run.sh"))
    assert [problem.values["name"] for problem in UnpinnedRequirement().find(facts)] == unpinned


def test_a_command_that_names_a_package_twice() -> None:
    exact = shell("vllm", "==0.6.6", pinned=True)
    assert list(UnpinnedRequirement().find(Facts(command({}, shell("vllm"), exact)))) == []


def test_a_word_of_which_nothing_is_known_weighs_less() -> None:
    facts = Facts([shell("$PACKAGES", "", Unknown("$PACKAGES")), shell("torch", "==$V", Unknown("torch==$V"))])
    assert [problem.severity for problem in UnpinnedRequirement().find(facts)] == [Severity.WARNING, None]
    exact = [problem.values["exact"] for problem in UnpinnedRequirement().find(facts)]
    assert exact == ["NAME==VERSION", "torch==VERSION"]
    strict = UnpinnedRequirement(unknown=Severity.ERROR)
    assert [problem.severity for problem in strict.find(facts)] == [Severity.ERROR, None]


@pytest.mark.parametrize(
    ("text", "count"),
    [("{USER_FLAG}", 0), ("$PIP_OPTS", 0), ("$(PIP_OPTIONS)", 0), ("${FLAGS}", 0), ("$FLAGSHIP", 1), ("x==$FLAG", 1)],
)
def test_a_variable_for_options_is_no_package(text: str, count: int) -> None:
    facts = Facts([shell(text, "", Unknown(text))])
    assert len(list(UnpinnedRequirement().find(facts))) == count


def test_the_forms_that_are_left_to_a_lock_are_a_parameter() -> None:
    files = {"Pipfile": "[packages]\ntorch = '*'\n", "setup.cfg": "[options]\ninstall_requires =\n  torch\n"}
    assert problems(UnpinnedRequirement(), files) == []
    found = problems(UnpinnedRequirement(lock_forms=("setup.cfg",)), files)
    assert [(problem.at.path, problem.at.line) for problem in found] == [("Pipfile", 2)]


def test_what_only_developers_install_weighs_less() -> None:
    hooks = "repos:\n- repo: local\n  hooks:\n  - id: a\n    language: python\n    additional_dependencies: [x]\n"
    (found,) = problems(UnpinnedRequirement(), {".pre-commit-config.yaml": hooks})
    assert (found.severity, found.values["exact"]) == (Severity.WARNING, "x==VERSION")


def test_what_builds_and_tests_weighs_less_wherever_it_is_installed() -> None:
    rule = UnpinnedRequirement(development_packages=("pytest", "pytest-*"))
    files = {
        "Dockerfile": "FROM scratch\nRUN pip install pytest pytest_cov torch\n",
        "requirements.txt": "pytest\npytestify\n",
    }
    weights = {(found.at.path, str(found.values["name"])): found.severity for found in problems(rule, files)}
    assert {name for (_, name), severity in weights.items() if severity is None} == {"torch", "pytestify"}
    assert {severity for severity in weights.values() if severity} == {Severity.WARNING}
    assert len(weights) == 5


def test_a_script_with_its_lock_is_left_to_it() -> None:
    script = "# /// script\n# dependencies = ['torch']\n# ///\n"
    assert len(problems(UnpinnedRequirement(), {"run.py": script})) == 1
    assert problems(UnpinnedRequirement(), {"run.py": script, "run.py.lock": ""}) == []


def test_what_conda_would_take_for_exact() -> None:
    (found,) = problems(UnpinnedRequirement(), {"environment.yml": "channels: []\ndependencies:\n- numpy=1.26\n"})
    assert (found.values["requirement"], found.values["exact"]) == ("numpy=1.26", "numpy=VERSION=BUILD")
