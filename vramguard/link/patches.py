"""What kustomize lays over an object: a strategic merge, a JSON patch, another image. Each value keeps its place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.made import children, listed, mapping, scalar
from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Keys by which Kubernetes merges lists of its own kinds (k8s.io/api core/v1, `patchMergeKey`); other lists are
# replaced, and so is every list of a custom resource, whose schema kustomize does not know.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
_OWN_KINDS = frozenset(("Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "PodTemplate"))
_DIRECTIVE = "$patch"


class UnmergeableError(Exception):
    """A patch that is no plain merging."""


def strategic(base: Node, patch: Node) -> Node | None:
    """A strategic merge of an object; None where the patch deletes it. Raises `UnmergeableError`."""
    return _mapping(base, patch, merges=base.get("kind").text in _OWN_KINDS)


def _mapping(base: Node, patch: Node, *, merges: bool) -> Node | None:
    directive = patch.get(_DIRECTIVE).text
    if directive == "delete":
        return None
    if directive == "replace":
        return mapping(patch, {key: node for key, node in patch.items() if key != _DIRECTIVE})
    if directive:
        raise UnmergeableError(f"`{_DIRECTIVE}: {directive}`")
    result = children(base)
    for key, node in patch.items():
        if key.startswith("$"):
            raise UnmergeableError(f"`{key}`")
        merged = _value(key, result.get(key), node, merges=merges)
        if merged is None:
            result.pop(key, None)
        else:
            result[key] = merged
    return mapping(base, result)


def _value(key: str, base: Node | None, patch: Node, *, merges: bool) -> Node | None:
    if patch.value is None:
        return None
    if base is not None and isinstance(base.value, dict) and isinstance(patch.value, dict):
        return _mapping(base, patch, merges=merges)
    by = _MERGE_KEYS.get(key) if merges else None
    if by and base is not None and isinstance(base.value, list) and isinstance(patch.value, list):
        return _list(base, patch, by)
    return patch


def _list(base: Node, patch: Node, by: str) -> Node:
    """Items with the same key are merged, others put in front (kustomize 5, kyaml's `MergeOptionsListPrepend`)."""
    held = list(base.list())
    names = [str(item.get(by).value) for item in held]
    result: list[Node | None] = list(held)
    added = []
    for item in patch.list():
        name = str(item.get(by).value)
        if item.get(_DIRECTIVE).text == "replace" and not item.get(by):
            raise UnmergeableError("a list that replaces another")
        if name in names:
            place = names.index(name)
            merged = _mapping(held[place], item, merges=True)
            result[place] = mapping(item, children(merged)) if merged else None  # stands where the patch says so
        else:
            added.append(item)
    return listed(base, [*added, *(item for item in result if item)])


def json_patch(base: Node, operation: Node) -> Node:
    """An operation of RFC 6902: `add`, `replace`, `remove`. Raises `UnmergeableError` for others, and for paths that
    lead nowhere.
    """
    keys = [key.replace("~1", "/").replace("~0", "~") for key in operation.get("path").text.split("/")[1:]]
    kind = operation.get("op").text
    if kind == "test":
        return base
    if kind not in ("add", "replace", "remove") or not keys:
        raise UnmergeableError(f"`op: {kind}`")
    return _operated(base, keys, None if kind == "remove" else operation.get("value"), kind)


def _operated(base: Node, keys: list[str], value: Node | None, kind: str) -> Node:
    key, *rest = keys
    if isinstance(base.value, dict):
        parts = children(base)
        if rest:
            if key not in parts:
                raise UnmergeableError(f"no `{key}`")
            parts[key] = _operated(parts[key], rest, value, kind)
        elif value is None:
            parts.pop(key, None)
        else:
            parts[key] = value
        return mapping(base, parts)
    if isinstance(base.value, list):
        return listed(base, _of_list(list(base.list()), key, rest, value, kind))
    raise UnmergeableError(f"no `{key}`")


def _of_list(items: list[Node], key: str, rest: list[str], value: Node | None, kind: str) -> list[Node]:
    number = len(items) if key == "-" else int(key) if key.isdecimal() and len(key) < 6 else -1  # noqa: PLR2004 - digits
    last = len(items) if kind == "add" and not rest else len(items) - 1
    if not 0 <= number <= last:
        raise UnmergeableError(f"no item `{key}`")
    if rest:
        items[number] = _operated(items[number], rest, value, kind)
    elif kind == "add" and value is not None:
        items.insert(number, value)
    elif value is None:
        del items[number]
    else:
        items[number] = value
    return items


_IMAGE = re.compile(r"(?P<name>[^@]*?)(?P<tag>:[^:/@]*)?(?P<digest>@.*)?\Z")


def renames(images: Node) -> dict[str, Node]:
    """The entries of `images` by the name that they rename."""
    return {rule.get("name").text: rule for rule in images.list()}


def with_images(base: Node, rules: dict[str, Node]) -> Node:
    """The object with the images of its containers renamed: `newName`, `newTag`, `digest`."""
    return _everywhere(base, lambda container: _with_image(container, rules))


def _with_image(container: Node, rules: dict[str, Node]) -> Node:
    held = container.get("image")
    match = _IMAGE.match(held.text)
    rule = rules.get(match["name"]) if match else None
    if match is None or rule is None:
        return container
    name, tag, digest = rule.get("newName"), rule.get("newTag"), rule.get("digest")
    said = next((node for node in (digest, tag, name) if node.text), rule)
    behind = (
        f"@{digest.text}"
        if digest.text
        else f":{tag.text}"
        if tag.text
        else f"{match['tag'] or ''}{match['digest'] or ''}"
    )
    text = f"{name.text or match['name']}{behind}"
    changed = Node(said.document, said.keys, text, said.inside)
    return mapping(scalar(container), {**children(container), "image": changed})


def _everywhere(node: Node, change: Callable[[Node], Node], depth: int = 30) -> Node:
    """The object with every container in it changed."""
    if depth and isinstance(node.value, dict):
        parts = children(node)
        changed = {key: _in_key(key, child, change, depth) for key, child in parts.items()}
        return mapping(node, changed) if any(changed[key] is not parts[key] for key in parts) else node
    if depth and isinstance(node.value, list):
        items = list(node.list())
        done = [_everywhere(item, change, depth - 1) for item in items]
        return listed(node, done) if any(a is not b for a, b in zip(items, done, strict=True)) else node
    return node


def _in_key(key: str, child: Node, change: Callable[[Node], Node], depth: int) -> Node:
    if key in ("containers", "initContainers") and isinstance(child.value, list):
        items = list(child.list())
        done = [change(item) for item in items]
        return listed(child, done) if any(a is not b for a, b in zip(items, done, strict=True)) else child
    return _everywhere(child, change, depth - 1)


_STEP = re.compile(r"\[([\w-]+)=([^\]]*)\]|((?:[^.\[\]]|\\\.)+)")


def steps(path: str) -> Iterator[str | tuple[str, str]]:
    """The keys of a field path of kustomize's `replacements`: `spec.containers.[name=x].image`."""
    for match in _STEP.finditer(path):
        yield (match[1], match[2]) if match[1] else match[3].replace("\\.", ".")


def replaced(base: Node, path: list[str | tuple[str, str]], value: Node) -> Node:
    """The object with a value in the place of what a field path leads to; as it is where that leads nowhere."""
    if not path:
        return value
    key, *rest = path
    if isinstance(base.value, dict) and isinstance(key, str) and (key in base.value or not rest):
        parts = children(base)
        return mapping(base, {**parts, key: replaced(parts.get(key, base), rest, value)})
    if isinstance(base.value, list):
        items = list(base.list())
        chosen = {number for number, item in enumerate(items) if _chosen(number, item, key)}
        return listed(base, [replaced(item, rest, value) if n in chosen else item for n, item in enumerate(items)])
    return base


def _chosen(number: int, item: Node, key: str | tuple[str, str]) -> bool:
    return item.get(key[0]).text == key[1] if isinstance(key, tuple) else key in (str(number), "*")
