"""A module's imports, scopes, bindings and calls, read off its tree in one walk without recursion."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from vramguard.source import Location, Span
from vramguard.source.expression import Argument, Call, Expression, Items, Literal, Opaque, Operation, Table
from vramguard.source.program import MODULE, Binding, Called, Condition, Import, Parameter, PythonModule, Scope
from vramguard.source.python import INNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source.python import Source

Function = ast.FunctionDef | ast.AsyncFunctionDef

# Calls that are kept, by the last part of what is called.
KEPT = re.compile(
    r"(?:LLM|Llama|\w*EngineArgs|Engine|from_\w+|pipeline|V[Ll][Ll][Mm]|HuggingFaceLLM|LlamaC[Pp][Pp]|LLMConfig"
    r"|\w+ProcessorConfig|add_argument|option|Option|Argument|HuggingFaceModel|deploy|\w*Trainer|\w*TrainingArguments"
    r"|SFTConfig|\w*LitServer|to|cuda|half|backward|run|Popen|call|check_call|check_output|system|run_commands"
    r"|create_subprocess_\w+|get_peft_model|prepare_model_for_kbit_training|generate|chat|stream_chat|prepare|entrypoint|cmd|quantize"
    r"|snapshot_download|hf_hub_download|load_dataset|SentenceTransformer|CrossEncoder|create_model|load_model|HuggingFace\w+"
    r"|load_lora_weights)\Z"
)
_BINDS = frozenset({"bind", "remote", "local", "spawn"})
_DEFINED = re.compile(r"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+(\w{1,100})", re.MULTILINE)
# Packages whose functions are nobody's own.
_FOREIGN = sys.stdlib_module_names | {"torch", "numpy", "pandas", "pydantic", "fastapi", "starlette", "transformers"}
_COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match, ast.With, ast.AsyncWith, ast.TryStar)


def module_of(path: str, source: Source, *, loads: bool) -> PythonModule:
    """What the module says. The source has a tree.

    Of a module that loads nothing, functions that take arguments are left out: nobody follows a value into them.
    """
    walk = _Walk(source, whole=loads)
    walk.run()
    bindings = {scope: {name: tuple(found) for name, found in names.items()} for scope, names in walk.bindings.items()}
    calls = sorted(walk.calls, key=lambda called: called.call.span)
    return PythonModule(Location(path), tuple(walk.imports), tuple(walk.scopes), bindings, tuple(calls), loads)


_GROWS = {ast.Add: "+", ast.BitOr: "|"}
_GROWING = ("update", "setdefault", "append", "extend")
_Under = tuple[Condition, ...]
_Pending = tuple[ast.stmt, int, _Under]
_LEAVES = frozenset({ast.Constant, ast.Name})
_MAX_CONDITIONS = 8
_MAYBE: _Under = ((None, True),)


class _Walk:
    """Statements by a stack of our own: a chain of a thousand `elif` nests as deep."""

    def __init__(self, source: Source, *, whole: bool) -> None:
        self.source = source
        self.whole = whole
        self.imports: list[Import] = []
        self.scopes: list[Scope] = [Scope("module", "", MODULE, Span(1, 1, 1, 1))]
        self.bindings: dict[int, dict[str, list[Binding]]] = defaultdict(lambda: defaultdict(list))
        self.calls: list[Called] = []
        self.outer: dict[int, set[str]] = defaultdict(set)  # names that a function declares global
        self.aliases: dict[str, str] = {}  # local name -> last part of what was imported
        self.own = set(_DEFINED.findall(source.text))  # functions and classes that the repository may call

    def run(self) -> None:
        tree = self.source.tree
        pending: list[_Pending] = [(child, MODULE, ()) for child in reversed(tree.body if tree else [])]
        while pending:
            statement, scope, under = pending.pop()
            pending.extend(reversed(list(self._statement(statement, scope, under))))

    def _statement(self, node: ast.stmt, scope: int, under: _Under) -> Iterator[_Pending]:
        """Note what one statement says; the statements inside it are returned with their scope."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node, scope)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = self._scope(node, scope)
            if self.whole or isinstance(node, ast.ClassDef) or not _takes(node.args):
                yield from ((child, inner, ()) for child in node.body)
        elif isinstance(node, _COMPOUND):
            yield from ((child, scope, _both(under, more)) for child, more in self._blocks(node, scope, under))
        else:
            self._simple(node, scope, under)

    def _simple(self, node: ast.stmt, scope: int, under: _Under) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, node.value, scope, under)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._bind(node.target, node.value, scope, under)
        elif isinstance(node, ast.AugAssign):
            self._grow(node.target, node.value, scope, under, sign=_GROWS.get(type(node.op)))
        elif isinstance(node, ast.Global):
            self.outer[scope].update(node.names)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self._update(node.value, scope, under)
        elif isinstance(node, ast.Return) and node.value is not None:
            self._add("return", self.source.expression(node.value), scope, scope, under)
        self._calls(node, scope)

    def _blocks(self, node: ast.stmt, scope: int, under: _Under) -> Iterator[tuple[ast.stmt, _Under]]:
        """The statements inside a compound one, and on what more they depend."""
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                self._calls(test, scope)
                plain, shown = _is_main(test), self.source.expression(test)
                yield from ((child, () if plain else ((shown, True),)) for child in body)
                yield from ((child, ((shown, False),)) for child in orelse)
            case ast.For() | ast.AsyncFor():
                self._loop(node.target, node.iter, scope)
                self._calls(node.iter, scope)
                yield from ((child, _MAYBE) for child in (*node.body, *node.orelse))
            case ast.While():
                self._calls(node.test, scope)
                yield from ((child, _MAYBE) for child in (*node.body, *node.orelse))
            case ast.Try() | ast.TryStar():
                yield from ((child, ()) for child in node.body)
                yield from ((child, _MAYBE) for handler in node.handlers for child in handler.body)
                yield from ((child, ()) for child in (*node.orelse, *node.finalbody))
            case ast.Match():
                self._calls(node.subject, scope)
                yield from ((child, _MAYBE) for case in node.cases for child in case.body)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self._calls(item.context_expr, scope)
                    if item.optional_vars is not None:
                        self._bind(item.optional_vars, item.context_expr, scope, under)
                yield from ((child, ()) for child in node.body)

    def _import(self, node: ast.Import | ast.ImportFrom, scope: int) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                self.imports.append(Import(alias.asname or whole, whole, None, 0, scope))
            else:
                name = alias.asname or alias.name
                self.imports.append(Import(name, node.module or "", alias.name, node.level, scope))
                self.aliases[name] = alias.name
                if node.level or (node.module or "").partition(".")[0] not in _FOREIGN:
                    self.own.add(name)

    def _scope(self, node: Function | ast.ClassDef, parent: int) -> int:
        expression = self.source.expression
        parameters = tuple(self._parameters(node.args)) if not isinstance(node, ast.ClassDef) else ()
        bases = tuple(map(expression, node.bases)) if isinstance(node, ast.ClassDef) else ()
        kind = "class" if isinstance(node, ast.ClassDef) else "function"
        decorators = tuple(map(expression, node.decorator_list))
        self.scopes.append(Scope(kind, node.name, parent, self.source.span(node), parameters, decorators, bases))
        outside = [*node.decorator_list, *(node.bases if isinstance(node, ast.ClassDef) else _defaults(node.args))]
        for child in outside:
            self._calls(child, parent)
        return len(self.scopes) - 1

    def _parameters(self, arguments: ast.arguments) -> Iterator[Parameter]:
        plain = [*arguments.posonlyargs, *arguments.args]
        defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
        pairs = [*zip(plain, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
        for argument, default in pairs:
            yield Parameter(argument.arg, self._optional(default), self._optional(argument.annotation))
        for rest, stars in ((arguments.vararg, "*"), (arguments.kwarg, "**")):
            if rest is not None:
                yield Parameter(rest.arg, Opaque(self.source.span(rest), f"{stars}{rest.arg}"))

    def _optional(self, node: ast.expr | None) -> Expression | None:
        return None if node is None else self.source.expression(node)

    def _bind(self, target: ast.expr, value: ast.expr | None, scope: int, under: _Under) -> None:
        """Bind what stands on the left; None for a value that is computed from the old one."""
        if isinstance(target, ast.Tuple | ast.List):
            values: list[ast.expr | None] = [None] * len(target.elts)
            if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                values = list(value.elts)
            for child, part in zip(target.elts, values, strict=True):
                if value is not None and part is None:
                    self._named(child, Opaque(self.source.span(value), self.source.written(value)), scope, under)
                else:
                    self._bind(child, part, scope, under)
            return
        shown = self.source.expression(value) if value is not None else None
        self._named(target, shown or Opaque(self.source.span(target), self.source.written(target)), scope, under)

    def _named(self, target: ast.expr, value: Expression, scope: int, under: _Under) -> None:
        if isinstance(target, ast.Name):
            outer = target.id in self.outer[scope]
            self._add(target.id, value, MODULE if outer else scope, scope, (*under, *_MAYBE) if outer else under)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            owner = self._instance(target.value.id, scope)
            if owner is not None:
                self._add(target.attr, value, owner, scope, under if self._starts(scope) else (*under, *_MAYBE))
            else:
                self._add(f"{target.value.id}.{target.attr}", value, scope, scope, under)
        elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            self._item(target.value, target.slice.value, value, scope, under)

    def _item(self, base: ast.expr, key: object, value: Expression, scope: int, under: _Under) -> None:
        if not isinstance(key, str):
            return
        if isinstance(base, ast.Name):
            self._add(base.id, value, scope, scope, under, key)
        elif isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
            owner = self._instance(base.value.id, scope)
            name = base.attr if owner is not None else f"{base.value.id}.{base.attr}"  # os.environ
            self._add(name, value, scope if owner is None else owner, scope, under, key)

    def _grow(self, target: ast.expr, value: ast.expr, scope: int, under: _Under, *, sign: str | None) -> None:
        """`name += value` is `name = name + value`; of other signs nothing is known."""
        old, more = self.source.expression(target), self.source.expression(value)
        grown = Operation(more.span, sign, old, more) if sign else Opaque(more.span, self.source.written(value))
        self._named(target, grown, scope, under)

    def _update(self, call: ast.Call, scope: int, under: _Under) -> None:
        """`table.update(...)`, `table.setdefault(...)`, `items.append(...)`: what comes later."""
        function = call.func
        if not isinstance(function, ast.Attribute) or function.attr not in _GROWING:
            return
        found = self.source.expression(call)
        if not isinstance(found, Call):
            return
        if function.attr == "extend" and len(call.args) == 1:
            self._grow(function.value, call.args[0], scope, under, sign="+")
        elif function.attr == "append" and len(call.args) == 1:
            old, more = self.source.expression(function.value), Items(found.span, (found.arguments[0].value,))
            self._named(function.value, Operation(found.span, "+", old, more), scope, under)
        for key, value in _updated(function.attr, found.arguments):
            self._item(function.value, key, value, scope, under)

    def _add(self, name: str, value: Expression, owner: int, scope: int, under: _Under, key: str | None = None) -> None:
        self.bindings[owner][name].append(Binding(name, value, scope, under, key))

    def _instance(self, name: str, scope: int) -> int | None:
        """The class whose instance (or self) a method's first parameter is."""
        while scope != MODULE:
            own = self.scopes[scope]
            if own.kind == "function" and self.scopes[own.parent].kind == "class":
                return own.parent if own.parameters and own.parameters[0].name == name else None
            scope = own.parent
        return None

    def _starts(self, scope: int) -> bool:
        """Whether what a method binds is there before any other method runs."""
        return self.scopes[scope].name in ("__init__", "setup", "load", "__post_init__", "initialize", "start", "enter")

    def _loop(self, target: ast.expr, each: ast.expr, scope: int) -> None:
        """A loop's variable is each item in turn."""
        if isinstance(target, ast.Name) and isinstance(each, ast.List | ast.Tuple) and 0 < len(each.elts) <= 16:  # noqa: PLR2004
            for item in each.elts:
                self._bind(target, item, scope, _MAYBE)
        else:
            self._bind(target, None, scope, _MAYBE)

    def _calls(self, node: ast.AST, scope: int) -> None:
        """Keep the calls of interest in a statement without others inside, or in an expression."""
        pending: list[ast.AST] = [node]
        while pending:
            child = pending.pop()
            kind = type(child)
            if kind is ast.Call and self._is_kept(child.func):  # type: ignore[attr-defined]
                found = self.source.expression(child)  # type: ignore[arg-type]
                if isinstance(found, Call):
                    self.calls.append(Called(found, scope))
            if kind not in _LEAVES:  # the standard library's own walk takes most of the time
                for name in INNER[kind]:
                    value = getattr(child, name)
                    if isinstance(value, ast.AST):
                        pending.append(value)
                    elif isinstance(value, list):
                        pending.extend(each for each in value if isinstance(each, ast.AST))

    def _is_kept(self, function: ast.expr) -> bool:
        if isinstance(function, ast.Attribute):
            if function.attr == "load" and _last(function.value) == "hub":  # torch's; most of the world has a `load`
                return True
            return KEPT.match(function.attr) is not None or function.attr in self.own or self._is_bound(function)
        if not isinstance(function, ast.Name):
            return False
        return function.id in self.own or KEPT.match(self.aliases.get(function.id, function.id)) is not None

    def _is_bound(self, function: ast.Attribute) -> bool:
        """`Server.bind(...)`, `Server.options(...).bind(...)`: Ray's and Modal's way to call."""
        base = function.value
        if isinstance(base, ast.Call) and isinstance(base.func, ast.Attribute):
            base = base.func.value
        return function.attr in _BINDS and isinstance(base, ast.Name) and base.id in self.own


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _both(under: _Under, more: _Under) -> _Under:
    """Conditions inside of others; a chain of hundreds is as good as one that nobody can tell."""
    return (*under, *more) if len(under) < _MAX_CONDITIONS else (*_MAYBE, *under[1:])


def _updated(method: str, arguments: tuple[Argument, ...]) -> Iterator[tuple[object, Expression]]:
    if method in ("append", "extend"):
        return
    if method == "setdefault":
        if len(arguments) == 2 and isinstance(arguments[0].value, Literal):  # noqa: PLR2004
            yield arguments[0].value.value, arguments[1].value
        return
    for argument in arguments:
        if argument.name is None and isinstance(argument.value, Table):
            pairs = argument.value.items
            yield from ((key.value, value) for key, value in pairs if isinstance(key, Literal))
        elif argument.name not in (None, "*", "**"):
            yield argument.name, argument.value


def _takes(arguments: ast.arguments) -> bool:
    """Whether a function has parameters: what one without any returns may be a setting."""
    return bool(arguments.args or arguments.posonlyargs or arguments.kwonlyargs or arguments.vararg or arguments.kwarg)


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(default for default in arguments.kw_defaults if default is not None)]


def _is_main(test: ast.expr) -> bool:
    """`__name__ == "__main__"`, under which a program starts."""
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"
