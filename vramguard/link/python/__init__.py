"""Places in Python where a model meets hardware, and commands that Python starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.link.python import commands, engines, loaders
from vramguard.link.python.fields import Arguments
from vramguard.link.python.names import External, Options, Repository
from vramguard.link.python.settings import Placed
from vramguard.link.python.values import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.facts import Deployment, Facts, Launch
    from vramguard.link.housed import Houses
    from vramguard.link.python.house import House
    from vramguard.source.program import Called, PythonModule


def called(facts: Facts, repository: Repository | None = None, houses: Houses | None = None) -> Iterator[Deployment]:
    """Every deployment that a call in Python makes, once for each thing that runs it; what it starts is `launches`."""
    repository = repository or Repository(facts)
    for module in repository.every.values():
        if not module.loads:
            continue
        homes = houses.of(module) if houses is not None else (None,)
        for one in module.calls:
            origin = origin_of(Reader(repository), module, one)
            if origin is None:
                continue
            for home in _running(homes, module, one):
                yield from _called(Reader(repository, home), module, one, origin, facts)


def _running(homes: Sequence[House | None], module: PythonModule, one: Called) -> Iterator[House | None]:
    """What runs a call: of actors that are classes of the module, the one that makes it."""
    names = {scope.name for scope in module.scopes if scope.kind == "class"}
    inside = set(module.name_of(one.scope).split("."))
    told = [home for home in homes if home is None or not home.actor or home.actor in inside]
    others = [home for home in homes if home is not None and home.actor and home.actor not in names]
    yield from told or (others if len(others) == 1 else [None])


def _called(reader: Reader, module: PythonModule, one: Called, origin: str, facts: Facts) -> Iterator[Deployment]:
    name = module.name_of(one.scope)
    if reader.home is not None and reader.home.has_cards:
        name = f"{reader.home.name}: {name}" if name else reader.home.name
    constructor = engines.constructor(origin)
    arguments = Arguments(reader, module, one, {}, {})
    positional = constructor.positional if constructor else loaders.loader(origin, arguments)
    if positional is None:
        return
    read(arguments, positional)
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


def read(arguments: Arguments, positional: tuple[str, ...]) -> None:
    """Fill in the values of a call's arguments, by name; `positional` are the names of those that have none."""
    module, call, scope = arguments.module, arguments.called.call, arguments.called.scope
    number = 0
    for argument in call.arguments:
        name = argument.name
        if name is None:
            name = positional[number] if number < len(positional) else f"argument {number + 1}"
            number += 1
        arguments.reader.sources.clear()
        value = arguments.reader.value(argument.value, module, scope)
        sources = dict.fromkeys(arguments.reader.sources)
        at = next(iter(sources)) if len(sources) == 1 else module.place(argument.value)
        value = _sure(value) if name == "**" else value
        if name == "**" and isinstance(value, dict):
            arguments.values |= {str(key): inner for key, inner in value.items()}
            arguments.places |= dict.fromkeys(map(str, value), at)
            arguments.places |= value.places if isinstance(value, Placed) else {}
        else:
            arguments.values[name] = value
            arguments.places[name] = at


def _sure(value: object) -> object:
    """The only table of several that holds anything: `settings or {}`."""
    full = [one for one in value.values if one] if isinstance(value, Options) else []
    plain = isinstance(value, Options) and all(one is None or isinstance(one, dict) for one in value.values)
    return full[0] if plain and len(full) == 1 else value


def launches(facts: Facts, repository: Repository | None = None, houses: Houses | None = None) -> Iterator[Launch]:
    """Every command that Python starts and that may be an engine's, and every container that it asks for."""
    repository = repository or Repository(facts)
    for module in repository.every.values():
        if module.loads:
            homes = houses.of(module) if houses is not None else (None,)
            yield from commands.launched(repository, module, homes)
            yield from commands.served(repository, module, homes)
            yield from commands.hosted(repository, module)
