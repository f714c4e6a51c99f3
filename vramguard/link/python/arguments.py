"""Values that whoever starts or calls the program may replace: parameters, command lines. Their defaults count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts import Unknown
from vramguard.link.python.names import Defined, External, Made
from vramguard.source.expression import Call, Literal, Opaque, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.python.values import Reader
    from vramguard.source.program import Parameter, PythonModule

_NAMESPACES = ("args", "opt", "opts", "options", "flags", "hparams", "cli_args", "parsed_args", "arguments")


def option(reader: Reader, module: PythonModule, owner: int, parameter: Parameter) -> object:
    """A parameter: `self`, its default, what its click option says, an instance of its annotation; else unknown."""
    from vramguard.link.python.values import default_of

    function = module.scopes[owner]
    parent = module.scopes[function.parent]
    if parent.kind == "class" and function.parameters and function.parameters[0] is parameter:
        return Made(Defined(module, function.parent), None, module, owner)
    if isinstance(parameter.default, Opaque):  # `*rest`, and what nobody can read
        return Unknown(parameter.name)
    if parameter.default is not None:
        value = reader.value(default_of(parameter.default) or parameter.default, module, function.parent)
        if value is not None and not isinstance(value, Unknown):
            reader.suppose(f"`{parameter.name}` of `{function.name}` is at its default")
        return value
    found = _of_decorators(reader, module, owner, parameter.name)
    return found[0] if found is not None else _of_annotation(reader, module, owner, parameter)


def _of_decorators(reader: Reader, module: PythonModule, owner: int, name: str) -> tuple[object] | None:
    """What `@click.option("--name", default=...)` says."""
    for decorator in module.scopes[owner].decorators:
        if isinstance(decorator, Call) and name in _destinations(decorator):
            return _default(reader, decorator, name, module)
    return None


def _of_annotation(reader: Reader, module: PythonModule, owner: int, parameter: Parameter) -> object:
    """An instance of a class of the repository, or of what a command line is parsed into."""
    if parameter.annotation is not None:
        made = reader.value(parameter.annotation, module, module.scopes[owner].parent)
        if isinstance(made, Defined) and made.module.scopes[made.scope].kind == "class":
            return Made(made, None, module, owner)
    if parameter.name in _NAMESPACES:
        return Made(External("argparse.Namespace"), None, module, owner)
    return Unknown(parameter.name)


def command_line(reader: Reader, made: Made, name: str, module: PythonModule) -> tuple[object] | None:
    """The default of the argument that `args.name` reads, in a tuple; None where nobody declares it."""
    for place in (made.module, module):
        for called in place.calls:
            if name in _destinations(called.call):
                return _default(reader, called.call, name, place, called.scope) or (Unknown(f"args.{name}"),)
    return (Unknown(f"args.{name}"),)


def _default(reader: Reader, call: Call, name: str, module: PythonModule, scope: int = 0) -> tuple[object] | None:
    default = call.argument("default")
    action = call.argument("action")
    if default is not None:
        reader.suppose(f"`--{name}` is at its default")
        return (reader.value(default, module, scope),)
    if isinstance(action, Literal) and action.value in ("store_true", "store_false"):
        reader.suppose(f"`--{name}` is not given")
        return (action.value == "store_false",)
    return None


def _destinations(call: Call) -> Iterator[str]:
    """The names under which an option's value is found."""
    if dotted(call.function).rpartition(".")[2] not in ("add_argument", "option"):
        return
    dest = call.argument("dest")
    if isinstance(dest, Literal):
        yield str(dest.value)
        return
    for argument in call.arguments:
        if argument.name is None and isinstance(argument.value, Literal):
            text = str(argument.value.value)
            if text.startswith("--") or not text.startswith("-"):
                yield text.lstrip("-").partition("/")[0].replace("-", "_")
