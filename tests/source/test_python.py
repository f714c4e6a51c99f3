"""Python read as text: places in characters, expressions as values, and nothing that can hang or crash."""

from __future__ import annotations

import ast
import json

import pytest

from vramguard.source import Document, read
from vramguard.source.expression import Call, Literal, Opaque, dotted, written
from vramguard.source.notebook import Notebook
from vramguard.source.python import Source, every


def expression(text: str) -> object:
    source = Source(text)
    assert source.tree is not None
    statement = source.tree.body[-1]
    assert isinstance(statement, ast.Expr)
    return source.expression(statement.value)


def test_columns_count_characters() -> None:
    call = expression('größe = "é"; load("ü", model="日本/x")')
    assert isinstance(call, Call)
    value = call.argument("model")
    assert value is not None
    assert value.span == (1, 30, 1, 36)


def test_arguments_are_found_by_name_and_by_position() -> None:
    call = expression("f(1, *rest, key=2, **more)")
    assert isinstance(call, Call)
    assert call.argument("key") == Literal(call.arguments[2].value.span, 2)
    assert [argument.name for argument in call.arguments] == [None, "*", "key", "**"]
    assert call.argument("absent", 0) == call.arguments[0].value
    assert call.argument("absent", 1) is None


@pytest.mark.parametrize(
    "text",
    ["a.b(c, d=1)", '[1, "x"]', "{1: 2, **a}", "a if b else c", "a or b", "a[0]", "-a", "a + b", 'f"{a}-{b}"'],
)
def test_an_expression_is_written_as_it_stands(text: str) -> None:
    assert written(expression(text)) == text  # type: ignore[arg-type]


def test_names_go_through_calls() -> None:
    assert dotted(expression("a.b(1).c[0].d")) == "a.b.c.d"  # type: ignore[arg-type]
    assert dotted(expression("(lambda: 1).x")) == ""  # type: ignore[arg-type]


def test_what_is_no_plain_value_is_kept_as_text() -> None:
    assert isinstance(expression("[x for x in y]"), Opaque)
    assert isinstance(expression("'\\ud800'"), Opaque)
    assert isinstance(expression("f'{a:>8}'"), Opaque)


@pytest.mark.parametrize(
    "text",
    [
        "print 'python 2'",
        "x = " + "(" * 5000 + ")" * 5000,
        "x = a" + ".b" * 100_000,
        "x = " + "+".join(["1"] * 50_000),
        "\t if",
        "x" * (1 << 21),
        "x = " + "-" * 50_000 + "1",
    ],
    ids=["python2", "parentheses", "attributes", "sum", "indentation", "long", "signs"],
)
def test_what_does_not_parse_has_no_tree(text: str) -> None:
    assert Source(text).tree is None


def test_deep_expressions_are_left_as_text() -> None:
    source = Source("x" + ".y" * 500)
    assert source.tree is not None
    statement = source.tree.body[0]
    assert isinstance(statement, ast.Expr)
    assert written(source.expression(statement.value)).startswith("x.y.y") is False


@pytest.mark.parametrize("data", [b"x = '\xe9'  # Latin-1", b"x = 1\0"])
def test_a_file_that_is_no_text_says_nothing(data: bytes) -> None:
    found = read("old.py", data)
    assert isinstance(found, Document)
    assert found.text == ""


def notebook(*cells: object) -> str:
    found = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": ["# x = 1"]}, *found]}, indent=1)


def test_a_notebook_is_the_code_of_its_cells() -> None:
    text = notebook(["!pip install vllm\n", 'a = "x"\n', "%time\n", "b = a"], ["%%bash\n", "rm x"], "c = 1\nd = 2")
    found = Notebook(text)
    assert found.text.split("\n") == ["", 'a = "x"', "", "b = a", "", "", "c = 1", "d = 2"]
    assert found.tree is not None


def test_places_in_a_notebook_are_those_of_the_file() -> None:
    text = notebook(["load(\n", '    "x", model="ü/y")'])
    found = Notebook(text)
    assert found.tree is not None
    statement = found.tree.body[0]
    assert isinstance(statement, ast.Expr)
    call = found.expression(statement.value)
    assert isinstance(call, Call)
    value = call.argument("model")
    assert value is not None
    row = text.split("\n")[value.span.line - 1]
    assert row[value.span.column - 1 : value.span.end_column - 1] == '\\"\\u00fc/y\\"'


@pytest.mark.parametrize("text", ["", "[]", "{", '{"cells": 1}', '{"cells": [{"cell_type": "code", "source": [1]}]}'])
def test_a_broken_notebook_is_empty(text: str) -> None:
    assert Notebook(text).text == ""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('x = f"{a["b"]}"; load("y")', "load"),
        ("x = f'{a['b']:>{w['n']}}'; load('y')", "load"),
        ('x = f"{f"{f"{a["b"]}"}"}"; load("y")', "load"),
        ('x = f"{"\\n".join(y)}{\'it\\\'s\'}"; load("y")', "load"),
        ('x = f"{{a}}" if""else f"{a["b"]}"; load("y")', "load"),
        ("def f[T: (int, str)](x: T) -> T: ...\nload('y')", "load"),
        ("class A[T](B): ...\ntype X[T] = list[T]\nload('y')", "load"),
        ("%pip install x\nload('y')", "load"),
    ],
)
def test_newer_python_keeps_its_places(text: str, name: str) -> None:
    call = expression(text)
    assert isinstance(call, Call)
    assert dotted(call.function) == name
    rows = text.split("\n")
    assert call.span[:2] == (len(rows), rows[-1].index("load(") + 1)


def test_a_field_on_several_lines_keeps_its_lines() -> None:
    call = expression('x = f"{\n    a["b"]\n}"\nload("y")')
    assert isinstance(call, Call)
    assert call.span[:2] == (4, 1)


@pytest.mark.parametrize(
    "text", ['f"{' * 50_000, 'f"{' + "a:{" * 50_000, "'" * 99_999, "type x[" * 50_000, "f'{\"\\" * 50_000]
)
def test_what_is_no_python_has_no_tree(text: str) -> None:
    assert Source(text).tree is None


WALKED = """\
@d(1)
class K(B, m=M):
    x: int = 3

    def f(self, a=1, *b, c: str = "x", **e) -> int:
        global g
        with o() as p, q():
            pass
        for i, *j in k:
            del l[1:2]
        else:
            n += -1
        try:
            raise E from None
        except (A, B) as e:
            assert a < b <= c, f"{x!r:>{w}}"
        finally:
            pass
        match s:
            case {"k": v, **r} | C(1, y=[*z]) if t:
                return {**u, 1: (yield)}
        return [lambda h: (h := 2) if x else w for y in z if not y]
"""


def test_the_quick_walk_sees_what_the_librarys_does_but_for_signs_and_contexts() -> None:
    tree = ast.parse(WALKED)
    left_out = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)
    assert every(tree) == [node for node in ast.walk(tree) if not isinstance(node, left_out)]
