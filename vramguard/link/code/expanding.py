"""Arguments that a model wrote, and with which a tool is run as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.link.code import Code
    from vramguard.link.code.flow import Edge
    from vramguard.link.code.program import Ref

# What a tool that is run goes by, whichever it is: `plugin.execute`, `function_to_call`.
_RUN: Final = re.compile(r"(^|_)(a?execute|a?run|call|a?invoke|func|fn|function|tool|handler)(_impl|_async)?$")
_READING: Final = frozenset({"get", "items", "keys", "values", "copy"})


def carried_out(code: Code, parse: Ref, asks: Callable[[Edge], bool]) -> bool:
    """`tool.execute(**json.loads(arguments))`: whether a tool is run with all that was parsed, and nothing asked it
    here before. What comes back is the tool's answer: to ask that asks nothing of what the tool was given.
    """
    edges = code.flow.forward(parse, lambda edge: _leaves(code, edge)).edges
    return any(_expands(code, edge) for edge in edges) and not any(map(asks, edges))


def _leaves(code: Code, edge: Edge) -> bool:
    """Whether a value goes to somebody else."""
    return edge.user.node.op == "call" and code.written(edge.user).rpartition(".")[2] not in _READING


def _expands(code: Code, edge: Edge) -> bool:
    """Whether a call of nobody knows what gets a table as its keywords."""
    call = edge.user
    if call.node.op != "call" or edge.position <= 0 or call.node.keywords[edge.position - 1] != "**":
        return False
    function = call.to(call.node.inputs[0])
    named = function.node.op == "item" or _RUN.search(code.written(call).rpartition(".")[2].lower()) is not None
    return named and not code.meanings.routines(call)
