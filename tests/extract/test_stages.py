"""A Dockerfile's stages as facts: what each begins with, runs, copies and starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.extract import debugging, scripts, stages
from vramguard.facts import Word
from vramguard.source import read

if TYPE_CHECKING:
    from vramguard.facts import DebugSetting, Recipe


def recipe(text: str) -> Recipe:
    document = read("Dockerfile", text.encode(), kind="dockerfile")
    (found,) = stages.extract(document)  # type: ignore[arg-type]
    return found


def settings(text: str) -> list[DebugSetting]:
    return list(debugging.extract(read("a.py", text.encode(), kind="python")))  # type: ignore[arg-type]


def test_stages_stand_on_images_and_on_one_another() -> None:
    found = recipe("ARG V=3\nFROM a:${V} AS Base\nFROM base AS next\nFROM b:1\n").stages
    assert [(one.name, one.image.text, one.base) for one in found] == [
        ("Base", "a:3", None),
        ("next", "a:3", 0),
        ("", "b:1", None),
    ]


def test_a_stage_that_an_argument_chooses() -> None:
    found = recipe("ARG KIND=gpu\nFROM a AS gpu\nFROM b AS cpu\nFROM ${KIND}\n").stages
    assert found[2].base == 0


def test_what_a_stage_copies() -> None:
    text = 'FROM a AS b\nFROM c\nCOPY --from=b --chown=1 /x /y /z/\nADD ["one file", "/w"]\nCOPY x\n'
    copies = recipe(text).stages[1].copies
    assert [(one.sources, one.target, one.stage) for one in copies] == [
        (("/x", "/y"), "/z/", "b"),
        (("one file",), "/w", ""),
    ]


def test_what_a_stage_starts_and_with_which_shell() -> None:
    found = recipe(
        'FROM a\nSHELL ["/bin/bash", "-c"]\nENV A=1\nLABEL kind=model\nRUN x\nENTRYPOINT ["s"]\nCMD t u\n'
    ).stages[0]
    assert found.shell == ("/bin/bash", "-c")
    assert found.env["A"].text == "1"
    assert found.labels["kind"].text == "model"
    assert [run.text.strip() for run in found.runs] == ["x"]
    assert isinstance(found.start, tuple)
    assert isinstance(found.arguments, Word)
    assert found.started is not None
    assert found.started.line == 6


def test_a_file_without_a_stage_is_no_recipe() -> None:
    assert list(stages.extract(read("Dockerfile", b"# nothing\n", kind="dockerfile"))) == []  # type: ignore[arg-type]


def test_settings_know_whether_the_module_is_the_program() -> None:
    found = settings("import torch\na.run(debug=True)\nif __name__ == '__main__':\n    uvicorn.run(x, reload=True)\n")
    assert [(one.name, one.guarded, one.model, one.at.line) for one in sorted(found, key=lambda one: one.at)] == [
        ("debug", False, True, 2),
        ("reload", True, True, 4),
    ]


def test_a_script_is_kept_where_it_could_matter() -> None:
    kept = list(scripts.extract(read("a.sh", b"exec python serve.py\n", kind="shell")))  # type: ignore[arg-type]
    assert len(kept) == 1
    assert list(scripts.extract(read("a.sh", b"make clean\n", kind="shell"))) == []  # type: ignore[arg-type]
    assert list(scripts.extract(read("a.sh", b"python " * 20_000, kind="shell"))) == []  # type: ignore[arg-type]
