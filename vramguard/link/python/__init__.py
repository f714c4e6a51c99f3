"""Places in Python where a model meets hardware, and commands that Python starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.link.python import commands, engines, loaders
from vramguard.link.python.fields import Arguments
from vramguard.link.python.names import External, Repository
from vramguard.link.python.values import Reader
from vramguard.source.program import PythonModule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Deployment, Facts, Launch
    from vramguard.source.program import Called


def called(facts: Facts) -> Iterator[Deployment]:
    """Every deployment that a call in Python makes; commands that it starts are `launches`."""
    repository = Repository(facts)
    for module in facts.of(PythonModule):
        for one in module.calls if module.loads else ():
            yield from _called(repository, module, one, facts)


def _called(repository: Repository, module: PythonModule, one: Called, facts: Facts) -> Iterator[Deployment]:
    reader = Reader(repository)
    origin = origin_of(reader, module, one)
    if origin is None:
        return
    name = module.name_of(one.scope)
    constructor = engines.constructor(origin)
    arguments = Arguments(reader, module, one, {}, {})
    positional = constructor.positional if constructor else loaders.loader(origin, arguments)
    if positional is None:
        return
    _read(arguments, positional)
    if constructor is None:
        found = loaders.deployment(origin, arguments, name)
    else:
        found = engines.deployment(constructor, arguments, name, facts)
    if found is not None:
        yield found


def origin_of(reader: Reader, module: PythonModule, one: Called) -> str | None:
    """The full name of what is called, where it is somebody else's."""
    value = reader.value(one.call.function, module, one.scope)
    reader.assumed.clear()
    if not isinstance(value, External):
        return None
    if "." in value.origin and value.root in reader.repository.once("roots", module, _roots):
        return value.origin
    stars = [found.module for found in module.imports if found.attribute == "*" and not found.level]
    return f"{stars[0]}.{value.origin}" if stars else value.origin


def _roots(module: PythonModule) -> frozenset[str]:
    return frozenset(found.module.partition(".")[0] for found in module.imports)


def _read(arguments: Arguments, positional: tuple[str, ...]) -> None:
    """The values of a call's arguments, by name."""
    module, call, scope = arguments.module, arguments.called.call, arguments.called.scope
    number = 0
    for argument in call.arguments:
        name = argument.name
        if name is None:
            name = positional[number] if number < len(positional) else f"argument {number + 1}"
            number += 1
        value = arguments.reader.value(argument.value, module, scope)
        at = module.place(argument.value)
        if name == "**" and isinstance(value, dict):
            arguments.values |= {str(key): inner for key, inner in value.items()}
            arguments.places |= dict.fromkeys(map(str, value), at)
        else:
            arguments.values[name] = value
            arguments.places[name] = at


def launches(facts: Facts) -> Iterator[Launch]:
    """Every command that Python starts and that may be an engine's, and every container that it asks for."""
    repository = Repository(facts)
    for module in facts.of(PythonModule):
        if module.loads:
            yield from commands.launched(repository, module)
            yield from commands.hosted(repository, module)
