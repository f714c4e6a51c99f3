"""Training's ways in a module that serves: dropout left on, statistics updated, gradients kept.

`from_pretrained` of transformers gives a model in evaluation mode (5.23.0, modeling_utils.py: `model.eval()`), and
`generate` and pipelines keep no gradients, so that neither is a fault. Modules that train as well are left alone.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vramguard.source import Location
from vramguard.source.program import TrainingMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source.python import Source

# Asked of the text first: a module without any of these words has none of the faults.
WORDS: Final = re.compile(
    r"\.train\(|load_state_dict|torch\.(?:jit\.|hub\.)?load|from_pretrained|[Tt]raining|TRAINING|do_train|train_mode|torchvision"
)
_FLAGS: Final = re.compile(r"(?:(?:is_|model_)?training(?:_mode)?|do_train|train_mode)\Z", re.IGNORECASE)
_TRAINS: Final = re.compile(r"(?:backward|\w*Trainer|\w*TrainingArguments|SFTConfig|zero_grad|fit|GradScaler)\Z")
# Classes of transformers whose instances are torch modules; tokenizers, processors and pipelines are not.
_MODELS: Final = re.compile(
    r"(?!\w*(?:Pipeline|Tokenizer|Processor|Extractor))(?:AutoModel\w*|[A-Z]\w*(?:For[A-Z]\w+|Model|LMHeadModel))\Z"
)
_NO_GRADIENTS: Final = frozenset({"no_grad", "inference_mode", "set_grad_enabled"})
_FORGIVEN: Final = frozenset({"dropout", "dropout2d", "alpha_dropout", "feature_dropout", "batch_norm", "bernoulli"})
_TRAINING_FUNCTION: Final = re.compile(r"train|fine_?tune|fit|optimi[sz]e|epoch", re.IGNORECASE)
# Networks of torchvision and timm, which are built in training mode.
_BUILDERS: Final = frozenset({
    "create_model", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "densenet121", "mobilenet_v2",
    "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "vgg16", "vgg19", "vit_b_16", "convnext_tiny",
    "alexnet", "inception_v3",
})  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class _Forward:
    """A direct call of something; whether gradients are off around it."""

    receiver: str
    node: ast.Call
    function: str
    guarded: bool


@dataclass(slots=True)
class _Module:
    """What one module does with torch modules, by the name that holds each."""

    pretrained: set[str] = field(default_factory=set)  # in evaluation mode from the start
    loaded: dict[str, ast.expr] = field(default_factory=dict)  # in whatever mode they were saved or built in
    classes: set[str] = field(default_factory=set)  # subclasses of nn.Module
    evaluated: list[tuple[str, int]] = field(default_factory=list)
    trained: list[tuple[str, ast.Call, str]] = field(default_factory=list)
    forwards: list[_Forward] = field(default_factory=list)
    flags: list[tuple[str, ast.expr | ast.keyword, str]] = field(default_factory=list)
    guarded: set[str] = field(default_factory=set)  # functions that are called where gradients are off
    frozen_models: set[str] = field(default_factory=set)  # whose parameters ask for no gradients
    trains: bool = False
    frozen: bool = False  # gradients are off for the whole program
    torch: bool = False


def training_modes(path: str, source: Source, serving: Location) -> Iterator[TrainingMode]:
    """Everything that leaves a model in training's ways in a module that serves at `serving`."""
    if source.tree is None:
        return
    found = _Module()
    _Walk(found).run(source.tree)
    if found.trains:
        return
    for what, node, function in found.flags:
        yield TrainingMode(Location(path, *source.span(node)), what, "flag", function, serving)
    if not found.torch:
        return
    yield from _left_training(path, source, found, serving)
    yield from _with_gradients(path, source, found, serving)


def _left_training(path: str, source: Source, found: _Module, serving: Location) -> Iterator[TrainingMode]:
    """`model.train()` without an `eval()` after it; loaded modules that nobody sets to evaluation."""
    for name, call, function in found.trained:
        known = name in found.pretrained or name in found.loaded or name.rpartition(".")[2] in ("model", "net")
        later = any(held == name and line >= call.lineno for held, line in found.evaluated)
        if known and not later and not _TRAINING_FUNCTION.search(function):
            yield TrainingMode(Location(path, *source.span(call)), f"{name}.train()", "train", function, serving)
    used = {forward.receiver for forward in found.forwards}
    for name, node in found.loaded.items():
        if name in used and not found.evaluated and name not in {held for held, _, _ in found.trained}:
            yield TrainingMode(
                Location(path, *source.span(node)), f"{name} without eval()", "missing-eval", "", serving
            )


def _with_gradients(path: str, source: Source, found: _Module, serving: Location) -> Iterator[TrainingMode]:
    if found.frozen:
        return
    models = (found.pretrained | found.loaded.keys()) - found.frozen_models
    for forward in found.forwards:
        name = forward.function.rpartition(".")[2]
        if forward.receiver not in models or forward.guarded or name in found.guarded:
            continue
        if not _TRAINING_FUNCTION.search(name):
            at = Location(path, *source.span(forward.node.func))
            what = f"{forward.receiver}(...) outside of inference_mode()"
            yield TrainingMode(at, what, "missing-inference-mode", forward.function, serving)


class _Walk:
    """One pass over a tree, with the function and the guards that stand around each node."""

    def __init__(self, found: _Module) -> None:
        self.found = found

    def run(self, tree: ast.Module) -> None:
        self._classes(tree)
        pending: list[tuple[ast.AST, str, bool]] = [(tree, "", False)]
        while pending:
            node, function, guarded = pending.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                guarded = any(_is_guard(decorator) for decorator in node.decorator_list)
                function = f"{function}.{node.name}".lstrip(".")
            elif isinstance(node, ast.With | ast.AsyncWith):
                guarded = guarded or any(_is_guard(item.context_expr) for item in node.items)
            self._note(node, function, guarded)
            pending.extend((child, function, guarded) for child in ast.iter_child_nodes(node))

    def _classes(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any(_name(base).endswith("nn.Module") for base in node.bases):
                self.found.classes.add(node.name)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                self.found.torch |= any(name.partition(".")[0] == "torch" for name in names)

    def _note(self, node: ast.AST, function: str, guarded: bool) -> None:  # noqa: FBT001 - of a node
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assigned(target, node.value, function)
        elif isinstance(node, ast.Call):
            self._called(node, function, guarded)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    self._flag(key.value, value, function, f'"{key.value}": True')

    def _assigned(self, target: ast.expr, value: ast.expr, function: str) -> None:
        name = _name(target)
        if not name:
            return
        self._flag(name.rpartition(".")[2], value, function, f"{name} = True")
        maker = _root_call(value)
        if maker is None:
            return
        made = _name(maker.func)
        owner, _, last = made.rpartition(".")
        if (last == "from_pretrained" and _MODELS.match(owner.rpartition(".")[2])) or made == "torch.jit.load":
            self.found.pretrained.add(name)
        elif made in ("torch.load", "torch.hub.load") or last in _BUILDERS:
            self.found.loaded.setdefault(name, value)

    def _flag(self, name: str, value: ast.expr | ast.keyword, function: str, what: str) -> None:
        inner = value.value if isinstance(value, ast.keyword) else value
        if _FLAGS.match(name) and isinstance(inner, ast.Constant) and inner.value is True:
            self.found.flags.append((what, value, function))

    def _called(self, node: ast.Call, function: str, guarded: bool) -> None:  # noqa: FBT001 - of a node
        name = _name(node.func)
        owner = name.rpartition(".")[0]
        last = node.func.attr if isinstance(node.func, ast.Attribute) else name
        self.found.trains |= _TRAINS.match(last) is not None
        if last.lower() not in _FORGIVEN:
            for word in node.keywords:
                self._flag(word.arg or "", word, function, f"{word.arg}=True")
        if last in ("eval", "train"):
            self._switched(node, owner, last, function)
        elif last == "load_state_dict" and owner:
            self.found.loaded.setdefault(owner, node)
        elif (name in ("torch.set_grad_enabled", "torch.autograd.set_grad_enabled") and _is_false(node)) or (
            last == "__enter__" and _is_guard(node.func)
        ):
            self.found.frozen = True
        elif last == "requires_grad_" and _is_false(node):
            self.found.frozen_models.add(owner)
        if guarded and name:
            self.found.guarded.add(last)
        if name:
            self.found.forwards.append(_Forward(name, node, function, guarded))

    def _switched(self, node: ast.Call, owner: str, last: str, function: str) -> None:
        """`eval()`, `train(False)`; `train()` without arguments."""
        if last == "eval" or _is_false(node):
            self.found.evaluated.append((owner, node.lineno))
        elif owner and not node.args and not node.keywords:
            self.found.trained.append((owner, node, function))


def _is_false(node: ast.Call) -> bool:
    values = [*node.args, *(word.value for word in node.keywords)]
    return any(isinstance(value, ast.Constant) and value.value is False for value in values)


def _is_guard(node: ast.expr) -> bool:
    """`torch.no_grad()`, `inference_mode`, as a context or a decorator."""
    while isinstance(node, ast.Call | ast.Attribute):
        name = _name(node if isinstance(node, ast.Attribute) else node.func).rpartition(".")[2]
        if name in _NO_GRADIENTS:
            return True
        node = node.func if isinstance(node, ast.Call) else node.value
    return isinstance(node, ast.Name) and node.id in _NO_GRADIENTS


def _root_call(node: ast.expr) -> ast.Call | None:
    """The first call of a chain of methods: `X.from_pretrained(...)` of `X.from_pretrained(...).to("cuda").eval()`."""
    while isinstance(node, ast.Call):
        inner = node.func.value if isinstance(node.func, ast.Attribute) else None
        if not isinstance(inner, ast.Call):
            return node
        node = inner
    return None


def _name(node: ast.expr) -> str:
    """`a.b.c` of plain names and attributes, else empty."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""
