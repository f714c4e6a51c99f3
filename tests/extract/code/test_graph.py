"""A module's graphs: names, joins, blocks, growth; and what a text may not do to us."""

from __future__ import annotations

import pickle

import pytest

from vramguard.extract.code import extract, may_matter, module_of
from vramguard.source import Document, Unreadable, read
from vramguard.source.graph import NONE, Function, Node
from vramguard.source.notebook import Notebook
from vramguard.source.python import Source


def functions(text: str) -> dict[str, Function]:
    return {one.name: one for one in module_of("m.py", Source(text)).functions}


def returned(function: Function) -> Node:
    (given,) = (node for node in function.nodes if node.op == "return")
    return function.nodes[given.inputs[0]]


def shown(function: Function, number: int) -> str:
    """A node in brackets: `+(x, 1)`."""
    if number == NONE:
        return "-"
    node = function.nodes[number]
    inner = ", ".join(shown(function, one) for one in node.inputs)
    return f"{node.name or node.op}({inner})" if inner else node.name or node.op


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("y = x\n    return y + 1", "+(x, 1)"),
        ("if x:\n        y = 1\n    else:\n        y = 2\n    return y", "join(1, 2)"),
        ("if x:\n        return None\n    y = x\n    return y", None),
        ("a, b = x, 1\n    return b", "1"),
        ("a, b = x\n    return b", "1(x)"),
        ("y = []\n    y.append(x)\n    return y", "append(list, x)"),
        ("y = {}\n    y['k'] = x\n    return y['k']", "x"),
        ("y = {}\n    y['k'] = x\n    return y", ".([](table, x), x)"),
        ("return [z for z in x]", "list(each(x))"),
        ("return f'{x}!'", "format(x, '!')"),
        ("with open(x) as f:\n        return f", "enter(call(open, x))"),
        ("while x:\n        x = x.next\n    return x", "join(x, next(join"),
        ("for y in x:\n        pass\n    return y", "each(x)"),
        ("return -1 < x <= 2", "and(<(-1, x), <=(x, 2))"),
        ("return (y := x)", "x"),
        ("return x if x else 0", "if(x, x, 0)"),
    ],
)
def test_what_a_function_returns(body: str, value: str | None) -> None:
    function = functions(f"def f(x):\n    {body}\n")["f"]
    if value is None:
        assert [node.op for node in function.nodes].count("return") == 2
    elif value.endswith("(join"):  # a loop's name holds what the body left in it
        assert returned(function).op == "join"
    else:
        assert shown(function, function.nodes.index(returned(function))) == value


def test_what_stands_behind_a_guard_is_in_the_block_of_its_opposite() -> None:
    function = functions("def f(x):\n    if x < 0:\n        raise ValueError\n    return x\n")["f"]
    (given,) = (node for node in function.nodes if node.op == "return")
    block = function.blocks[given.block]
    assert (block.kind, block.holds) == ("else", False)
    assert function.nodes[block.test].name == "<"
    assert [one.leaves for one in function.blocks if one.kind == "if"] == ["raise"]


def test_a_handler_that_goes_on_leaves_the_rest_unguarded() -> None:
    text = "def f(x):\n    try:\n        check(x)\n    except ValueError:\n        {}\n    return x\n"
    kinds = {}
    for body in ("pass", "raise"):
        function = functions(text.format(body))["f"]
        (given,) = (node for node in function.nodes if node.op == "return")
        kinds[body] = function.blocks[given.block].kind
    assert kinds == {"pass": "body", "raise": "after"}


def test_names_of_a_module_that_a_function_sets() -> None:
    function = functions("model = None\ndef load():\n    global model\n    model = make()\n")["load"]
    assert [node.name for node in function.nodes if node.op == "global"] == ["model"]


def test_methods_stand_in_their_class() -> None:
    found = module_of(
        "m.py", Source("class A(B):\n    x: int = 1\n    def f(self):\n        return self.x\n")
    ).functions
    assert [(one.kind, one.name, one.parent) for one in found] == [
        ("module", "", NONE),
        ("class", "A", 0),
        ("function", "f", 1),
    ]
    assert [node.name for node in found[1].nodes if node.op == "field"] == ["x"]


def test_a_notebook_has_the_places_of_its_json() -> None:
    text = '{"cells": [{"cell_type": "code", "source": ["import torch\\n", "model = torch.load(\'m.pt\')"]}]}'
    module = module_of("n.ipynb", Notebook(text), notebook=True)
    (call,) = (node for node in module.functions[0].nodes if node.op == "call")
    assert text[call.column - 1 :].startswith("torch.load")


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "+".join(["1"] * 5000),
        "if a:\n    pass\n" + "elif a:\n    pass\n" * 3000,
        "x = " + "(" * 90 + ")" * 90,
        "".join(f"{' ' * n}if a:\n" for n in range(90)) + " " * 90 + "pass",
        "x = " + "f(" * 80 + ")" * 80,
        "\n".join(f"x.a{n} = x" for n in range(3000)),
        "lambda: " * 60 + "0",
    ],
    ids=["sum", "elif", "brackets", "nested", "calls", "attributes", "lambdas"],
)
def test_what_programs_write_is_read_or_left(text: str) -> None:
    source = Source(text)
    if source.tree is not None:
        module_of("m.py", source)


@pytest.mark.parametrize(
    ("text", "matters"),
    [
        ("import torch\n", True),
        ("def predict(x): ...\n", True),
        ("import os\nx = 1\n", False),
        ("from fastapi import FastAPI\n", True),
    ],
)
def test_which_modules_are_taken_apart(text: str, *, matters: bool) -> None:
    assert may_matter(text) is matters


def test_what_is_no_python_3_is_said() -> None:
    document = read("serve.py", b"import sklearn\nprint 'predict'\n")
    assert isinstance(document, Document)
    (said,) = extract(document)
    assert isinstance(said, Unreadable)
    assert said.template


def test_a_module_is_the_same_after_its_way_between_processes() -> None:
    text = (
        "from a import *\nimport b.c\n\n@b.d(1)\nclass K(b.E, metaclass=M):\n    x: 'T' = \"ä\\ud800\"\n\n"
        "    async def f(self, a, *r, k: int = 3, **o) -> int:\n        try:\n            return await a(k, *r)\n"
        "        except E as e:\n            raise\n\n\ndef empty(): ...\n"
    )
    made = module_of("p/m.py", Source(text))
    again = pickle.loads(pickle.dumps(made))  # noqa: S301 - ours
    assert again == made
    assert {type(node) for function in again.functions for node in function.nodes} == {Node}
    assert again.functions[-1].name == "empty"


def test_places_count_characters_on_the_lines_that_have_wide_ones() -> None:
    text = 'a = "ä" + f(1)\nb = g(2)\nc = h(\n    "ö", i(3))\n'
    (module,) = module_of("m.py", Source(text)).functions
    places = {module.nodes[n.inputs[0]].name: n[4:8] for n in module.nodes if n.op == "call"}
    assert places == {"f": (1, 11, 1, 15), "g": (2, 5, 2, 9), "h": (3, 5, 4, 15), "i": (4, 10, 4, 14)}


@pytest.mark.parametrize(
    ("way", "held"),
    [
        ("if one:\n            y = one\n            break", {"one", "0"}),
        ("if one:\n            y = one\n            continue\n        y = y", {"one", "0"}),
        ("if one:\n            y = one\n            return y", {"0"}),
    ],
)
def test_what_a_loop_held_where_it_was_left(way: str, held: set[str]) -> None:
    text = f"def f(rows):\n    y = 0\n    for one in rows:\n        {way}\n    print(y)\n"
    function = functions(text)["f"]
    pending, seen = [next(node.inputs[1] for node in function.nodes if node.op == "call")], set[int]()
    for number in pending:
        if number not in seen and function.nodes[number].op == "join":
            pending += function.nodes[number].inputs
        seen.add(number)
    ends = [function.nodes[number] for number in seen]
    assert {"one" if node.op == "each" else node.name for node in ends if node.op != "join"} == held


def test_many_ways_out_of_a_loop_take_no_time() -> None:
    ways = "".join(
        f"        if one == {number}:\n            x{number} = one\n            break\n" for number in range(2000)
    )
    assert len(functions(f"def f(rows):\n    for one in rows:\n{ways}    return x1\n")["f"].blocks) > 2000
