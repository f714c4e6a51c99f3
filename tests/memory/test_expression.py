"""The formulas' language: what it computes, and that everything else is refused without running anything."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramguard.memory.expression import MAX_BITS, MAX_DEPTH, MAX_LENGTH, FormulaError, ceil_div, evaluate, names


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("7 - 2 - 1", 4),
        ("7 // 2 * 2", 6),
        ("-7 // 2", -4),
        ("- -3", 3),
        ("2 - -3", 5),
        ("ceil_div(7, 2)", 4),
        ("ceil_div(-7, 2)", -3),
        ("min(3, 1, 2) + max(3, 1, 2)", 4),
        ("max(tokens)", 5),
        ("tokens*layers", 10),
        ("  ( tokens )  ", 5),
    ],
)
def test_value(formula: str, value: int) -> None:
    assert evaluate(formula, {"tokens": 5, "layers": 2}) == value


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("", "ends too early"),
        ("1 +", "ends too early"),
        ("1 2", "unexpected '2'"),
        ("(1", "ends too early"),
        ("1)", "unexpected"),
        ("1 / 2", "unexpected character '/'"),
        ("2 ** 3", "no input"),
        ("1.5", "unexpected character '.'"),
        ("x", "no input 'x'"),
        ("min", "no input 'min'"),
        ("min()", "no input"),
        ("ceil_div(1)", "two values"),
        ("ceil_div(1, 2, 3)", "two values"),
        ("1 // 0", "division by zero"),
        ("ceil_div(1, tokens - 5)", "division by zero"),
        ("__import__(1)", "no input '__import__'"),
        ("tokens.real", "unexpected character"),
        ("1 if 2 else 3", "unexpected"),
        ("\u0661", "unexpected character"),
        ("(" * (MAX_DEPTH + 2) + "1" + ")" * (MAX_DEPTH + 2), "nested deeper"),
        ("-" * (MAX_DEPTH + 2) + "1", "nested deeper"),
        ("9" * (MAX_BITS + 1), "bits"),
        ("9" * MAX_BITS, "bits"),
        (" * ".join(["18446744073709551616"] * 5), "bits"),
        ("1" + " + 1" * MAX_LENGTH, "longer than"),
    ],
)
def test_refused(formula: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message.replace("(", r"\(").replace(")", r"\)")):
        evaluate(formula, {"tokens": 5})


def test_names() -> None:
    assert names("max(tokens, 2) * kv_heads + ceil_div(bits, 8)") == {"tokens", "kv_heads", "bits"}


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_agrees_with_python(a: int, b: int, c: int) -> None:
    inputs = {"a": a, "b": b, "c": c}
    assert evaluate("a * b - (a + b) // c + max(a, b) * min(a, -b)", inputs) == (
        a * b - (a + b) // c + max(a, b) * min(a, -b)
    )
    assert ceil_div(a, c) * c >= a > (ceil_div(a, c) - 1) * c


@given(st.text(alphabet="()+-*/,0123456789 abmincelfx_dv", max_size=60))
def test_total(text: str) -> None:
    """Any text gives an integer or a FormulaError."""
    with suppress(FormulaError):
        assert isinstance(evaluate(text, {"a": 1, "x": -2}), int)
