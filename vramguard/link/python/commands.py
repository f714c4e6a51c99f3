"""Commands that Python starts, through `subprocess`, `os` or `asyncio`, on the cards of the function around them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Hardware, Launch, Unknown, Word
from vramguard.link.python.hardware import hardware
from vramguard.link.python.names import Defined, External, text_of
from vramguard.link.python.operations import PLAIN
from vramguard.link.python.values import Reader
from vramguard.source.expression import (
    UNPACK,
    Attribute,
    Call,
    Expression,
    Items,
    Joined,
    Literal,
    Name,
    Operation,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.link.python.house import House
    from vramguard.link.python.names import Repository
    from vramguard.source import Location
    from vramguard.source.program import Binding, Called, PythonModule

_ENGINES: Final = re.compile(
    r"vllm|sglang|text-generation|trtllm|tritonserver|llama[-_.]|lmdeploy|dynamo|ollama|docker"
)
_STARTERS: Final = frozenset(
    f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output", "getoutput")
) | {"os.system", "os.popen", "asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell"}
_ASSIGNED: Final = re.compile(r"([A-Za-z_]\w*)=([^\n]*)")
_MAX_DEPTH: Final = 12


def launched(repository: Repository, module: PythonModule, homes: Sequence[House | None] = (None,)) -> Iterator[Launch]:
    """Every command of a module that an engine's name stands in, once for each thing that runs the module."""
    for called in module.calls:
        origin = Reader(repository).value(called.call.function, module, called.scope)
        if not isinstance(origin, External) or origin.origin not in _STARTERS or not called.call.arguments:
            continue
        for home in homes:
            found = _launch(Reader(repository, home), module, called, many=origin.origin.endswith("_exec"))
            if found is not None:
                yield found


def served(repository: Repository, module: PythonModule, homes: Sequence[House | None] = (None,)) -> Iterator[Launch]:
    """BentoML's `__command__` of a service: the command that it runs. Arguments of a build stand in another file."""
    bound = (one.value for names in module.bindings.values() for found in names.values() for one in found)
    if any(isinstance(value, Call) and written(value.function).endswith("use_arguments") for value in bound):
        return
    for number, scope in enumerate(module.scopes):
        returned = module.bindings.get(number, {}).get("return", ())
        if scope.name != "__command__" or module.scopes[scope.parent].kind != "class" or len(returned) != 1:
            continue
        for home in homes:
            reader = Reader(repository, home)
            words = _Words(reader).read(returned[0].value, module, number)
            if words and _ENGINES.search(" ".join(word.text for word in words)):
                at, name = module.place(returned[0].value), module.name_of(scope.parent)
                cards = hardware(reader, module, number)
                yield Launch(at, "python", name, tuple(words), hardware=cards, assumed=tuple(reader.assumed))


def hosted(repository: Repository, module: PythonModule) -> Iterator[Launch]:
    """SageMaker's `HuggingFaceModel(env={"HF_MODEL_ID": ...}).deploy(instance_type=...)`: a container of TGI."""
    for called in module.calls:
        reader = Reader(repository)
        origin = reader.value(called.call.function, module, called.scope)
        if not isinstance(origin, External) or origin.root != "sagemaker" or origin.last != "HuggingFaceModel":
            continue
        env = _environment(reader, module, called)
        if "HF_MODEL_ID" not in env or not _is_tgi(reader, module, called, env):
            continue
        at = module.place(called.call)
        found = Launch(
            at=at,
            form="python",
            name=module.name_of(called.scope),
            entrypoint=False,
            env=env,
            given={"engine": Word("tgi", at)},
            hardware=_instance(reader, module),
        )
        yield found


_TGI: Final = frozenset({"SM_NUM_GPUS", "MAX_TOTAL_TOKENS", "MAX_INPUT_LENGTH", "MAX_INPUT_TOKENS"})


def _is_tgi(reader: Reader, module: PythonModule, called: Called, env: dict[str, Word]) -> bool:
    """Whether the container is TGI's: by its variables, or by the image (`get_huggingface_llm_image_uri`)."""
    image = called.call.argument("image_uri")
    value = reader.value(image, module, called.scope) if image is not None else None
    return bool(_TGI & env.keys()) or "huggingface_llm_image" in text_of(value)


def _instance(reader: Reader, module: PythonModule) -> Hardware:
    """The machine that `deploy(instance_type=...)` asks for."""
    for called in module.calls:
        given = called.call.argument("instance_type")
        if given is not None and written(called.call.function).endswith(".deploy"):
            kind = reader.value(given, module, called.scope)
            return Hardware(
                gpu=kind if isinstance(kind, str) else Unknown(text_of(kind)), places={"gpu": module.place(given)}
            )
    return Hardware()


def _launch(reader: Reader, module: PythonModule, called: Called, *, many: bool) -> Launch | None:
    first = called.call.arguments[0].value
    spread = Items(called.call.span, tuple(one.value for one in called.call.arguments if one.name is None))
    words = _Words(reader).read(spread if many else first, module, called.scope)
    script = None
    if words is None:
        script = Word(_shell(reader, first, module, called.scope), module.place(first))
    prefixed: dict[str, Word] = {}
    while words and (match := _ASSIGNED.fullmatch(words[0].text)):  # `A=b vllm serve`, for a shell
        prefixed[match[1]] = Word(match[2], words[0].at, known=words[0].known)
        words = words[1:]
    if not _ENGINES.search(script.text if script else " ".join(word.text for word in words or ())):
        return None
    name, home = module.name_of(called.scope), reader.home
    if home is not None and home.has_cards:
        name = f"{home.name}: {name}" if name else home.name
    return Launch(
        at=module.place(called.call),
        form="python",
        name=name,
        command=tuple(words or ()),
        script=script,
        env={**(home.env if home else {}), **_environment(reader, module, called), **prefixed},
        image=home.image if home else None,
        hardware=hardware(reader, module, called.scope),
        assumed=tuple(reader.assumed),
    )


class _Words:
    """The words of a list that is built up, each with the place where it is written."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def read(self, of: Expression, module: PythonModule, scope: int, depth: int = 0) -> list[Word] | None:  # noqa: PLR0911 - a row each
        """The words; None for what is no list."""
        if depth > _MAX_DEPTH:
            return None
        match of:
            case Items(items=items):
                return [word for item in items for word in self._item(item, module, scope, depth)]
            case Operation(sign="+", left=left, right=right):
                first, second = (self.read(part, module, scope, depth + 1) for part in (left, right))
                return None if first is None or second is None else [*first, *second]
            case Call(function=Attribute(base=Literal(value=" "), name="join")) if of.arguments:
                return self.read(of.arguments[0].value, module, scope, depth + 1)
            case Call(function=Attribute(base=base, name="split")):
                return self._split(base, module, scope)
            case Name(name=name):
                return self._named(of, name, module, scope, depth)
            case Call(function=function) if (built := self._built(function, module, scope)) is not None:
                return self.read(built[0].value, built[1], built[0].scope, depth + 1)
        value = self.reader.value(of, module, scope)
        return [_word(each, module.place(of)) for each in value] if isinstance(value, list) else None

    def _named(self, of: Name, name: str, module: PythonModule, scope: int, depth: int) -> list[Word] | None:
        bindings = self.reader.visible(name, of.span, module, scope)
        certain = [one for one in bindings if not one.conditional]
        if len(bindings) > 1 and certain:  # what is added under conditions that nobody knows of
            found = self.read(certain[-1].value, module, certain[-1].scope, depth + 1)
            return None if found is None else [*found, Word("$EXTRA_ARGS", module.place(of), known=False)]
        if len(bindings) == 1:
            return self.read(bindings[0].value, module, bindings[0].scope, depth + 1)
        value = self.reader.value(of, module, scope)
        return [_word(each, module.place(of)) for each in value] if isinstance(value, list) else None

    def _built(self, function: Expression, module: PythonModule, scope: int) -> tuple[Binding, PythonModule] | None:
        """The only thing that a function of the repository returns: a command that it builds."""
        made = self.reader.value(function, module, scope)
        if not isinstance(made, Defined) or made.module.scopes[made.scope].kind != "function":
            return None
        returned = made.module.bindings.get(made.scope, {}).get("return", ())
        return (returned[0], made.module) if len(returned) == 1 else None

    def _item(self, item: Expression, module: PythonModule, scope: int, depth: int) -> Iterator[Word]:
        if isinstance(item, Operation) and item.sign == UNPACK:
            yield from self.read(item.left, module, scope, depth + 1) or ()
            return
        yield _word(self.reader.value(item, module, scope), module.place(item))

    def _split(self, base: Expression, module: PythonModule, scope: int) -> list[Word]:
        at = module.place(base)
        return [Word(word, at, known="${" not in word) for word in _shell(self.reader, base, module, scope).split()]


def _word(value: object, at: Location) -> Word:
    if isinstance(value, External) and value.origin == "sys.executable":
        return Word("python", at)
    if isinstance(value, PLAIN):
        return Word(str(value), at)
    return Word(f"${{{_identifier(text_of(value))}}}", at, known=False)


def _shell(reader: Reader, of: Expression, module: PythonModule, scope: int, depth: int = 0) -> str:
    """The text of a command; what is not known in it is a variable of that name."""
    match of:
        case Joined(parts=parts):
            return "".join(_shell(reader, part, module, scope, depth + 1) for part in parts)
        case Operation(sign="+", left=left, right=right) if depth < _MAX_DEPTH:
            return "".join(_shell(reader, part, module, scope, depth + 1) for part in (left, right))
        case Call(function=Attribute(base=Literal(value=" "), name="join")) if of.arguments:
            words = _Words(reader).read(of.arguments[0].value, module, scope)
            if words is not None:
                return " ".join(word.text for word in words)
        case Name(name=name) if depth < _MAX_DEPTH:
            bindings = reader.visible(name, of.span, module, scope)
            if len(bindings) == 1 and isinstance(bindings[0].value, Joined | Operation):
                return _shell(reader, bindings[0].value, module, bindings[0].scope, depth + 1)
    value = reader.value(of, module, scope)
    if isinstance(value, External) and value.origin == "sys.executable":
        return "python"
    return str(value) if isinstance(value, PLAIN) else f"${{{_identifier(text_of(value))}}}"


def _identifier(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")[:60] or "unknown"


def _environment(reader: Reader, module: PythonModule, called: Called) -> dict[str, Word]:
    """Variables that `env=` sets beside those that are there."""
    given = called.call.argument("env")
    value = reader.value(given, module, called.scope) if given is not None else None
    if given is None or not isinstance(value, dict):
        return {}
    at = module.place(given)
    return {
        str(key): _word(inner, at) for key, inner in value.items() if key != "**" and not isinstance(inner, Unknown)
    }
