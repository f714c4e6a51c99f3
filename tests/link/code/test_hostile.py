"""Programs that go in circles, or are written by programs: an answer, always the same one, and soon."""

from __future__ import annotations

import subprocess
import sys

import pytest
from programs import call, code
from timed import within

from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Table

HEAD = "import joblib\nm = joblib.load('m')\n"
TYPES = """from typing import Optional
A = Optional[B]
B = Optional[A]
def f(x: A):
    return x.predict(1)
"""
ALIKE = """class C{n}:
    def predict(self, q):
        self.q = q
        return q.predict(self.q)
"""
PUTS = """def s{n}(x):
    D['{n}'] = m
    return D['{n}1'].predict(x)
"""


def each(text: str, count: int) -> str:
    """A text for each number; `{m}` is the one after."""
    return "".join(text.format(n=n, m=n + 1) for n in range(count))


def calling(number: int) -> str:
    others = " or ".join(f"f{(number + 7 * step) % 300}(x)" for step in range(1, 9))
    return f"def f{number}(x):\n    return {others} or m.predict(x)\n"


MANY = {
    "a class below a thousand": "class K0(joblib.M): ...\n"
    + each("class K{m}(K{n}): ...\n", 1000)
    + "K1000().predict(1)\n",
    "types that stand for themselves": TYPES,
    "diamonds of classes": "class A0: ...\nclass B0: ...\n"
    + each("class A{m}(A{n}, B{n}): ...\nclass B{m}(A{n}, B{n}): ...\n", 40)
    + "A40().predict(1)\n",
    "functions that all call each other": "".join(map(calling, range(300))),
    "many that are called alike": each(ALIKE, 600),
    "many puts and reads of a table": "D = {}\n" + each(PUTS, 800),
}


@pytest.mark.parametrize("name", MANY)
def test_every_call_is_answered_soon(name: str) -> None:
    program = code(HEAD + MANY[name])
    with within(10):
        calls = [Ref(routine, number) for routine in program.routines for number in routine.all_of("call")]
        assert calls
        for one in calls:
            program.meanings.called(one)
            program.meanings.routines(one)
        for routine in program.routines:
            program.meanings.callers(routine)


CIRCLE = """
def a(x):
    if x:
        return b(x - 1)
    return joblib.load("first")
def b(x):
    if x:
        return c(x - 1)
    return torch.load("second")
def c(x):
    return a(x - 1) or b(x)
ra = a(1)
ra.predict(1)
rc = c(1)
rc.predict(1)
rb = b(1)
rb.predict(1)
"""


@pytest.mark.parametrize("order", ["abc", "acb", "bac", "bca", "cab", "cba"])
def test_meanings_hang_on_no_order(order: str) -> None:
    program = code("import joblib, torch\n" + CIRCLE)
    for name in order:
        found = program.meanings.called(call(program, f"r{name}.predict"))
        assert found == {"joblib.load().predict", "torch.load().predict"}


CUT = """
import sys
from programs import code, call
packages = [f"p{n}" for n in range(30)]
loads = " or ".join(f"{name}.load()" for name in packages)
program = code(f"import {', '.join(packages)}\\nm = {loads}\\nm.predict(1)\\n")
sys.stdout.write(" ".join(sorted(program.meanings.called(call(program, "m.predict")))))
"""


def test_the_same_meanings_are_kept_of_too_many() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", CUT],
            capture_output=True,
            check=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in "012"
    }
    assert len(found) == 1
    assert found.pop()


def fan(number: int) -> str:
    """A function that asks, and one that refuses, each by way of every other."""
    others = [(number + step) % 40 for step in range(1, 40)]
    asks = " and ".join(f"ok{one}(y)" for one in others)
    refuses = "".join(f"    no{one}(y)\n" for one in others)
    return (
        f"def ok{number}(y):\n    return {asks} and y > 0\n"
        f"def no{number}(y):\n    if y < {number}:\n        raise ValueError\n{refuses}"
    )


def test_a_guard_within_guards_is_gone_through_once() -> None:
    end = "    no0(y)\n    if not ok0(y):\n        raise ValueError\n    return y\n"
    program = code(HEAD + "".join(map(fan, range(40))) + f"def f(x):\n    y = m.predict(x)\n{end}")
    source = call(program, "m.predict")
    last = source.to(next(source.routine.all_of("return")))
    with within(5):
        found = list(program.guards.of(last, program.flow.forward(source).values(source.routine)))
        assert {guard.leaves for guard in found} == {"raise"}
        assert len(found) == 41


def test_a_condition_of_many_joins_is_no_recursion() -> None:
    joins = "".join(f"    if x > {n}:\n        z = z + y\n    z = [z]\n" for n in range(1500))
    program = code(
        HEAD + f"def f(x):\n    y = m.predict(x)\n    z = 0\n{joins}    if z:\n        raise ValueError\n    return y\n"
    )
    source = call(program, "m.predict")
    last = source.to(max(source.routine.all_of("return")))
    assert list(program.guards.of(last, frozenset({source.number})))


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("{torch,jax}.load", "jax.load", True),
        ("torch*.load", "torchvision.load", True),
        ("**.predict", "?m.predict", True),
        ("torch.load", "torchvision.load", False),
        ("torch", "torch", True),
        ("?app.**", "?app.get", True),
        ("{a,b}x.c", "bx.c", True),
    ],
)
def test_rows_are_found_by_their_first_word_too(pattern: str, path: str, *, fits: bool) -> None:
    assert (Table([{"call": pattern}]).row(path) is not None) is fits


def test_the_first_of_several_rows_speaks() -> None:
    table = Table([{"call": "**.load", "n": 1}, {"call": "torch.load", "n": 2}])
    assert table.among(["torch.load"]) == {"call": "**.load", "n": 1}
