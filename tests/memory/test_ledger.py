"""Terms cannot contradict their formulas, and sums are those of their group."""

from __future__ import annotations

import pytest

from vramguard.memory.expression import FormulaError
from vramguard.memory.ledger import Kind, Ledger, Term, bound, exact, measured


def test_exact() -> None:
    term = exact("weights/x", "a * b", {"a": 3, "b": 4})
    assert (term.lower_bytes, term.upper_bytes, term.kind, term.group) == (12, 12, Kind.EXACT, "weights")


def test_bound() -> None:
    term = bound("activations/x", "a * b", {"a": 3, "b": 4}, lower="a")
    assert (term.lower_bytes, term.upper_bytes, term.kind) == (3, 12, Kind.BOUND)


def test_measured() -> None:
    term = measured("runtime/x", 5, 9, "a log")
    assert (term.lower_bytes, term.upper_bytes, term.kind, term.source) == (5, 9, Kind.MEASURED, "a log")


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="does not hold"):
        bound("a/x", "1", {}, lower="2")
    with pytest.raises(ValueError, match="does not hold"):
        exact("a/x", "-1", {})
    with pytest.raises(FormulaError, match="no input"):
        exact("a/x", "b", {})


def test_inputs_are_copied() -> None:
    inputs = {"a": 1}
    term = Term("a/x", "a", inputs, Kind.EXACT)
    inputs["a"] = 2
    assert term.inputs["a"] == 1


def test_sums() -> None:
    ledger = Ledger((exact("a/x", "1", {}), bound("a/y", "4", {}, lower="2"), exact("ab/z", "8", {})))
    assert (ledger.lower_bytes("a"), ledger.upper_bytes("a")) == (3, 5)
    assert (ledger.lower_bytes(), ledger.upper_bytes()) == (11, 13)
    assert [term.name for term in ledger.group("a")] == ["a/x", "a/y"]
    assert len([*ledger]) == 3
