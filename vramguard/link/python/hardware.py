"""The cards that a Python program asks for itself: decorators of Modal, BentoML and Ray, a server's own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Hardware, Unknown
from vramguard.link.manifests import cards as joined
from vramguard.link.python.builtins import table
from vramguard.link.python.names import External, Made, Options, text_of
from vramguard.source.expression import Call, dotted
from vramguard.source.program import MODULE

if TYPE_CHECKING:
    from vramguard.link.python.values import Reader
    from vramguard.source import Location
    from vramguard.source.program import Called, PythonModule

# Modal 1.x, gpu.py and the `gpu=` of `function` and `cls`: `TYPE`, `TYPE:COUNT`, or an object of the older `modal.gpu`.
_GPU: Final = re.compile(r"([A-Za-z0-9-]+)!?(?::([0-9]{1,3}))?\Z")
_CPU_DEVICES: Final = re.compile(r"(?:-1)?\Z")


def hardware(reader: Reader, module: PythonModule, scope: int) -> Hardware:
    """What the decorators around a scope ask for; else what the module makes visible, or runs its server on.

    A function without a decorator runs where it is called: on the module's only kind of card, if there is one. What
    none of these says is for what runs the module to say.
    """
    own = _own(reader, module, scope)
    return own if reader.home is None else joined(reader.home.hardware, own)


def _own(reader: Reader, module: PythonModule, scope: int) -> Hardware:
    while scope != MODULE:
        found = _of_scope(reader, module, scope)
        if found is not None:
            return found
        scope = module.scopes[scope].parent
    found = _of_module(reader, module)
    if found.places:
        return found
    others = reader.repository.once("cards", module, lambda _: _all(reader, module))
    return others[0] if len(others) == 1 else Hardware()


def _of_scope(reader: Reader, module: PythonModule, scope: int) -> Hardware | None:
    for decorator in module.scopes[scope].decorators:
        found = _of_decorator(reader, decorator, module, module.scopes[scope].parent)
        if found is not None:
            return found
    return None


def _all(reader: Reader, module: PythonModule) -> list[Hardware]:
    """Every kind of cards that a decorator of the module asks for."""
    found: dict[tuple[object, object], Hardware] = {}
    for scope in range(1, len(module.scopes)):
        one = _of_scope(reader, module, scope)
        if one is not None:
            found.setdefault((one.gpu, one.gpus), one)
    return list(found.values())


def _of_decorator(reader: Reader, decorator: object, module: PythonModule, scope: int) -> Hardware | None:
    if not isinstance(decorator, Call):
        return None
    name = dotted(decorator.function).rpartition(".")[2]
    given = table(reader, decorator, module, scope)
    places = {argument.name: module.place(argument.value) for argument in decorator.arguments if argument.name}
    if name in ("function", "cls", "server") and "gpu" in given:
        return modal(given["gpu"], places["gpu"])
    if name == "service" and isinstance(given.get("resources"), dict):
        return _bentoml(given["resources"], places["resources"])
    if name in ("deployment", "remote"):
        return _ray(given, places)
    return None


def modal(value: object, at: Location) -> Hardware | None:
    """Modal's `gpu=`; a list of kinds that would all do is unknown."""
    if isinstance(value, Made) and value.call is not None and isinstance(value.of, External):
        return _modal_object(value, at)
    if isinstance(value, External) and ".gpu." in f".{value.origin}":
        value = value.last
    if isinstance(value, dict | list | Options):
        return Hardware(gpu=Unknown(text_of(value)), places={"gpu": at})
    if value is None or value == "any":
        return None
    match = _GPU.match(value) if isinstance(value, str) else None
    if match is None:
        return Hardware(gpu=Unknown(text_of(value)), places={"gpu": at})
    return Hardware(gpu=match[1], gpus=int(match[2] or 1), places={"gpu": at, "gpus": at})


def _modal_object(made: Made, at: Location) -> Hardware:
    """`modal.gpu.A100(count=2, size="80GB")`."""
    name = made.of.last if isinstance(made.of, External) else ""
    arguments = {one.name: one.value for one in made.call.arguments} if made.call else {}
    found = {key: str(value.value) for key, value in arguments.items() if hasattr(value, "value")}
    size = found.get("size") or found.get("memory")
    count = found.get("count", "1")
    gpu = f"{name}-{size.upper().removesuffix('GB')}GB" if size and size != "None" else name
    gpus = int(count) if count.isdigit() else Unknown(count)
    return Hardware(gpu=gpu, gpus=gpus, places={"gpu": at, "gpus": at})


def _bentoml(resources: object, at: Location) -> Hardware | None:
    if not isinstance(resources, dict) or not ({"gpu", "gpu_type"} & resources.keys()):
        return None
    kind, count = resources.get("gpu_type"), resources.get("gpu")
    gpu = kind if isinstance(kind, str) or kind is None else Unknown(text_of(kind))
    return Hardware(gpu=gpu, gpus=_count(count), places={"gpu": at, "gpus": at})


def _count(value: object) -> int | Unknown | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if type(value) is int:
        return value or None
    return None if value is None else Unknown(text_of(value))


def _ray(given: dict[str, object], places: dict[str, Location]) -> Hardware | None:
    """Ray's `ray_actor_options={"num_gpus": 1, "accelerator_type": "L4"}`, or the same as arguments of `remote`."""
    options = given.get("ray_actor_options", given)
    if not isinstance(options, dict) or "num_gpus" not in options:
        return None
    at = places.get("ray_actor_options") or places.get("num_gpus")
    kind, count = options.get("accelerator_type"), options["num_gpus"]
    share = f"{count}" if isinstance(count, float) and 0 < count < 1 else None
    found = {"gpus": at, "gpu": at} if at else {}
    gpu = kind if isinstance(kind, str) or kind is None else Unknown(text_of(kind))
    return Hardware(gpu=gpu, gpus=1 if share else _count(count), share=share, places=found)


def _of_module(reader: Reader, module: PythonModule) -> Hardware:
    """`os.environ["CUDA_VISIBLE_DEVICES"] = "0,1"`, and a LitServer's accelerator."""
    for put in module.bindings.get(MODULE, {}).get("os.environ", ()):
        if put.key == "CUDA_VISIBLE_DEVICES":
            value = reader.value(put.value, module, put.scope)
            at = module.place(put.value)
            if isinstance(value, str) and _CPU_DEVICES.match(value):
                return Hardware(accelerator="cpu", places={"accelerator": at})
            if isinstance(value, str):
                return Hardware(gpus=len([one for one in value.split(",") if one.strip()]), places={"gpus": at})
    for called in reader.repository.once("servers", module, _servers):
        given = called.call.argument("accelerator")
        if given is not None and reader.value(given, module, called.scope) == "cpu":
            return Hardware(accelerator="cpu", places={"accelerator": module.place(given)})
    return Hardware()


def _servers(module: PythonModule) -> list[Called]:
    return [called for called in module.calls if dotted(called.call.function).endswith("LitServer")]
