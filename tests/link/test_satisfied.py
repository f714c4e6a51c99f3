"""Whether a version is one that was asked for, in three grammars."""

from __future__ import annotations

import pytest

from vramguard.facts import Requirement
from vramguard.link.satisfied import grammar, satisfies
from vramguard.source import Location

CASES = """
conda   1.26.4  =1.26                yes
conda   1.27    =1.26                no
conda   1.10    =1.1                 no
conda   1.26.4  ==1.26               no
conda   1.26.0  ==1.26               yes
conda   1.26.4  1.26                 yes
conda   1.26.4  1.26.4=py311_0       yes
conda   1.26.4  =1.26.4=py311_0      yes
conda   1.26.4  ==1.26.4=py311_0     yes
conda   1.26.5  ==1.26.4=py311_0     no
conda   1.26.4  >=1.20,<2            yes
conda   2.1     >=1.20,<2            no
conda   1.26.4  1.25|1.26.*          yes
conda   1.27    1.25|1.26.*          no
conda   9e      >=10                 yes
poetry  1.2.3   ^1.2                 yes
poetry  2.0     ^1.2                 no
poetry  1.1     ^1.2                 no
poetry  0.2.9   ^0.2.3               yes
poetry  0.3.0   ^0.2.3               no
poetry  0.0.3   ^0.0.3               yes
poetry  0.0.4   ^0.0.3               no
poetry  0.0.9   ^0.0                 yes
poetry  0.1     ^0.0                 no
poetry  0.9     ^0                   yes
poetry  1.2.9   ~1.2.3               yes
poetry  1.3     ~1.2.3               no
poetry  1.9     ~1                   yes
poetry  2       ~1                   no
poetry  2.1.0   2.1                  yes
poetry  2.1.1   2.1.0                no
poetry  2.1.1   2.1.*                yes
poetry  2.1.1   !=2.1.*              no
poetry  3.5     >=1,<2||>=3          yes
poetry  2.5     >=1,<2||>=3          no
poetry  2.1.0+cu118  2.1.0           yes
poetry  1.0     whatever^            yes
pep440  2.1.0   >=2                  yes
pep440  3.0rc1  >=2.1                yes
pep440  1.9     >=2                  no
pep440  2.1.0   *                    yes
pep440  2.1.0   =2                   yes
pep440  2.1.0   git+https://h/a@main yes
"""


@pytest.mark.parametrize("case", CASES.split("\n")[1:-1])
def test_versions(case: str) -> None:
    kind, version, specifier, answer = case.split()
    assert satisfies(version, specifier, kind) is (answer == "yes")


def test_a_space_parts_clauses_of_poetry_and_builds_of_conda() -> None:
    assert satisfies("1.5", ">=1 <2", "poetry")
    assert not satisfies("2.5", ">=1 <2", "poetry")
    assert satisfies("1.26.4", "1.26.4 py311_0", "conda")
    assert not satisfies("1.26.5", "1.26.4 py311_0", "conda")


@pytest.mark.parametrize(
    ("form", "section", "expected"),
    [
        ("pyproject", "tool.poetry.group.dev.dependencies", "poetry"),
        ("pyproject", "project.dependencies", "pep440"),
        ("pixi", "tool.pixi.dependencies", "conda"),
        ("pixi", "feature.gpu.pypi-dependencies", "pep440"),
        ("conda", "dependencies", "conda"),
        ("conda", "pip", "pep440"),
        ("pipfile", "packages", "pep440"),
    ],
)
def test_grammar(form: str, section: str, expected: str) -> None:
    requirement = Requirement(Location("x"), "a", "", pinned=False, hashed=False, form=form, section=section)
    assert grammar(requirement) == expected
