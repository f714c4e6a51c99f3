"""What an expression is worth, as far as the repository's text tells: constants followed from name to name.

Nothing is run. A parameter counts as its default, an argument of the command line and a variable of the environment
too; each such supposition is a sentence. Whatever else the text does not settle is `Unknown`, as written; a name that
may have one of several values is `Options`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vramguard.facts import Unknown
from vramguard.link.python.arguments import command_line, option, setting, variable
from vramguard.link.python.house import House
from vramguard.link.python.names import Defined, External, Folder, Made, Options, Repository, names_of, one_of
from vramguard.link.python.operations import PLAIN, attribute_of_plain, item_of, joined, operate
from vramguard.link.python.settings import Placed
from vramguard.source import Location, Span
from vramguard.source.expression import (
    UNPACK,
    Attribute,
    Call,
    Choice,
    Expression,
    Item,
    Items,
    Joined,
    Literal,
    Name,
    Operation,
    Table,
    dotted,
    written,
)
from vramguard.source.program import MODULE, Binding, PythonModule

if TYPE_CHECKING:
    from vramguard.facts import Word


MAX_STEPS = 3000  # of one expression; a text that needs more is aimed at us
_MAX_DEPTH = 40
_MAX_BINDINGS = 100  # of one name; more are a program that counts, not a setting
_TRUE_ON_A_GPU = ("is_available", "is_bf16_supported", "device_count", "is_torch_bf16_gpu_available")


@dataclass(slots=True)
class Reader:
    """Reads expressions of one module; `assumed` gathers what had to be supposed on the way.

    `home`: what runs the module, with its environment and its words. `sources`: where values stand that came from there
    or from a caller, as far as they were read.
    """

    repository: Repository
    home: House | None = None
    assumed: dict[str, None] = field(default_factory=dict)
    sources: list[Location] = field(default_factory=list)
    _steps: int = 0
    _depth: int = 0
    _open: set[tuple[str, int, Span]] = field(default_factory=set)

    def value(self, of: Expression, module: PythonModule, scope: int) -> object:
        """The value of an expression in a scope; never raises, never takes long."""
        key = (module.key, scope, of.span)
        self._steps += 1
        if self._steps > MAX_STEPS or self._depth > _MAX_DEPTH or (key in self._open and not isinstance(of, Literal)):
            return Unknown(written(of))
        added = key not in self._open
        self._open.add(key)
        self._depth += 1
        try:
            return self._value(of, module, scope)
        finally:
            self._depth -= 1
            if added:
                self._open.discard(key)

    def suppose(self, sentence: str) -> None:
        """Note what a value rests on."""
        self.assumed[sentence] = None

    def given(self, word: Word) -> str | Unknown:
        """The value that whatever runs the module gives it."""
        self.sources.append(word.at)
        return word.value

    def _value(self, of: Expression, module: PythonModule, scope: int) -> object:  # noqa: C901, PLR0911 - a row each
        match of:
            case Literal(value=value):
                return value
            case Name(name=name):
                return self.named(name, of.span, module, scope)
            case Attribute():
                return self._attribute(of, module, scope)
            case Call():
                return self._call(of, module, scope)
            case Joined(parts=parts):
                return joined([self.value(part, module, scope) for part in parts], of)
            case Items(items=items):
                return self._items(items, module, scope)
            case Table():
                return self._table(of, module, scope)
            case Operation(sign=sign, left=left, right=right):
                first = self.value(left, module, scope)
                return operate(sign, first, first if left is right else self.value(right, module, scope), of)
            case Choice():
                return self._choice(of, module, scope)
            case Item():
                return self._item(of, module, scope)
        return Unknown(written(of))

    def _items(self, items: tuple[Expression, ...], module: PythonModule, scope: int) -> list[object]:
        found: list[object] = []
        for item in items:
            unpacked = isinstance(item, Operation) and item.sign == UNPACK
            value = self.value(item.left if isinstance(item, Operation) and unpacked else item, module, scope)
            found += value if unpacked and isinstance(value, list) else [Unknown(written(item)) if unpacked else value]
        return found

    # Names

    def named(self, name: str, use: Span, module: PythonModule, scope: int) -> object:
        """What a name is worth where it is used."""
        if name == "__file__":
            return module.at.path
        for owner in module.around(scope):
            bindings = module.bindings.get(owner, {}).get(name, ())
            if owner == scope:
                bindings = tuple(binding for binding in bindings if binding.value.span[2:] <= use[:2])
            found = self._bound(bindings, module, owner, name)
            if found is not None:
                return found[0]
        return External(name)

    def visible(self, name: str, use: Span, module: PythonModule, scope: int) -> list[Binding]:
        """The assignments of a name that may hold where it is used, in the scope that owns it."""
        for owner in module.around(scope):
            bindings = [one for one in module.bindings.get(owner, {}).get(name, ()) if one.key is None]
            if owner == scope:
                bindings = [one for one in bindings if one.value.span[2:] <= use[:2]]
            if bindings:
                return self.standing(bindings, module)
        return []

    def _bound(
        self, bindings: tuple[Binding, ...], module: PythonModule, owner: int, name: str
    ) -> tuple[object] | None:
        """The value of a name in the scope that owns it, in a tuple; None where it does not own it."""
        parameter = next((one for one in module.scopes[owner].parameters if one.name == name), None)
        base = self.standing([binding for binding in bindings if binding.key is None], module)
        values = [self.value(binding.value, module, binding.scope) for binding in base]
        if parameter is not None and (not base or base[0].conditional):
            values.insert(0, option(self, module, owner, parameter))
        if not values:
            values = self._inner(module, owner, name)
        if not values:
            return None
        return (self._completed(one_of(values), [item for item in bindings if item.key is not None], module),)

    def standing(self, bindings: list[Binding], module: PythonModule) -> list[Binding]:
        """Those that may be the last: what comes before one that surely happens is gone, as is what never does."""
        found: list[Binding] = []
        for one in reversed(bindings[-_MAX_BINDINGS:]):
            happens = self._happens(one, module)
            if happens:
                return [replace(one, under=()) if one.under else one, *reversed(found)]
            if happens is None:
                found.append(one)
        return found[::-1]

    def _happens(self, binding: Binding, module: PythonModule) -> bool | None:
        answers = [
            None if test is None else self._holds(test, module, binding.scope, wanted) for test, wanted in binding.under
        ]
        return False if False in answers else None if None in answers else True

    def _holds(self, test: Expression, module: PythonModule, scope: int, wanted: bool) -> bool | None:  # noqa: FBT001
        answer = self._test(test, module, scope)
        return None if answer is None else answer is wanted

    def _inner(self, module: PythonModule, owner: int, name: str) -> list[object]:
        """Classes and functions of that name in a scope, else what is imported under it."""
        names = self.repository.once("names", module, names_of)
        found: list[object] = [Defined(module, number) for number in names.scopes.get((owner, name), ())]
        imports = names.imports.get((owner, name), [])
        for one in [] if found else imports[:1]:
            target = self.repository.imported(module, one)
            found.append(self.member(*target) if isinstance(target, tuple) else target)
        return found[-1:]

    def member(self, folder: Folder, name: str) -> object:
        """A name of another module."""
        if folder.module is None:
            return self.repository.inside(folder, name) or External(f"{folder.path}.{name}")
        if self._depth > _MAX_DEPTH:
            return Unknown(name)
        self._depth += 1
        try:
            bindings = folder.module.bindings.get(MODULE, {}).get(name, ())
            found = self._bound(bindings, folder.module, MODULE, name)
        finally:
            self._depth -= 1
        if found is not None:
            return found[0]
        stars = [one for one in folder.module.imports if one.attribute == "*" and one.scope == MODULE]
        for one in stars[:3]:
            target = self.repository.imported(folder.module, one)
            if isinstance(target, tuple) and target[0].module not in (None, folder.module):
                return self.member(target[0], name)
        return self.repository.inside(folder, name) or External(f"{folder.path}.{name}")

    def _completed(self, value: object, items: list[Binding], module: PythonModule) -> object:
        """A table with what is put into it later."""
        if not items or not isinstance(value, dict):
            return value
        found = dict(value)
        for item in items:
            later = self.value(item.value, module, item.scope)
            key = item.key or ""
            found[key] = later if not item.conditional else one_of([found.get(key), later])
        return found

    # Parts of values

    def _attribute(self, of: Attribute, module: PythonModule, scope: int) -> object:
        base = self.value(of.base, module, scope)
        own = dotted(of)
        for owner in module.around(scope) if "." in own else ():  # `config.x = 1`
            bindings = [one for one in module.bindings.get(owner, {}).get(own, ()) if one.key is None]
            if bindings:
                return one_of([self.value(one.value, module, one.scope) for one in self.standing(bindings, module)])
        return self.attribute(base, of, module)

    def attribute(self, base: object, of: Attribute, module: PythonModule) -> object:  # noqa: PLR0911 - a row each
        """A value's attribute."""
        match base:
            case External(origin=origin):
                return External(f"{origin}.{of.name}")
            case Folder():
                return self.member(base, of.name)
            case Defined():
                return self._of_class(base, of)
            case Made(of=Defined()):
                return self._of_instance(base, of)
            case Made(of=External() as origin):
                found = command_line(self, base, of.name, module) if _is_arguments(origin) else None
                return found[0] if found else External(f"{origin.origin}.{of.name}")
            case Options(values=values):
                return one_of([self.attribute(value, of, module) for value in values])
        self._noted(base, of.name)
        found = attribute_of_plain(base, of.name)
        return found[0] if found else Unknown(written(of))

    def _of_instance(self, made: Made, of: Attribute) -> object:
        given = made.call.argument(of.name) if made.call else None
        if given is not None:
            return self.value(given, made.module, made.scope)
        if not isinstance(made.of, Defined):
            return Unknown(written(of))
        stated = setting(self, made.of, of.name)
        return self._of_class(made.of, of) if stated is None else stated

    def _of_class(self, defined: Defined, of: Attribute, depth: int = 0) -> object:
        """An attribute of a class or of its instance; a method is itself."""
        module, scope = defined.module, defined.scope
        bindings = list(module.bindings.get(scope, {}).get(of.name, ()))
        plain = [
            self._field(one, module) for one in self.standing([one for one in bindings if one.key is None], module)
        ]
        if plain:
            return self._completed(one_of(plain), [one for one in bindings if one.key is not None], module)
        inner = self._inner(module, scope, of.name)
        if inner:
            return inner[0]
        for base in module.scopes[scope].bases if depth < 4 else ():  # noqa: PLR2004 - generations
            parent = self.value(base, module, module.scopes[scope].parent)
            if isinstance(parent, Defined):
                return self._of_class(parent, of, depth + 1)
        return Unknown(written(of))

    def _field(self, binding: Binding, module: PythonModule) -> object:
        """A class's value; of a field, its default."""
        default = default_of(binding.value)
        return self.value(default or binding.value, module, binding.scope)

    def _item(self, of: Item, module: PythonModule, scope: int) -> object:
        base = self.value(of.base, module, scope)
        index = self.value(of.index, module, scope)
        if isinstance(base, External) and base.origin == "os.environ":
            return variable(self, index, None, of, module, scope)
        found = item_of(base, index)
        self._noted(base, index)
        return found[0] if found else Unknown(written(of))

    def _table(self, of: Table, module: PythonModule, scope: int) -> object:
        found: dict[object, object] = {}
        for key, value in of.items:
            inner = self.value(value, module, scope)
            if key is None:
                found |= inner if isinstance(inner, dict) else {"**": Unknown(written(value))}
                continue
            name = self.value(key, module, scope)
            if isinstance(name, str | int):
                found[name] = inner
        return found

    def _choice(self, of: Choice, module: PythonModule, scope: int) -> object:
        if of.test is not None:
            test = self._test(of.test, module, scope)
            chosen = of.options if test is None else of.options[:1] if test else of.options[1:]
            return one_of([self.value(option, module, scope) for option in chosen])
        for option_ in of.options[:-1]:
            value = self.value(option_, module, scope)
            if isinstance(value, Unknown) and _is_variable(option_):
                self.suppose(f"`{written(option_)}` is not set")
                continue
            if isinstance(value, Unknown | Options):
                return Unknown(written(of))
            if value:
                return value
        return self.value(of.options[-1], module, scope)

    def _test(self, test: Expression, module: PythonModule, scope: int) -> bool | None:
        """Whether a condition holds, as far as it is told: a GPU's own questions are asked on a GPU."""
        if isinstance(test, Call) and dotted(test).rpartition(".")[2] in _TRUE_ON_A_GPU:
            self.suppose(f"`{written(test)}` holds")
            return True
        if isinstance(test, Operation) and test.sign == "not":
            inner = self._test(test.left, module, scope)
            return None if inner is None else not inner
        value = self.value(test, module, scope)
        known = value is None or isinstance(value, (*PLAIN, list, dict))
        return bool(value) if known else None

    # Calls

    def _call(self, of: Call, module: PythonModule, scope: int) -> object:
        from vramguard.link.python.builtins import called

        function = self.value(of.function, module, scope)
        if isinstance(function, External):
            return called(self, function, of, module, scope)
        if isinstance(function, Defined):
            return self._own(function, of, module, scope)
        if isinstance(of.function, Attribute):
            base = self.value(of.function.base, module, scope)
            if isinstance(base, dict) and of.function.name == "get":
                return self._get(base, of, module, scope)
            if isinstance(base, str) and of.function.name == "split" and not of.arguments:
                return list(base.split())
            if isinstance(base, PLAIN) and of.function.name in ("strip", "resolve", "absolute", "as_posix", "lower"):
                return base.lower() if of.function.name == "lower" and isinstance(base, str) else base
        return Unknown(written(of))

    def _own(self, defined: Defined, of: Call, module: PythonModule, scope: int) -> object:
        """An instance of a class of the repository, or what a function of it returns, if that is one thing."""
        own = defined.module.scopes[defined.scope]
        if own.kind == "class":
            return Made(defined, of, module, scope)
        returns = defined.module.bindings.get(defined.scope, {}).get("return", ())
        if len(returns) != 1 or own.parameters:
            return Unknown(written(of))
        return self.value(returns[0].value, defined.module, returns[0].scope)

    def _get(self, base: dict[object, object], of: Call, module: PythonModule, scope: int) -> object:
        values = [self.value(one.value, module, scope) for one in of.arguments if one.name is None]
        if not values or not isinstance(values[0], str | int):
            return Unknown(written(of))
        self._noted(base, values[0])
        return base.get(values[0], values[1] if len(values) > 1 else None)

    def _noted(self, base: object, key: object) -> None:
        """Note where a value of a table stands, if that is known."""
        if isinstance(base, Placed) and isinstance(key, str) and not isinstance(base.get(key), dict):
            self.sources += [base.places[key]] if key in base.places else []


def default_of(value: Expression) -> Expression | None:
    """The default that `Field(...)`, `field(...)`, `Option(...)` and the like give; None for another expression."""
    if not isinstance(value, Call) or dotted(value.function).rpartition(".")[2] not in _FIELDS:
        return None
    return value.argument("default", 0)


_FIELDS = ("Field", "field", "Option", "Argument", "parameter", "attrib", "ib", "Query", "Body", "Form")


def _is_arguments(origin: External) -> bool:
    return origin.last in ("parse_args", "parse_known_args", "Namespace", "parse_args_into_dataclasses")


def _is_variable(of: Expression) -> bool:
    return isinstance(of, Call | Item) and dotted(of) in ("os.environ.get", "os.getenv", "environ.get", "getenv")
