"""The evaluator of literals: what expressions are worth, where their strings stand, and that nothing makes it hang."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed import within

from vramguard.extract.python.literals import Contents, Either, Items, Module, Opaque, Scalar, Table, Text, Value
from vramguard.source.notebook import Notebook
from vramguard.source.python import Source


def said(value: Value) -> object:  # noqa: PLR0911 - a row for each kind
    """A value as plain Python: `?` before what cannot be told, `<path>` for a file's text, a set for alternatives."""
    match value:
        case Text():
            return value.value if value.known else f"?{value.value}"
        case Scalar():
            return value.value
        case Items():
            return [said(item) for item in value.items]
        case Table():
            return {said(key): said(held) for key, held in value.pairs}
        case Either():
            return {str(said(option)) for option in value.options}
        case Contents():
            return f"<{value.path.value}>"
        case Opaque():
            return f"?{value.written}"


def worth(code: str) -> object:
    """What the last line, an expression, is worth."""
    module = Module(Source(code))
    tree = module.source.tree
    assert tree is not None
    last = tree.body[-1]
    assert isinstance(last, ast.Expr)
    return said(module.value(last.value))


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("'a'", "a"),
        ("'a' 'b' + 'c'", "abc"),
        ("('a', *['b', 'c'], {'d'})", ["a", "b", "c", ["d"]]),
        ("['a'] + ['b'] + list(('c',))", ["a", "b", "c"]),
        ("{'a': 1, **{'b': None}}", {"a": 1, "b": None}),
        ("{'a': 'x', 'a': 'y'}['a']", "y"),
        ("['a', 'b'][1]", "b"),
        ("{'a': 1}.get('b', 'c')", "c"),
        ("'a b  c'.split()", ["a", "b", "c"]),
        ("'a,b'.split(',')", ["a", "b"]),
        ("'a\\nb\\n\\n'.splitlines()", ["a", "b"]),
        ("' a '.strip()", "a"),
        ("'-'.join(['a', 'b'])", "a-b"),
        ("'{}=={v}'.format('a', v=1)", "a==1"),
        ("'{0}{{}}{0}'.format('a')", "a{}a"),
        ("'%s==%s' % ('a', 2)", "a==2"),
        ("'%(x)s%%' % {'x': 'a'}", "a%"),
        ("f'a=={1}'", "a==1"),
        ("f'a=={x}'", "?a==${X}"),
        ("f'a=={x:.1f}'", "?a==${X}"),
        ("import os\nf\"a=={os.environ['V']}\"", "?a==${V}"),
        ("import os\nf\"a=={os.getenv('V')}\"", "?a==${V}"),
        ("import os\nos.environ.get('V', 'd')", "d"),
        ("import os\nos.environ.get('V')", "?os.environ.get('V')"),
        ("import os\nos.environ.get('V') or 'd'", "d"),
        ("import os\nos.path.join(os.path.dirname(__file__), 'x', 'y.txt')", "./x/y.txt"),
        ("from pathlib import Path\nPath(__file__).resolve().parent / 'y.txt'", "./y.txt"),
        ("from pathlib import Path\nPath(__file__).parent.parent / 'y.txt'", "../y.txt"),
        ("import sys\n[sys.executable, '-m']", ["python", "-m"]),
        ("'a' if x else 'b'", {"a", "b"}),
        ('f\'a=={"1" if x else "2"}\'', {"a==1", "a==2"}),
        ("sum([['a'], ['b']], [])", ["a", "b"]),
        ("from itertools import chain\nlist(chain(*{'x': ['a']}.values()))", ["a"]),
        ("dict(a='b')", {"a": "b"}),
        ("[x + '!' for x in ['a', 'b']]", ["a!", "b!"]),
        ("[y for x in [['a'], ['b']] for y in x if y]", ["a", "b"]),
        ("{k: v for k, v in {'a': 'b'}.items()}", {"a": "b"}),
        ("sorted({'a': 1})", ["a"]),
        ("g('a')", "?g('a')"),
        ("'a' * 1000000000", "?'a' * 1000000000"),
        ("lambda: 1", "?lambda: 1"),
    ],
)
def test_expressions(code: str, value: object) -> None:
    assert worth(code) == value


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("a = 'x'\na", "x"),
        ("a = 'x'\na = 'y'\na", "y"),
        ("a = ['x']\nb = a\na = ['y']\nb", ["x"]),
        ("a = ['x']\na = a + ['y']\na += ['z']\na", ["x", "y", "z"]),
        ("a = ['x']\nif c:\n    a.append('y')\na.extend(['z'])\na", ["x", "y", "z"]),
        ("if c:\n    a = 'x'\nelse:\n    a = 'y'\na", {"x", "y"}),
        ("a = 'x'\nif c:\n    a = 'y'\na", {"x", "y"}),
        ("try:\n    import a\nexcept ImportError:\n    a = 'x'\na", {"?a", "x"}),
        ("a, (b, c) = 'x', ('y', 'z')\n[a, b, c]", ["x", "y", "z"]),
        ("a = {}\na['k'] = ['x']\na['k'] += ['y']\na['k'].append('z')\na", {"k": ["x", "y", "z"]}),
        ("a = {}\na.update({'k': 'x'})\na", {"k": "x"}),
        ("a = []\nfor x in ['p', 'q']:\n    a.append(x)\na", [{"p", "q"}]),
        ("class C:\n    V = '1'\nf'a=={C.V}'", "a==1"),
        ("from m import a\na", "?a"),
        ("a = b\nb = a\na", "?b"),
        ("a: list = ['x']\na", ["x"]),
        ("if __name__ == '__main__':\n    a = 'x'\na", "x"),
    ],
)
def test_names(code: str, value: object) -> None:
    assert worth(code) == value


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("def f():\n    return ['x']\nf()", ["x"]),
        ("def f(p, q='d', *r, s='t'):\n    return [p, q, *r, s]\nf('a', s='u')", ["a", "d", "u"]),
        ("def f(*p):\n    return [t[x] for x in p]\nt = {'a': 'A', 'b': 'B'}\nf('a', 'b')", ["A", "B"]),
        ("def f():\n    if c:\n        return []\n    return ['x']\nf()", {"[]", "['x']"}),
        ("def f():\n    yield 'x'\n    yield from ['y']\nf()", ["x", "y"]),
        ("f = lambda p: p + '!'\nf('a')", "a!"),
        ("def f(n):\n    return ['x'] + f(n)\nf(1)", ["x"]),
        ("def f(p):\n    def g():\n        return p\n    return g()\nf('a')", "a"),
        ("def f():\n    pass\nf()", "?f()"),
        ("open('r.txt').read().split('\\n')", "<r.txt>"),
        ("[x.strip() for x in open('r.txt') if x]", ["<r.txt>"]),
        ("from pathlib import Path\nPath('r.txt').read_text().splitlines()", "<r.txt>"),
        ("def f(n):\n    with open(n) as h:\n        return h.readlines()\nf('r.txt')", "<r.txt>"),
        ("def f(n):\n    a = []\n    for x in open(n):\n        a.append(x)\n    return a\nf('r.txt')", ["<r.txt>"]),
        ("f'a=={open(\"VERSION\").read()}'", "?a==${VERSION}"),
        ("import re\nre.search('x', 'y')", "?re.search('x', 'y')"),
    ],
)
def test_functions_and_files(code: str, value: object) -> None:
    assert worth(code) == value


TABLE = r"""
import re
_deps = ["torch>=2,<3", "numpy"]
deps = {b: a for a, b in (re.findall(r"^(([^!=<>~ ]+)(?:[!=<>~ ].*)?$)", x)[0] for x in _deps)}
def deps_list(*names):
    return [deps[name] for name in names]
deps_list("numpy", "torch")
"""


def test_the_table_of_versions_that_many_copied() -> None:
    assert worth(TABLE) == ["numpy", "torch>=2,<3"]


def test_what_a_name_is_worth_depends_on_where_it_is_asked() -> None:
    source = Source("a = ['x']\nfirst(a)\na.append('y')\nsecond(a)\ndef f():\n    return third(a)\n")
    module = Module(source)
    assert source.tree is not None
    calls = [node for node in ast.walk(source.tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    found = {call.func.id: said(module.value(call.args[0])) for call in calls if isinstance(call.func, ast.Name)}
    assert found == {"first": ["x"], "second": ["x", "y"], "third": ["x", "y"]}


def places(code: str) -> list[tuple[str, tuple[int, ...]]]:
    module = Module(Source(code))
    assert module.source.tree is not None
    last = module.source.tree.body[-1]
    assert isinstance(last, ast.Expr)
    return [(text.value, module.place(text)) for text in module.strings(last.value) if isinstance(text, Text)]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("a = ['x',\n  'é', 'y']\na", [("x", (1, 6, 1, 9)), ("é", (2, 3, 2, 6)), ("y", (2, 8, 2, 11))]),
        ("'a bc'.split()", [("a", (1, 2, 1, 3)), ("bc", (1, 4, 1, 6))]),
        ("'''\na\n  é b\n'''.split()", [("a", (2, 1, 2, 2)), ("é", (3, 3, 3, 4)), ("b", (3, 5, 3, 6))]),
        ("' a '.strip()", [("a", (1, 3, 1, 4))]),
        ("'a\\tb'.split()", [("a", (1, 1, 1, 7)), ("b", (1, 1, 1, 7))]),  # escapes: the whole string's
        ("'a' + 'b'", [("ab", (1, 1, 1, 10))]),
    ],
)
def test_places(code: str, found: object) -> None:
    assert places(code) == found


def test_places_in_a_notebook() -> None:
    text = '{"cells": [{"cell_type": "code", "source": ["x = 1\\n", "a = \'b c\'.split()"]}]}'
    module = Module(Notebook(text))
    assert module.source.tree is not None
    statement = module.source.tree.body[1]
    assert isinstance(statement, ast.Assign)
    first, second = module.strings(statement.value)
    for value in (first, second):
        assert isinstance(value, Text)
        span = module.place(value)
        assert text[span.column - 1 : span.end_column - 1] == value.value


@pytest.mark.parametrize(
    "code",
    [
        "a = 'x'\n" + "a = a + a\n" * 100 + "a",
        "a = ['x']\n" + "a = a + a\n" * 100 + "a",
        "a = ['x']\n" + "for b in a:\n    a.append(b)\n" * 200 + "a",
        "+".join(["'x'"] * 900),
        "[" * 80 + "]" * 80,
        "def f(a):\n    return [f(a + 'x'), f(a + 'y')]\nf('')",
        "".join(f"def f{n}(a):\n    return f{n + 1}(a) + f{n + 1}(a)\n" for n in range(60)) + "f0('x')",
        "[a for a in range for b in a for c in b for d in c]",
        "a = ['x', 'y'] * 1\nb = [c + d + e for c in a for d in a for e in a]\nb",
        "a = list('" + "x" * 5000 + "')\n[b + c for b in a for c in a]",
        "'{}'.format(" + "'x'," * 3000 + ")",
        "'x'.replace('x', 'y' * 9).join(['z'] * 9)",
        "a = {}\n" + "".join(f"a['{n}'] = a\n" for n in range(300)) + "a",
        "'%999999999d' % 1",
    ],
)
def test_hostile_code_is_answered_at_once(code: str) -> None:
    with within(5):
        worth(code)


pieces = st.sampled_from(
    ["a", "b", "'x'", "[", "]", "(", ")", "{", "}", "+", "%", ".", "split", "join", "format", ",", ":", "=", "\n", "*"]
)
more = st.sampled_from(["for", "in", "if", "else", "lambda", " ", "f'{a}'", "open", "return", "def f():\n ", "1", "-1"])


@given(st.lists(st.one_of(pieces, more), max_size=14).map("".join))
def test_no_code_is_too_strange(code: str) -> None:
    module = Module(Source(code))
    for node in ast.walk(module.source.tree or ast.Module([], [])):
        if isinstance(node, ast.expr) and hasattr(node, "lineno"):
            for text in module.strings(node):
                module.place(text)
