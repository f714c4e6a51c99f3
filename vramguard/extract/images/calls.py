"""Python: images that calls of container frameworks name, as text or by a constant of the same module.

A variable that the module does not set is no declaration, and no fact: who calls with it may well have a digest.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from vramguard.extract.images.reference import image
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Image
    from vramguard.source import Document
    from vramguard.source.python import Source

# A module with none of these names no image; those of the second only beside one of the third.
_WORDS = (
    *(
        "from_registry",
        "from_aws_ecr",
        "from_gcp_artifact",
        "containers.run",
        "containers.create",
        "images.pull",
        "DockerContainer(",
    ),
    *("Sidecar(", "UserContainer(", "ContainerOp("),
    *('"containers"', "'containers'", '"initContainers"', "'initContainers'", '"container"', "'container'"),
)
_NAMED = ("image=", "image =", "image_uri", "container_uri", "_image")
# What such a name is given: a text, a call, or another name, of which only the module's own counts.
_VALUE = re.compile(
    r"(?:image|_uri)\w*[\"']?\s*(?::\s*(?:str|Optional\[str\])\s*)?[=:]\s*(?:([\"'({\[]|[rfbRFB]{1,2}[\"']|os\.|\w[\w.]*\()|(\w+))"
)
_BESIDE = ("Container", "Operator", "docker", "kubernetes", "batch(", "Script(", "script(", "KubernetesJob")
# Keywords that name an image whatever is called: KFP, BentoML, Flyte, Beam; SageMaker, Vertex AI; ZenML; Metaflow.
_ALWAYS = frozenset(
    (
        *("base_image", "image_uri", "container_image", "parent_image", "docker_image", "container_uri"),
        *("serving_container_image_uri", "custom_image_uri", "training_image_uri", "prebuilt_container_image_uri"),
    )
)
# Calls whose `image` is a container's: KFP, kubernetes, Airflow, Hera, Flyte, Prefect, Metaflow, Docker's client.
_CONTAINERS = re.compile(
    r"(?:\w{0,60}(?:Container|ContainerOp|ContainerSpec|ContainerTask|ContainerNode|PodOperator|PodOperatorAsync|"
    r"DockerOperator|SwarmOperator|KubernetesJob|DockerContainer|KubernetesRun|DockerRun|Sidecar))|Script|script|docker|kubernetes"
    r"|batch|\w{0,60}_container|containers\.run|containers\.create"
)
# Calls of KFP 1.8 (dsl/_container_op.py) whose arguments begin with a name and an image.
_SECOND = re.compile(r"(?:.*\.)?(?:Sidecar|UserContainer|ContainerOp)")
# Calls whose first argument is an image: Modal, Docker's client, testcontainers.
_FIRST = re.compile(
    r"Image\.(?:from_registry|from_aws_ecr|from_gcp_artifact_registry)|containers\.(?:run|create)|images\.pull|DockerContainer"
)
_FRAMEWORK = re.compile(
    r"^[ \t]*(?:from|import)[ \t]+(kfp|airflow|modal|sagemaker|zenml|metaflow|bentoml|ray|truss|hera)\b", re.MULTILINE
)
_FORMS = {"hera": "argo"}
_VARIABLES = ("environ.get", "os.getenv", "getenv")  # their second argument is what holds where none is set
_LISTS = ("containers", "initContainers")
_LONGEST = 1000
_LEAVES = frozenset((ast.Name, ast.Constant, ast.Load, ast.Store, ast.Add, ast.Eq))
_DEPTH = 4  # of constants that stand for constants


def images(document: Document) -> Iterator[Image]:
    """Every image that a module names."""
    if not mentions(document.text) or (tree := document.value.tree) is None:
        return
    framework = _FRAMEWORK.search(_source(document).text)
    name = framework[1] if framework else "python"
    module = _Module(document, _FORMS.get(name, name), tree)
    for node in _calls(tree):
        yield from module.called(node) if isinstance(node, ast.Call) else module.table(node)


def mentions(text: str) -> bool:
    """Whether a module could name an image."""
    if any(word in text for word in _WORDS):
        return True
    if not any(word in text for word in _NAMED):
        return False
    beside = any(word in text for word in (*_ALWAYS, *_BESIDE))
    return beside and any(match[1] or _is_set(match[2], text) for match in _VALUE.finditer(text))


def _is_set(name: str, text: str) -> bool:
    """Whether a module gives a name a value, cheaply asked."""
    return f"{name} =" in text or f"{name}=" in text or f"{name}:" in text


def _calls(tree: ast.Module) -> Iterator[ast.Call | ast.Dict]:
    """The calls and tables of a module; the standard library's own walk takes several times as long."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Call | ast.Dict):
            yield node
        for name in node._fields:
            value = getattr(node, name)
            if isinstance(value, list):
                pending.extend(item for item in value if isinstance(item, ast.AST))
            elif isinstance(value, ast.AST) and type(value) not in _LEAVES:
                pending.append(value)


class _Module:
    def __init__(self, document: Document, form: str, tree: ast.Module) -> None:
        self.path, self.source, self.form = document.path, _source(document), form
        self.constants = _constants(tree)

    def called(self, node: ast.Call) -> Iterator[Image]:
        name = _called(node.func)
        container = _CONTAINERS.fullmatch(name) or _CONTAINERS.fullmatch(name.rpartition(".")[2])
        for word in node.keywords:
            if word.arg in _ALWAYS:
                yield from self._named(
                    word.value, "component" if word.arg == "base_image" else "container", certain=False
                )
            elif word.arg == "image" and container:
                yield from self._named(word.value, "container", certain=True)
        if node.args and (_FIRST.fullmatch(name) or name.endswith(".DockerContainer")):
            yield from self._named(node.args[0], "base" if name.startswith("Image.") else "container", certain=True)
        elif len(node.args) > 1 and _SECOND.fullmatch(name):
            yield from self._named(node.args[1], "container", certain=True)

    def table(self, node: ast.Dict) -> Iterator[Image]:
        """`{"containers": [{"image": …}]}`, `{"container": {"image": …}}`, `{"image_uri": …}`: manifests, Ray."""
        for key, value in zip(node.keys, node.values, strict=True):
            word = key.value if isinstance(key, ast.Constant) else None
            if word == "image_uri":
                yield from self._named(value, "container", certain=False)
            inner = (
                value.elts if word in _LISTS and isinstance(value, ast.List) else [value] if word == "container" else []
            )
            for item in inner:
                for held, image_value in zip(item.keys, item.values, strict=True) if isinstance(item, ast.Dict) else ():
                    if isinstance(held, ast.Constant) and held.value == "image":
                        form = "kubernetes" if word in _LISTS else self.form  # a manifest, whoever takes it
                        yield from self._named(image_value, "container", certain=True, form=form)

    def _named(self, node: ast.expr, use: str, *, certain: bool, form: str = "") -> Iterator[Image]:
        text, place = self._text(node)
        form = form or self.form
        if text is None or not text.isprintable():
            return
        whole = certain and isinstance(node, ast.Constant | ast.Name)
        found = image(text, Location(self.path, *self.source.span(place)), form, use, certain=whole)
        if found is None and "{" in text and "/" in text.partition("{")[0]:  # f"vllm/vllm-openai:{tag}"
            found = image(text, Location(self.path, *self.source.span(place)), form, use)
        if found is not None and (found.pinned is True or found.pinned is False or "{" in text):
            yield found

    def _text(self, node: ast.expr, depth: int = 0) -> tuple[str | None, ast.expr]:
        """What a node says, and where; None where the module does not say it."""
        if isinstance(node, ast.Constant):
            return (node.value if isinstance(node.value, str) and len(node.value) < _LONGEST else None), node
        if isinstance(node, ast.Name):
            found = self.constants.get(node.id)
            return (None, node) if found is None or depth > _DEPTH else self._text(found, depth + 1)
        if isinstance(node, ast.Call) and _called(node.func) in _VARIABLES and len(node.args) > 1:
            return (None, node) if depth > _DEPTH else self._text(node.args[1], depth + 1)
        if isinstance(node, ast.JoinedStr):
            return (None if depth > _DEPTH else self._joined(node, depth + 1)), node
        return None, node

    def _joined(self, node: ast.JoinedStr, depth: int) -> str | None:
        parts: list[str] = []
        for part in node.values[:20]:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            text = None if isinstance(inner, ast.JoinedStr) else self._text(inner, depth)[0]
            parts.append("{" + (inner.id if isinstance(inner, ast.Name) else "value") + "}" if text is None else text)
        return "".join(parts)[:_LONGEST]


def _source(document: Document) -> Source:
    found: Source = document.value
    return found


def _constants(tree: ast.Module) -> Mapping[str, ast.expr]:
    """What the module's own names stand for, those that are given a text once."""
    found: dict[str, list[ast.expr]] = {}
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        value = getattr(statement, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(value, ast.Constant | ast.JoinedStr | ast.Call):
                found.setdefault(target.id, []).append(value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _called(function: ast.expr) -> str:
    """The last two names of what is called: `containers.run`, `Image.from_registry`; one where there is no other."""
    if isinstance(function, ast.Attribute):
        base = function.value
        owner = base.attr if isinstance(base, ast.Attribute) else base.id if isinstance(base, ast.Name) else ""
        return f"{owner}.{function.attr}" if owner else function.attr
    return function.id if isinstance(function, ast.Name) else ""
