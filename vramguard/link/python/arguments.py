"""Values that whoever starts or calls the program gives it: the environment, command lines, callers.

What runs the module (a container, a task) states its variables and its words, the repository its calls; where nobody
says anything, defaults count.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.facts import Unknown
from vramguard.link.python.callers import others, passed
from vramguard.link.python.names import Defined, External, Made, one_of
from vramguard.link.python.settings import Placed
from vramguard.source.expression import Call, Expression, Literal, Opaque, dotted, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.facts import Word
    from vramguard.link.python.values import Reader
    from vramguard.source.program import Parameter, PythonModule

_NAMESPACES: Final = ("args", "opt", "opts", "options", "flags", "hparams", "cli_args", "parsed_args", "arguments")
_SETTINGS: Final = "BaseSettings"  # pydantic-settings: fields are variables of the environment


def variable(
    reader: Reader, name: object, default: Expression | None, of: Expression, module: PythonModule, scope: int
) -> object:
    """A variable of the environment: what the module puts there, what it is run with, else its default."""
    bindings = module.bindings
    put = [b for owner in module.around(scope) for b in bindings.get(owner, {}).get("os.environ", ())]
    given = [reader.value(one.value, module, one.scope) for one in put if one.key == name]
    if given:
        return one_of(given)
    stated = reader.home.env.get(name) if reader.home is not None and isinstance(name, str) else None
    if stated is not None:
        return reader.given(stated)
    if default is None:
        return Unknown(written(of))
    reader.suppose(f"`{name}` of the environment is at its default")
    return reader.value(default, module, scope)


def setting(reader: Reader, defined: Defined, name: str) -> object:
    """A field of pydantic's settings, as the environment states it; None where it does not."""
    module, scope = defined.module, defined.scope
    if reader.home is None or not any(dotted(base).endswith(_SETTINGS) for base in module.scopes[scope].bases):
        return None
    prefix = ""
    for config in module.bindings.get(scope, {}).get("model_config", ()):
        given = config.value.argument("env_prefix") if isinstance(config.value, Call) else None
        prefix = str(given.value) if isinstance(given, Literal) else ""
    wanted = (prefix + name).lower()
    found = next((word for key, word in reader.home.env.items() if key.lower() == wanted), None)
    return None if found is None else reader.given(found)


def option(reader: Reader, module: PythonModule, owner: int, parameter: Parameter) -> object:  # noqa: PLR0911 - a row each
    """A parameter: `self`, what its callers give, its default, an instance of its annotation; else unknown."""
    from vramguard.link.python.values import default_of

    function = module.scopes[owner]
    parent = module.scopes[function.parent]
    if parent.kind == "class" and function.parameters and function.parameters[0] is parameter:
        return Made(Defined(module, function.parent), None, module, owner)
    if function.name == "__init__" and (handed := _handed(reader, parameter)) is not None:
        return handed
    if isinstance(parameter.default, Opaque):  # `*rest`, and what nobody can read
        rest = others(reader, module, owner) if parameter.default.text.startswith("**") else None
        return Unknown(parameter.name) if rest is None else rest
    found = passed(reader, module, owner, parameter)
    if found is not None and not (isinstance(found[0], Unknown) and parameter.default is None):
        return found[0]
    declared = default_of(parameter.default) if parameter.default is not None else None
    if declared is not None and (word := _given(reader, (f"--{parameter.name.replace('_', '-')}",))) is not None:
        return reader.given(word)
    if parameter.default is not None:
        value = reader.value(declared or parameter.default, module, function.parent)
        if value is not None and not isinstance(value, Unknown):
            reader.suppose(f"`{parameter.name}` of `{function.name}` is at its default")
        return value
    said = _of_decorators(reader, module, owner, parameter.name)
    return said[0] if said is not None else _of_annotation(reader, module, owner, parameter)


def _handed(reader: Reader, parameter: Parameter) -> Placed | None:
    """What Truss hands to its Model: its config.yaml, as `config` or in `**kwargs` (truss, model_wrapper)."""
    path = reader.home.settings if reader.home is not None else ""
    found = reader.repository.settings.table(path) if path else None
    if found is None:
        return None
    if isinstance(parameter.default, Opaque) and parameter.default.text.startswith("**"):
        return Placed({"config": found})
    return found if parameter.name == "config" else None


def _of_decorators(reader: Reader, module: PythonModule, owner: int, name: str) -> tuple[object] | None:
    """What `@click.option("--name", default=...)` says."""
    for decorator in module.scopes[owner].decorators:
        if isinstance(decorator, Call) and name in _destinations(decorator):
            return _said(reader, decorator, name, module)
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
    """The argument that `args.name` reads, given or by default, in a tuple; unknown where nobody declares it."""
    for place in (made.module, module):
        for called in place.calls:
            if name in _destinations(called.call):
                return _said(reader, called.call, name, place, called.scope) or (Unknown(f"args.{name}"),)
    return (Unknown(f"args.{name}"),)


def _said(reader: Reader, call: Call, name: str, module: PythonModule, scope: int = 0) -> tuple[object] | None:
    """What the command line says of an option that is declared so, else its default."""
    action = call.argument("action")
    switch = action.value if isinstance(action, Literal) else None
    word = _given(reader, [text for text in _spellings(call) if text.startswith("-")], alone=switch is not None)
    if word is not None and switch not in ("store_true", "store_false"):
        return (reader.given(word),)
    if word is not None:
        reader.sources.append(word.at)
        return (switch == "store_true",)
    default = call.argument("default")
    if default is not None:
        reader.suppose(f"`--{name}` is at its default")
        return (reader.value(default, module, scope),)
    if switch in ("store_true", "store_false"):
        reader.suppose(f"`--{name}` is not given")
        return (switch == "store_false",)
    return None


def _given(reader: Reader, spellings: Sequence[str], *, alone: bool = False) -> Word | None:
    """The word that a flag is given in the command that runs the module; of one that is `alone`, its own."""
    words = reader.home.words if reader.home is not None else ()
    found: Word | None = None
    for number, word in enumerate(words):
        flag, equals, text = word.text.partition("=")
        if flag not in spellings:
            continue
        if alone:
            found = word
        elif equals:
            found = replace(word, text=text, first=None)
        elif number + 1 < len(words):
            found = words[number + 1]
    return found


def _destinations(call: Call) -> Iterator[str]:
    """The names under which an option's value is found."""
    if dotted(call.function).rpartition(".")[2] not in ("add_argument", "option"):
        return
    dest = call.argument("dest")
    if isinstance(dest, Literal):
        yield str(dest.value)
        return
    for text in _spellings(call):
        if text.startswith("--") or not text.startswith("-"):
            yield text.lstrip("-").partition("/")[0].replace("-", "_")


def _spellings(call: Call) -> Iterator[str]:
    """The names that an option is declared by."""
    for argument in call.arguments:
        if argument.name is None and isinstance(argument.value, Literal):
            yield str(argument.value.value)
