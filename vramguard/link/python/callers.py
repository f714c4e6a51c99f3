"""What the repository's own calls give a function, or a class when it is made, for a parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts import PathClass, Unknown
from vramguard.link.python.names import Defined, External, Folder, one_of
from vramguard.link.python.settings import Placed
from vramguard.source.expression import Attribute, Call, Expression, dotted
from vramguard.source.program import MODULE

if TYPE_CHECKING:
    from vramguard.link.python.names import Repository
    from vramguard.link.python.values import Reader
    from vramguard.source.program import Called, Parameter, PythonModule

Use = tuple["PythonModule", "Called"]
# Methods that call what they are of with the same arguments: Ray's, Modal's, a thread pool's own aside.
_THROUGH: Final = ("bind", "remote", "local", "spawn", "options")
_MOST: Final = 8  # calls of one function; what is called more often is no place of a setting


def others(reader: Reader, module: PythonModule, owner: int) -> Placed | None:
    """What the only call of a function gives for `**rest`; None where that is not to be told."""
    calls = _calls(reader, _made(module, owner))
    if len(calls) != 1 or any(one.name == "**" for one in calls[0][1].call.arguments):
        return None
    place, called = calls[0]
    taken = {parameter.name for parameter in module.scopes[owner].parameters}
    found = Placed()
    for one in called.call.arguments:
        if one.name is not None and one.name not in taken:
            reader.sources.clear()
            found[one.name] = reader.value(one.value, place, called.scope)
            sources = dict.fromkeys(reader.sources)
            found.places[one.name] = next(iter(sources)) if len(sources) == 1 else place.place(one.value)
    return found


def _made(module: PythonModule, owner: int) -> Defined:
    """What is called for a function to run: of what makes an instance, the class."""
    function = module.scopes[owner]
    maker = module.scopes[function.parent].kind == "class" and function.name in ("__init__", "__new__")
    return Defined(module, function.parent if maker else owner)


def passed(reader: Reader, module: PythonModule, owner: int, parameter: Parameter) -> tuple[object] | None:
    """What is given for a parameter wherever the function is called, in a tuple; None where nobody gives anything."""
    function = module.scopes[owner]
    method = module.scopes[function.parent].kind == "class"
    calls = _calls(reader, _made(module, owner))
    position = function.parameters.index(parameter) - (1 if method else 0)
    given = [(place, called, _argument(called.call, parameter.name, position)) for place, called in calls]
    if not any(argument is not None for _, _, argument in given):
        return None
    values = []
    for place, called, argument in given:
        before = len(reader.sources)
        expression = argument or parameter.default
        if expression is None:
            return None
        value = reader.value(expression, *((place, called.scope) if argument else (module, function.parent)))
        if len(reader.sources) == before and argument is not None and not isinstance(value, Unknown):
            reader.sources.append(place.place(argument))
        values.append(value)
    return (one_of(values),)


def _argument(call: Call, name: str, position: int) -> Expression | None:
    """The argument of a parameter; None where it is not given, or brought by `*` or `**`."""
    named = next((one.value for one in call.arguments if one.name == name), None)
    plain = [one for one in call.arguments if one.name in (None, "*")]
    starred = any(one.name == "*" for one in plain[: position + 1])
    return named or (plain[position].value if 0 <= position < len(plain) and not starred else None)


def _calls(reader: Reader, defined: Defined) -> list[Use]:
    """Every call of a function or class from outside of it; none where one that may be is not to be told."""
    own = defined.module.scopes[defined.scope]
    uses = reader.repository.uses(own.name)
    tested = reader.repository.classify(defined.module.at.path) is PathClass.TEST
    found: list[Use] = []
    for module, called in uses if len(uses) <= _MOST else ():
        if (module is defined.module and defined.scope in _around(module, called.scope)) or (
            not tested and reader.repository.classify(module.at.path) is PathClass.TEST
        ):
            continue
        target = reader.value(_called(called.call), module, called.scope)
        if isinstance(target, Defined):
            same = target.module.key == defined.module.key and target.scope == defined.scope
            found += [(module, called)] if same else []
        elif not isinstance(target, External | Folder):
            return []
    return found


def _around(module: PythonModule, scope: int) -> set[int]:
    found = set()
    while scope != MODULE:
        found.add(scope)
        scope = module.scopes[scope].parent
    return found


def _called(call: Call) -> Expression:
    """What a call makes, `bind` and its like taken off: `Server` of `Server.options(name="x").bind(model="y")`."""
    function = call.function
    while isinstance(function, Attribute) and function.name in _THROUGH:
        base = function.base
        function = base.function if isinstance(base, Call) else base
    return function


def uses(repository: Repository) -> dict[str, list[Use]]:
    """Every call that is kept, by the last part of the name of what it calls."""
    found: dict[str, list[Use]] = {}
    for module in repository.every.values():
        for called in module.calls:
            found.setdefault(dotted(_called(called.call)).rpartition(".")[2], []).append((module, called))
    return found
