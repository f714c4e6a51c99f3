"""Proofs re-evaluated by a reader that shares no code with the engine: Python's own parser, held to the grammar."""

from __future__ import annotations

import ast
import operator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramguard.checks.vram import device
from vramguard.memory import Answer, Proof, Workload, prove
from vramguard.memory.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Mapping

OPERATORS: Final = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
FUNCTIONS: Final = {"min": min, "max": max, "ceil_div": lambda a, b: (a + b - 1) // b}
CARDS: Final = ("h100-sxm5-80gb", "a100-sxm4-40gb", "l4", "t4")


def value(node: ast.expr, inputs: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return inputs[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -value(operand, inputs)
        case ast.BinOp(left=left, op=sign, right=right):
            return int(OPERATORS[type(sign)](value(left, inputs), value(right, inputs)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return int(FUNCTIONS[name](*(value(argument, inputs) for argument in arguments)))
    raise AssertionError(ast.dump(node))


def read(formula: str, inputs: Mapping[str, int]) -> int:
    return value(ast.parse(formula, mode="eval").body, inputs)


def check_arithmetic(proof: Proof, card: str, budget: Fraction) -> None:
    terms = proof.ledger.terms
    upper = [read(term.formula, term.inputs) for term in terms]
    lower = [read(term.lower_formula or term.formula, term.inputs) for term in terms]
    assert upper == [term.upper_bytes for term in terms]
    assert lower == [term.lower_bytes for term in terms]
    totals = proof.totals
    assert totals is not None
    assert (totals.peak_lower_bytes, totals.peak_upper_bytes) == (sum(lower), sum(upper))
    parts = (totals.weights_bytes, totals.kv_cache_bytes, totals.activation_bytes, totals.runtime_bytes)
    assert sum(parts) == sum(upper)
    assert proof.budget_bytes == int(device(card).capacity_bytes * budget)
    assert proof.headroom_bytes == proof.budget_bytes - sum(upper)
    fits, exceeds = sum(upper) <= proof.budget_bytes, sum(lower) > proof.budget_bytes
    assert proof.answer == (Answer.FITS if fits else Answer.EXCEEDS if exceeds else Answer.UNKNOWN)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
@settings(max_examples=20, deadline=None)
@given(st.data(), st.sampled_from(CARDS), st.integers(1, 16), st.fractions(Fraction(1, 50), 1, max_denominator=100))
def test_sums_and_the_longest_context(
    model_type: str, data: st.DataObject, card: str, concurrency: int, budget: Fraction
) -> None:
    """The ledger adds up, the longest context fits and one token more does not."""
    config = {"model_type": model_type, "torch_dtype": data.draw(st.sampled_from(("float16", "bfloat16", "float32")))}
    workload = Workload(gpu=card, concurrency=concurrency, max_model_len=data.draw(st.integers(1, 1024)))
    proof = prove(config, workload, device(card), budget)
    check_arithmetic(proof, card, budget)
    longest = proof.max_fitting_model_len
    assert longest is not None
    if longest:
        assert prove(config, replace(workload, max_model_len=longest), device(card), budget).answer is Answer.FITS
    more = prove(config, replace(workload, max_model_len=longest + 1), device(card), budget)
    at_most = prove(config, replace(workload, max_model_len=None), device(card), budget).workload.max_model_len
    assert longest == at_most or more.answer is not Answer.FITS
