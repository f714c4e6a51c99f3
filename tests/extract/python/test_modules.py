"""What one Python file says: names, scopes, bindings, calls."""

from __future__ import annotations

from vramguard.extract import extract
from vramguard.extract.python import is_of_use, parsed
from vramguard.facts.fields import ModuleNames
from vramguard.source import Document, Location, Unreadable, read
from vramguard.source.expression import Literal, written
from vramguard.source.graph import CodeModule
from vramguard.source.program import PythonModule, PythonText


def facts(text: str, path: str = "app.py") -> list[object]:
    document = read(path, text.encode())
    assert isinstance(document, Document)
    return [fact for fact in extract(document) if not isinstance(fact, CodeModule | ModuleNames)]


def module(text: str) -> PythonModule:
    (found,) = [fact for fact in facts(f"import vllm\n{text}") if isinstance(fact, PythonModule)]
    return found


def test_a_file_that_loads_nothing_is_not_parsed() -> None:
    assert facts("x = 1\n" * 20_000) == []  # too long for a file of settings
    for text in ("def f(:\n", "import os\nprint(os.name)\n"):
        assert facts(text) == [PythonText(Location("app.py"), "python", text)]
        assert not is_of_use(text)


def test_python_2_with_a_loader_is_a_note() -> None:
    (found,) = facts("from transformers import x\nprint x.from_pretrained('y')\n")
    assert isinstance(found, Unreadable)
    assert found.template
    assert not any(isinstance(fact, Unreadable) for fact in facts("print 'hello'\n"))


def test_settings_are_read_for_their_constants() -> None:
    (text,) = facts('MODEL_ID = "org/model"\n')
    assert isinstance(text, PythonText)
    found = parsed(text)
    assert found is not None
    assert not found.loads
    assert [written(one.value) for one in found.bindings[0]["MODEL_ID"]] == ['"org/model"']


def test_a_pipeline_of_another_library_loads_nothing() -> None:
    (text,) = facts("from kfp import dsl\n@dsl.pipeline(name='x')\ndef f(): ...\n")
    assert isinstance(text, PythonText)
    (found,) = facts("from transformers import pipeline\npipeline('summarization')\n")
    assert isinstance(found, PythonModule)
    assert found.loads


def test_imports_are_known_by_scope() -> None:
    found = module("from a.b import c as d\nfrom . import e\ndef f():\n    import g.h\n    import i.j as k\n")
    said = [(one.name, one.module, one.attribute, one.level, one.scope) for one in found.imports[1:]]
    assert said == [("d", "a.b", "c", 0, 0), ("e", "", "e", 1, 0), ("g", "g", None, 0, 1), ("k", "i.j", None, 0, 1)]


def test_self_belongs_to_its_class() -> None:
    found = module("class A:\n    x = 1\n    def __init__(self, y=2):\n        self.z = y\n")
    assert [scope.name for scope in found.scopes] == ["", "A", "__init__"]
    assert set(found.bindings[1]) == {"x", "z"}
    assert found.bindings[1]["z"][0].scope == 2
    assert not found.bindings[1]["z"][0].conditional
    assert [parameter.name for parameter in found.scopes[2].parameters] == ["self", "y"]


def test_conditions_are_kept_with_what_they_bind() -> None:
    found = module(
        "if a:\n    x = 1\nelse:\n    x = 2\nfor i in b:\n    x = 3\nif __name__ == '__main__':\n    x = 4\n"
    )
    under = [[(test and written(test), wanted) for test, wanted in one.under] for one in found.bindings[0]["x"]]
    assert under == [[("a", True)], [("a", False)], [(None, True)], []]


def test_what_grows_is_bound_again() -> None:
    found = module("x = [1]\nx += [2]\nx.append(3)\nx.extend(y)\nt = {}\nt['a'] = 1\nt.update(b=2)\n")
    values = [written(one.value) for one in found.bindings[0]["x"]]
    assert values == ["[1]", "x + [2]", "x + [3]", "x + y"]
    assert [(one.key, written(one.value)) for one in found.bindings[0]["t"][1:]] == [("a", "1"), ("b", "2")]


def test_tuples_are_unpacked() -> None:
    found = module("a, b = 1, 2\nc, d = f()\n")
    assert isinstance(found.bindings[0]["b"][0].value, Literal)
    assert written(found.bindings[0]["d"][0].value) == "f()"


def test_calls_have_their_scope_wherever_they_stand() -> None:
    found = module("from vllm import LLM as L\ndef f(x=L('a')):\n    return [L(y) for y in z] + g(L('b'))\n")
    assert [(written(one.call), one.scope) for one in found.calls] == [('L("a")', 0), ("L(y)", 1), ('L("b")', 1)]


def test_a_thousand_branches_are_no_recursion() -> None:
    branches = "".join(f"elif a == {number}:\n    x = {number}\n" for number in range(900))
    found = module(f"if a:\n    x = 1\n{branches}")
    assert len(found.bindings[0]["x"]) == 901
    assert max(len(one.under) for one in found.bindings[0]["x"]) <= 9
