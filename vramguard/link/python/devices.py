"""Where a model goes once it is loaded: `.to("cuda")`, `.cuda()`, `.half()`, or nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vramguard.facts import Unknown
from vramguard.link.python.fields import dtype
from vramguard.link.python.names import External, Options
from vramguard.source import Location
from vramguard.source.expression import Attribute, Call, Expression, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.python.fields import Arguments, Fields
    from vramguard.source import Span
    from vramguard.source.program import Called, PythonModule

_MOVERS: Final = ("to", "cuda", "half")
# What puts a model on the card without a word of ours: accelerate, trainers, a pipeline around it.
_CARRIERS: Final = ("pipeline", "prepare", "dispatch_model", "init_inference", "initialize")
_OTHERS: Final = ("cpu", "mps", "xpu", "tpu", "npu", "hpu")


@dataclass(slots=True)
class Moves:
    """What is known of a loaded model's way: names that hold it, devices it is sent to, the dtype it is turned into."""

    names: frozenset[str] = frozenset()
    devices: list[str] = field(default_factory=list)  # cuda, cpu, ..., unknown
    dtype: str | None = None
    at: Location | None = None
    hosted: str | None = None  # the accelerator that its server runs on
    returned: bool = False


def moves(arguments: Arguments) -> Moves:
    """Follow the model of one call through its module."""
    call = arguments.called.call
    found = Moves(frozenset(arguments.once("holders", _holders).get(call.span, ())))
    returned, values = arguments.once("returned", _returned)
    found.returned = call.span in returned or not found.names.isdisjoint(values)
    for called in arguments.once("movers", _movers):
        function = called.call.function
        if isinstance(function, Attribute) and _is_of(function.base, call, found):
            _move(found, arguments, called)
    return found


def _movers(module: PythonModule) -> list[Called]:
    """Calls of `x.to`, `x.cuda` and `x.half`."""
    functions = ((called, called.call.function) for called in module.calls)
    return [called for called, of in functions if isinstance(of, Attribute) and of.name in _MOVERS]


def _holders(module: PythonModule) -> dict[Span, list[str]]:
    """Names that the result of a call is bound to, as they are written, by the call's place."""
    found: dict[Span, list[str]] = {}
    for scope, names in module.bindings.items():
        for name, bindings in names.items():
            shown = [name, f"self.{name}"] if module.scopes[scope].kind == "class" else [name]
            for span in {span for binding in bindings for span in _chain(binding.value)}:
                found.setdefault(span, []).extend(shown)
    return found


def _returned(module: PythonModule) -> tuple[set[Span], set[str]]:
    """Places of calls whose result is returned, and names that are."""
    values = [one.value for names in module.bindings.values() for one in names.get("return", ())]
    return {span for value in values for span in _chain(value)}, {dotted(value) for value in values}


def _chain(value: Expression) -> Iterator[Span]:
    """The place of a call, and of those that its methods are of: both of `X.from_pretrained(...).eval()`."""
    while isinstance(value, Call):
        yield value.span
        value = value.function.base if isinstance(value.function, Attribute) else value.function


def _is_of(base: Expression, call: Call, found: Moves) -> bool:
    return call.span in _chain(base) or dotted(base).removesuffix(".eval") in found.names


def _move(found: Moves, arguments: Arguments, called: Called) -> None:
    name = called.call.function.name if isinstance(called.call.function, Attribute) else ""
    at = arguments.module.place(called.call)
    if name == "half":
        found.dtype, found.at = found.dtype or "float16", found.at or at
        return
    if name == "cuda":
        found.devices.append("cuda")
        return
    for argument in called.call.arguments:
        value = arguments.reader.value(argument.value, arguments.module, called.scope)
        kind = dtype(value) if isinstance(value, External) else None
        if isinstance(kind, str):
            found.dtype, found.at = found.dtype or kind, found.at or at
        elif argument.name in (None, "device"):
            found.devices.append(_device(value))


def _device(value: object) -> str:
    """The kind of a device; where a GPU is one of several, the GPU."""
    if isinstance(value, Options):
        kinds = [_device(one) for one in value.values]
        return "cuda" if "cuda" in kinds else "unknown" if "unknown" in kinds else kinds[0]
    if type(value) is int:
        return "cuda" if value >= 0 else "cpu"
    if isinstance(value, str):
        kind = value.partition(":")[0].lower()
        return kind if kind in ("cuda", *_OTHERS) else "unknown"
    return "unknown"


def accelerator_of(arguments: Arguments, fields: Fields, moved: Moves, origin: str) -> str | None:
    """What is no GPU, where the model is loaded onto that: as it is said, or since nothing moves it off the CPU."""
    if moved.hosted:
        return moved.hosted
    device, _ = arguments.take("device")
    asked = fields.values.get("device_map")
    if device is not None or isinstance(asked, str | Unknown):
        return _said(device if device is not None else arguments.values.get("device_map"))
    if moved.devices:
        return next((None for kind in moved.devices if kind in ("cuda", "unknown")), moved.devices[-1])
    if not origin.endswith("from_pretrained") or "quantization" in fields.values or moved.returned:
        return None
    return None if arguments.once("reaches", lambda _: _reaches_a_card(arguments)) else "cpu"


def _said(device: object) -> str | None:
    """The accelerator of a device or a device map that is stated."""
    if isinstance(device, dict):
        kinds = {_device(value) for value in device.values()}
        return kinds.pop() if len(kinds) == 1 and kinds <= set(_OTHERS) else None
    kind = _device(device)
    return kind if kind in _OTHERS else None


def _reaches_a_card(arguments: Arguments) -> bool:
    """Whether anything in the module could bring its models to a card."""
    for called in arguments.module.calls:
        name = dotted(called.call.function).rpartition(".")[2]
        if name == "cuda" or name in _CARRIERS or name.endswith("Trainer"):
            return True
        if name == "to" and called.call.arguments:
            value = arguments.reader.value(called.call.arguments[0].value, arguments.module, called.scope)
            if not isinstance(dtype(value) if isinstance(value, External) else None, str) and _device(value) != "cpu":
                return True
    return False
