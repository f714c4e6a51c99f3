"""Calls whose result is known from their arguments: conversions, paths, the environment."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from vramguard.facts import Unknown
from vramguard.link.python.arguments import variable
from vramguard.link.python.names import External, Made
from vramguard.link.python.operations import PLAIN
from vramguard.source.expression import written

if TYPE_CHECKING:
    from vramguard.link.python.values import Reader
    from vramguard.source.expression import Call, Expression
    from vramguard.source.program import PythonModule

_CONVERSIONS = {"str": str, "int": int, "float": float, "bool": bool}
_LOADS = ("yaml.safe_load", "yaml.load", "yaml.full_load", "omegaconf.OmegaConf.load", "OmegaConf.load")
_PATHS = ("abspath", "realpath", "expanduser", "normpath", "Path", "PurePath", "PosixPath", "fspath")


def called(reader: Reader, function: External, of: Call, module: PythonModule, scope: int) -> object:  # noqa: PLR0911 - a row each
    """What a call of somebody else's function gives; what it is not known of is a `Made`."""
    values = [one.value for one in of.arguments if one.name is None]
    origin = function.origin
    if origin in ("os.getenv", "os.environ.get", "environ.get", "getenv"):
        name = reader.value(values[0], module, scope) if values else None
        return variable(reader, name, of.argument("default", 1), of, module, scope)
    if origin in ("dict", "types.SimpleNamespace", "SimpleNamespace", "argparse.Namespace"):
        return table(reader, of, module, scope)
    if origin in _CONVERSIONS and len(values) == 1:
        return _converted(origin, reader.value(values[0], module, scope), of)
    if origin in ("torch.device", "json.dumps", "shlex.quote", "bentoml.models.HuggingFaceModel") and values:
        return reader.value(values[0], module, scope)
    if function.last in ("join", "joinpath") and origin.startswith(("os.path", "pathlib", "posixpath")):
        return _join([reader.value(value, module, scope) for value in values], of)
    if function.last in _PATHS and values and function.root in ("os", "pathlib", "Path"):
        return _join([reader.value(value, module, scope) for value in values], of)
    if origin in ("os.path.dirname", "posixpath.dirname") and values:
        path = reader.value(values[0], module, scope)
        return posixpath.dirname(path) if isinstance(path, str) else Unknown(written(of))
    if origin in _LOADS and values:
        return _loaded(reader, reader.value(values[0], module, scope), of, module)
    if origin == "getattr" and len(values) > 1:
        return _getattr(reader, values, module, scope) or Unknown(written(of))
    return Made(function, of, module, scope)


def _loaded(reader: Reader, source: object, of: Call, module: PythonModule) -> object:
    """What a file of settings holds: `yaml.safe_load(open("config.yaml"))`, `OmegaConf.load(path)`."""
    if isinstance(source, Made) and source.of == External("open") and source.call is not None:
        path = source.call.argument("file", 0)
        source = reader.value(path, source.module, source.scope) if path is not None else None
    found = reader.repository.settings.read_by(module.at.path, source) if isinstance(source, str) else None
    return Unknown(written(of)) if found is None else found


def table(reader: Reader, of: Call, module: PythonModule, scope: int) -> dict[str, object]:
    """The keyword arguments of a call, those that `**` brings in included; of what is not known, `**` is a key."""
    found: dict[str, object] = {}
    for argument in of.arguments:
        value = reader.value(argument.value, module, scope)
        if argument.name == "**":
            found |= value if isinstance(value, dict) else {"**": Unknown(written(argument.value))}
        elif argument.name not in (None, "*"):
            found[argument.name] = value
        elif isinstance(value, dict):  # dict(table, key=value)
            found |= value
    return found


def _converted(kind: str, value: object, of: Call) -> object:
    if not isinstance(value, PLAIN) or len(str(value)) > 400:  # noqa: PLR2004 - longer is no number
        return Unknown(written(of))
    if kind == "bool" and isinstance(value, str):
        return bool(value)
    try:
        return _CONVERSIONS[kind](value)
    except (ValueError, OverflowError):
        return Unknown(written(of))


def _join(parts: list[object], of: Call) -> object:
    texts = [part for part in parts if isinstance(part, str)]
    return posixpath.join(*texts) if texts and len(texts) == len(parts) else Unknown(written(of))


def _getattr(reader: Reader, values: list[Expression], module: PythonModule, scope: int) -> object:
    base, name = (reader.value(value, module, scope) for value in values[:2])
    return External(f"{base.origin}.{name}") if isinstance(base, External) and isinstance(name, str) else None
