"""What pip installs for pre-commit's hooks."""

from __future__ import annotations

import pytest
from declared import requirements, written

PATH = ".pre-commit-config.yaml"


def config(hook: str, repository: str = "https://github.com/o/r") -> str:
    return f"repos:\n- repo: {repository}\n  rev: v1\n  hooks:\n  - {hook}\n"


@pytest.mark.parametrize(
    ("hook", "names"),
    [
        ("{id: mypy, additional_dependencies: [types-requests, 'pydantic==2.1']}", ["types-requests", "pydantic"]),
        ("{id: x, language: python, additional_dependencies: ['ruff>=0.5', .]}", ["ruff", "."]),
        ("{id: x, language: node, additional_dependencies: [left-pad]}", []),
        ("{id: x, language: golang, additional_dependencies: [a]}", []),
        ("{id: prettier, additional_dependencies: [prettier-plugin-toml]}", []),
        ("{id: x, additional_dependencies: ['prettier@3.1.0', a]}", []),
        ("{id: x, additional_dependencies: ['@commitlint/config', a]}", []),
        ("{id: x, additional_dependencies: ['github.com/a/b@v1']}", []),
        ("{id: x, additional_dependencies: ['rubocop:1.2']}", []),
        ("{id: x, additional_dependencies: ['--extra-index-url=x', a]}", ["a"]),
        ("{id: x, additional_dependencies: ['a @ git+https://h/a@main']}", ["a"]),
        ("{id: x, additional_dependencies: a}", []),
        ("{id: x, additional_dependencies: [1, [a], {b: c}]}", []),
        ("{id: x}", []),
    ],
)
def test_hooks(hook: str, names: list[str]) -> None:
    assert [found.name for found in requirements(PATH, config(hook), "pre-commit")] == names


def test_a_repository_of_another_language() -> None:
    hook = "{id: x, additional_dependencies: [a]}"
    assert requirements(PATH, config(hook, "https://github.com/pre-commit/mirrors-eslint"), "pre-commit") == []


def test_place_and_section() -> None:
    text = config("{id: mypy, additional_dependencies: [types-requests]}")
    (found,) = requirements(PATH, text, "pre-commit")
    assert (written(text, found), found.section) == ("types-requests", "hooks.mypy")


@pytest.mark.parametrize("text", ["repos: 1", "- additional_dependencies", "repos: [1, {hooks: [1]}, {hooks: x}]"])
def test_nothing_is_too_strange(text: str) -> None:
    assert requirements(PATH, f"{text} # additional_dependencies", "pre-commit") == []
