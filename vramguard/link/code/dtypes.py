"""Arrays of float64 that become tensors while a request waits: NumPy's own type, where nobody says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts.boundaries import WideTensor
from vramguard.facts.outputs import Step
from vramguard.link.code import program
from vramguard.link.code.outputs import joined
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Table
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine

_DEEP: Final = 12  # steps back to what made an array
# torch 2.13, torch/_tensor_docs.py: each keeps the array's own type.
_TENSORS: Final = Table([{"call": "torch.{tensor,from_numpy,as_tensor,asarray}"}])
# NumPy 2.4: float64 unless `dtype` says otherwise. numpy.array of integers is of integers, so that alone says nothing.
_WIDE: Final = Table([
    {"call": [
        "numpy.{zeros,ones,full,linspace,eye,identity,empty}", "numpy.random.{rand,randn,random,uniform,normal}",
        "numpy.random.default_rng().{random,uniform,normal}",
        "sklearn.**().{transform,fit_transform,inverse_transform}",
        "pandas.**.to_numpy", "pandas.**.astype().to_numpy",
    ]}
])  # fmt: skip
_ARRAYS: Final = Table(
    [{"call": "numpy.{array,asarray,stack,concatenate,vstack,hstack,expand_dims,reshape,squeeze,asfarray,atleast_2d}"}]
)
_NARROW: Final = ("float32", "float16", "half", "float", "bfloat16", "int32", "int64", "uint8", "int", "long")
_CASTS: Final = frozenset(
    {"float", "half", "bfloat16", "long", "int", "type", "type_as", "bool", "short", "byte", "to"}
)


def wide_tensors(facts: Facts) -> tuple[WideTensor, ...]:
    """Every array of float64 that a handler, or what it runs, makes a tensor of without a type."""
    return facts.once("wide tensors", lambda facts: tuple(_wide(program(facts), facts)))


def _wide(code: Code, facts: Facts) -> Iterator[WideTensor]:
    served = _served(code, facts)
    for routine, handler in served.items():
        for number in routine.all_of("call"):
            call = Ref(routine, number)
            if _TENSORS.among(code.meanings.called(call)) is None or _is_typed(code, call):
                continue
            given = code.argument(call, "data", 0)
            origin = _origin(code, given) if given is not None else None
            if origin is not None:
                yield _found(code, call, origin, handler)


def _served(code: Code, facts: Facts) -> dict[Routine, Routine]:
    """The functions that run while a request waits, each with a handler that runs them."""
    found: dict[Routine, Routine] = {}
    for handler, surface in joined(facts).surfaces.items():
        if surface.kind in ("http", "rpc", "ui"):
            for routine in code.reaches(handler):
                found.setdefault(routine, handler)
    return found


def _found(code: Code, call: Ref, origin: Ref, handler: Routine) -> WideTensor:
    steps = (
        Step(origin.at, f"`{code.written(origin) or origin.node.name}` makes float64"),
        Step(call.at, f"`{code.written(call)}(…)` keeps it"),
        Step(Ref(handler, 0).at, f"`{code.name(handler)}` waits for it"),
    )
    return WideTensor(call.at, code.written(call), code.written(origin) or f"{origin.node.name}", steps)


def _is_typed(code: Code, call: Ref) -> bool:
    """Whether a call says its type, or a cast follows at once."""
    if code.argument(call, "dtype") is not None:
        return True
    pending, seen = [call.number], set[int]()
    while pending and len(seen) < _DEEP:
        number = pending.pop()
        if number in seen:
            continue
        seen.add(number)
        for user in call.routine.users.get(number, ()):
            node = call.routine.function.nodes[user]
            if node.op == "attr" and node.name in _CASTS and _casts(call.to(user)):
                return True
            if node.op in ("attr", "join") or (node.op == "call" and node.inputs[0] == number):
                pending.append(user)
    return False


def _casts(attribute: Ref) -> bool:
    """`.to("cuda")` moves only; `.to(torch.float32)`, `.to(x.dtype)` and `.to(device, dtype)` cast."""
    if attribute.node.name != "to":
        return True
    nodes = attribute.routine.function.nodes
    for user in attribute.routine.users.get(attribute.number, ()):
        call = nodes[user]
        if call.op == "call" and call.inputs[0] == attribute.number:
            words = [nodes[number].name for number in call.inputs[1:] if number != NONE]
            if "dtype" in call.keywords or any(word in (*_NARROW, "dtype", "float64", "double") for word in words):
                return True
    return False


def _origin(code: Code, ref: Ref, depth: int = 0) -> Ref | None:
    """What made an array one of float64; None where it is none, or nobody can tell."""
    node = ref.node
    if depth > _DEEP:
        return None
    if node.op == "binary" and node.name == "/":
        return ref if any(_is_array(code, inner, depth + 1) for inner in ref.inputs()) and not _is_narrow(ref) else None
    if node.op in ("join", "item", "part", "binary", "if", "attr"):
        inputs = list(ref.inputs())[:1] if node.op in ("item", "part") else list(ref.inputs())
        if node.op == "attr" and node.name == "values" and _is_frame(code, inputs[0]):
            return ref
        return next((found for inner in inputs if (found := _origin(code, inner, depth + 1)) is not None), None)
    if node.op != "call":
        return None
    return _made(code, ref, depth)


def _made(code: Code, call: Ref, depth: int) -> Ref | None:
    paths = code.meanings.called(call)
    last = call.to(call.node.inputs[0]).node
    if code.argument(call, "dtype") is not None or last.name in ("astype", "float32", "view") or _is_narrow(call):
        return None
    if _WIDE.among(paths) is not None:
        return call
    if _ARRAYS.among(paths) is not None and len(call.node.inputs) > 1:
        return _origin(code, call.to(call.node.inputs[1]), depth + 1)
    for routine in code.meanings.routines(call):
        for number in routine.all_of("return"):
            inputs = routine.function.nodes[number].inputs
            found = _origin(code, Ref(routine, inputs[0]), depth + 1) if inputs else None
            if found is not None:
                return found
    if last.op == "attr" and last.name in ("reshape", "squeeze", "copy", "transpose", "flatten", "ravel", "clip"):
        return _origin(code, call.to(last.inputs[0]), depth + 1)
    return None


def _is_frame(code: Code, ref: Ref) -> bool:
    return any(path.startswith("pandas.") for path in code.meanings.paths(ref))


def _is_array(code: Code, ref: Ref, depth: int) -> bool:
    """Whether a value is an array of NumPy."""
    if any(path.startswith("numpy.") for path in code.meanings.paths(ref)):
        return True
    return _origin(code, ref, depth) is not None


def _is_narrow(ref: Ref) -> bool:
    """Whether an array was made of something that is float32 already."""
    pending, seen = [ref.number], set[int]()
    nodes = ref.routine.function.nodes
    while pending and len(seen) < _DEEP * 4:
        number = pending.pop()
        if number in seen or number == NONE:
            continue
        seen.add(number)
        node = nodes[number]
        if (node.op == "attr" and node.name in ("float32", "float16")) or (
            node.op == "const" and node.name.strip("'\"") in ("float32", "float16")
        ):
            return True
        pending += node.inputs
    return False
