"""Chains of calls that a model stands in: `prompt | model.with_structured_output(Answer)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.code.meaning import Own
from vramguard.link.code.program import Ref

if TYPE_CHECKING:
    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine

_MOST: Final = 60  # places that one chain is looked for in
_STRUCTURED: Final = ("with_structured_output", "as_structured_llm")
_PARSERS: Final = (
    "PydanticOutputParser", "PydanticToolsParser", "OutputFixingParser", "RetryOutputParser", "EnumOutputParser",
    "GuardrailsOutputParser", "create_structured_output_runnable", "create_extraction_chain_pydantic",
)  # fmt: skip


class Chains:
    """Finds what the parts of a chain are."""

    def __init__(self, code: Code) -> None:
        self.code = code

    def structured(self, call: Ref) -> Ref | None:
        """Of `chain.invoke(…)`: the part of the chain that gives an instance of a schema or refuses."""
        function = call.to(call.node.inputs[0])
        if function.node.op != "attr":
            return None
        pending = [function.to(function.node.inputs[0])]
        seen = set(pending)
        for ref in pending:
            if ref.node.op == "call" and self._gives_a_schema(ref):
                return ref
            for inner in self._parts(ref):
                if inner not in seen and len(pending) < _MOST:
                    seen.add(inner)
                    pending.append(inner)
        return None

    def _gives_a_schema(self, call: Ref) -> bool:
        last = call.routine.function.nodes[call.node.inputs[0]].name.rpartition(".")[2]
        return last in _STRUCTURED or last.startswith(_PARSERS)

    def _parts(self, ref: Ref) -> list[Ref]:
        """What a chain is made of, one step back."""
        node = ref.node
        if node.op == "name":
            return self.code.program.lookup(ref.routine, node.name)
        if node.op in ("join", "if", "or", "grown") or (node.op == "binary" and node.name == "|"):
            return list(ref.inputs())
        if node.op == "call":
            function = ref.to(node.inputs[0])
            own = [made for routine in self.code.meanings.routines(ref) for made in _returned(routine)]
            return own if own or function.node.op != "attr" else [function.to(function.node.inputs[0])]
        return self._kept(ref) if node.op == "attr" else self._imported(ref) if node.op == "import" else []

    def _kept(self, ref: Ref) -> list[Ref]:
        """What stands in an attribute of an object of ours."""
        found = []
        for one in self.code.meanings.of(ref.to(ref.node.inputs[0])):
            if isinstance(one, Own) and one.kind in ("instance", "class") and one.routine is not None:
                stores = self.code.meanings.kept(one.routine, ref.node.name)
                found += [store.to(store.node.inputs[1]) for store in stores]
        return found

    def _imported(self, ref: Ref) -> list[Ref]:
        base, _, last = ref.node.name.rpartition(".")
        path = self.code.program.resolve(ref.routine.path, base) if base.strip(".") else None
        module = self.code.program.module(path) if path is not None else None
        return self.code.program.lookup(self.code.program.routine(module, 0), last) if module is not None else []


def _returned(routine: Routine) -> list[Ref]:
    nodes = routine.function.nodes
    return [Ref(routine, node.inputs[0]) for node in nodes if node.op == "return" and node.inputs]
