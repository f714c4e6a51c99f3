"""Proofs re-evaluated by a reader that shares no code with the engine: Python's own parser, held to the grammar."""

from __future__ import annotations

import ast
import operator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import perturb, scores

from vramguard.checks.vram import device
from vramguard.memory import Answer, Proof, Totals, Workload, prove
from vramguard.memory.families import architecture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OPERATORS: Final[Mapping[type[ast.operator], Callable[[int, int], int]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}
FUNCTIONS: Final[Mapping[str, Callable[..., int]]] = {"min": min, "max": max, "ceil_div": lambda a, b: (a + b - 1) // b}
CARDS: Final = ("h100-sxm5-80gb", "a100-sxm4-40gb", "l4", "t4")


def value(node: ast.expr | str, inputs: Mapping[str, int]) -> int:
    match node:
        case str():
            return value(ast.parse(node, mode="eval").body, inputs)
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return inputs[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -value(operand, inputs)
        case ast.BinOp(left=left, op=sign, right=right):
            return OPERATORS[type(sign)](value(left, inputs), value(right, inputs))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return FUNCTIONS[name](*(value(argument, inputs) for argument in arguments))
    raise AssertionError(node)


def check_arithmetic(proof: Proof, card: str, budget: Fraction) -> None:
    terms = proof.ledger.terms
    upper = [value(term.formula, term.inputs) for term in terms]
    lower = [value(term.lower_formula or term.formula, term.inputs) for term in terms]
    assert (upper, lower) == ([term.upper_bytes for term in terms], [term.lower_bytes for term in terms])
    totals = cast("Totals", proof.totals)
    assert (totals.peak_lower_bytes, totals.peak_upper_bytes) == (sum(lower), sum(upper))
    parts = (totals.weights_bytes, totals.kv_cache_bytes, totals.activation_bytes, totals.runtime_bytes)
    assert sum(parts) == sum(upper)
    assert proof.budget_bytes == int(device(card).capacity_bytes * budget)
    assert proof.headroom_bytes == proof.budget_bytes - sum(upper)
    otherwise = Answer.EXCEEDS if sum(lower) > proof.budget_bytes else Answer.UNKNOWN
    assert proof.answer == (Answer.FITS if sum(upper) <= proof.budget_bytes else otherwise)


@pytest.mark.parametrize(("model_type", "name"), scores.SAMPLE)
@settings(max_examples=10, deadline=None)
@given(st.data(), st.sampled_from(CARDS), st.integers(1, 16), st.fractions(Fraction(1, 50), 1, max_denominator=100))
def test_sums_and_that_the_longest_context_is_exact(
    model_type: str, name: str, data: st.DataObject, card: str, concurrency: int, budget: Fraction
) -> None:
    dtype = data.draw(st.sampled_from(("float16", "bfloat16", "float32")))
    config = {**perturb.base(model_type, name), "torch_dtype": dtype}
    network = architecture(config)
    tokens = data.draw(st.integers(1, min(1024, network.context or 1024)))
    workload = Workload(gpu=card, concurrency=concurrency, max_model_len=tokens)
    proof = prove(config, workload, device(card), budget)
    assert proof.totals, proof.reason
    check_arithmetic(proof, card, budget)
    longest = cast("int", proof.max_fitting_model_len)
    limit = network.context or tokens
    assert 0 <= longest <= limit
    for length, fits in ((longest, True), (longest + 1, False)):
        if length and (fits or longest != limit):
            at = prove(config, replace(workload, max_model_len=length), device(card), budget)
            assert (at.answer is Answer.FITS) is fits
