"""Objects of Kubernetes, values of charts, and other YAML in which a container stands: the images of all of them.

An object's containers are found wherever they stand, so custom resources need no row here: `image` beside or below
`containers`, `steps`, `template`, `runner` is one word for all of them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vramguard.extract.images.reference import CHART_TAG, NO_TAG, image, is_file
from vramguard.extract.images.values import composed, is_place, mappings, named
from vramguard.facts import Unknown
from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Image

_FORMS: Mapping[str, str] = {"tekton.dev": "tekton", "argoproj.io": "argo", "ray.io": "ray"}
_CHARTS = ("HelmRelease", "HelmChart", "HelmChartConfig", "Application", "ApplicationSet")
_NOTHING = frozenset(("CustomResourceDefinition", "Kustomization", "Component", "ImagePolicy", "ImageRepository"))
_USES: Mapping[str, str] = {
    "containers": "container",
    "initContainers": "init-container",
    "ephemeralContainers": "ephemeral-container",
    "sidecars": "container",
    "steps": "step",
}
_CERTAIN = frozenset((*_USES, "container", "script"))  # what holds one `image` is a container
# Keys whose value is a text that is YAML, or JSON, of its own.
_INNER = ("values", "valuesContent", "serveConfigV2", "runtimeEnvYAML", "rawValues")
_MAX_INNER = 1 << 17
_IMAGE_KEY = re.compile(r"(?:.*[a-z_-])?(?:[iI]mage|IMAGE)(?:_?[uU]r[il]|Ref)?\Z", re.ASCII)
_IMAGE_NAME = re.compile(r"(?:.{0,80}[_.-])?(?:image|IMAGE|RELATED_IMAGE_\w{1,80})\Z|.{0,60}[a-z]Image\Z", re.ASCII)
_MODEL_CAR = re.compile(r"oci://(?!n/)")  # oci://n/… is a bucket of Oracle's cloud
_CALLED = ("value", "default")  # of a variable, a parameter
_PARAMETER = re.compile(r"\$\(params\.([\w.-]{1,100})\)|\$\(params\[[\"']([\w.-]{1,100})[\"']\]\)")


def is_object(value: object) -> bool:
    """Whether a mapping is an object of Kubernetes, or of what is written as one."""
    return isinstance(value, dict) and isinstance(value.get("apiVersion"), str) and isinstance(value.get("kind"), str)


def manifest(root: Node) -> Iterator[Image]:
    """Every image of an object."""
    kind, group = root.get("kind").text, root.get("apiVersion").text.rpartition("/")[0]
    if kind in _NOTHING:
        return
    form = "helm" if kind in _CHARTS else _FORMS.get(group, "kubernetes")
    if form == "argo" and "Workflow" not in kind:
        form = "kubernetes"
    if kind == "ConfigMap":
        yield from (fact for _, node in root.get("data").items() for fact in _text(node, form))
    elif kind == "List":
        for item in root.get("items").list():
            if is_object(item.value):
                yield from manifest(item)
    elif form == "tekton" and "$(params." in root.document.text:
        yield from _filled(root, form)
    else:
        yield from _within(root, form)


def _filled(root: Node, form: str) -> Iterator[Image]:
    """A task's images, its parameters filled in by their own defaults where they are used, and not said there again."""
    defaults = {
        str(item.get("name").value): item.get("default").value
        for params in (root.get("spec", "params"), root.get("spec", "pipelineSpec", "params"))
        for item in params.list()
        if isinstance(item.get("default").value, str)
    }
    for found in _within(root, form):
        text = found.pinned.text if isinstance(found.pinned, Unknown) else ""
        filled = _PARAMETER.sub(lambda match: defaults.get(match[1] or match[2], match[0]), text)
        known = image(filled, found.at, form, found.use, behind=found.comment) if filled != text else None
        yield known or found


def _is_of_interest(value: Mapping[Any, Any], _: str) -> bool:
    return ("name" in value and ("value" in value or "default" in value)) or any(map(_is_key, value))


def _is_value(value: Mapping[Any, Any], key: str) -> bool:
    return "repository" in value or key == "images" or _is_of_interest(value, key)


def _is_key(key: object) -> bool:
    return isinstance(key, str) and ("mage" in key or "MAGE" in key or key == "storageUri" or key in _INNER)


def _within(root: Node, form: str) -> Iterator[Image]:
    for node, key in mappings(root, _is_of_interest):
        value = node.value
        for name in value:
            if not isinstance(name, str):
                continue
            if name == "image":
                yield from _image(node, key, form)
            elif name == "storageUri" and _MODEL_CAR.match(str(value[name])):
                yield from _one(named(node.get(name), form, "model"))
            elif _IMAGE_KEY.match(name):
                yield from _keyed(node.get(name), form)
            elif name in _INNER and isinstance(value[name], str):
                yield from _text(node.get(name), "helm" if "alues" in name else form)
        yield from _called(node, form)


def _image(node: Node, key: str, form: str) -> Iterator[Image]:
    """What stands under `image` of a container, or of something that is much like one."""
    if "imagePushSecret" in node.value:
        return  # what KAITO makes, and pushes
    held = node.get("image")
    if isinstance(held.value, dict):
        yield from _one(composed(held, form, _USES.get(key, "container")))
    elif isinstance(node.value.get("repository"), str):  # of NVIDIA's operators: repository, image, version
        yield from _one(composed(node, form, "container"))
    elif form == "helm" or "tag" in node.value or "imageTag" in node.value:
        yield from _tagged(node, held, form)
    elif isinstance(held.value, str) and not is_place(held.value):
        path = node.inside is None and "/" in held.value and not is_file(held.value)  # settings may add a tag
        certain = key in _CERTAIN or "name" in node.value or path
        yield from _one(named(held, form, _USES.get(key, "container"), certain=certain))


def _tagged(node: Node, held: Node, form: str) -> Iterator[Image]:
    """`image: name` with its tag beside it."""
    if isinstance(held.value, str) and not is_place(held.value):
        apart = ":" not in held.value.rpartition("/")[2] and any(node.value.get(key) for key in ("tag", "imageTag"))
        found = composed(_only(node), form, "container") if apart else named(held, form, "container")
        if (
            found
            and found.reason == NO_TAG
            and any(str(key).lower().endswith(("tag", "version")) for key in node.value)
        ):
            found = replace(found, reason=CHART_TAG)  # the chart's template puts one behind it
        yield from _one(found)


def _only(node: Node) -> Node:
    """A mapping without the names of other things: `name` is the container's."""
    value = {key: value for key, value in node.value.items() if key not in ("repository", "repo", "name", "version")}
    return Node(node.document, node.keys, value, node.inside)


def _keyed(node: Node, form: str) -> Iterator[Image]:
    """What stands under a key that ends in the word: `initImage: …`, `sidecarImage: {repository: …}`."""
    if isinstance(node.value, dict):
        if any(key in node.value for key in ("repository", "tag", "digest")):
            yield from _one(composed(node, form, "container"))
    elif isinstance(node.value, str) and not is_place(node.value):
        yield from _one(named(node, form, "container", certain=False))


def _called(node: Node, form: str) -> Iterator[Image]:
    """A variable or a parameter that is called an image: `{name: EXECUTOR_IMAGE, value: …}`."""
    name = node.value.get("name")
    if isinstance(name, str) and _IMAGE_NAME.match(name):
        for key in _CALLED if form != "tekton" else _CALLED[:1]:  # a task's default stands where it is used
            held = node.get(key)
            if isinstance(held.value, str) and "/" in held.value:
                yield from _one(named(held, form, "variable", certain=False))


def _text(node: Node, form: str) -> Iterator[Image]:
    """The images of a text that is YAML or JSON itself."""
    text = node.value
    if isinstance(text, str) and "mage" in text and ":" in text and len(text) <= _MAX_INNER:
        for inner in node.parsed():
            if is_object(inner.value):
                yield from manifest(inner)
            elif isinstance(inner.value, dict | list):
                yield from values(inner) if form == "helm" else _within(inner, form)


def values(root: Node) -> Iterator[Image]:
    """Every image that the values of a chart name."""
    for node, key in mappings(root, _is_value):
        if is_object(node.value):
            continue  # its containers come by themselves
        if _IMAGE_KEY.match(key) and "repository" in node.value:
            continue  # taken with its key
        if "image" not in node.value and "repository" in node.value and ("tag" in node.value or "digest" in node.value):
            yield from _one(composed(node, "helm", "container"))
        for name in node.value:
            if name == "image":
                yield from _image(node, key, "helm")
            elif key == "images" or (isinstance(name, str) and _IMAGE_KEY.match(name)):
                yield from _keyed(node.get(name), "helm")
        yield from _called(node, "helm")


def containers(root: Node) -> Iterator[Image]:
    """The images of containers in a file of any other kind: a patch, a pipeline that was compiled, a component."""
    for node, key in mappings(root, _is_container):
        if "repository" in node.value:  # of values whose file is named otherwise
            yield from _one(composed(node, "helm", "container"))
            continue
        held = node.get("image")
        if isinstance(held.value, str) and not is_place(held.value):
            yield from _one(named(held, "kfp" if key == "container" else "kubernetes", _USES.get(key, "container")))


def _is_container(value: Mapping[Any, Any], key: str) -> bool:
    if "tag" in value and "repository" in value and not isinstance(value.get("image"), str):
        return True
    listed = key in ("containers", "initContainers", "ephemeralContainers")
    return "image" in value and (listed or (key == "container" and ("command" in value or "args" in value)))


def kustomization(root: Node) -> Iterator[Image]:
    """What a kustomization puts in the place of other images. `use` says of which: `replaces NAME`."""
    for entry in root.get("images").list():
        old, new = entry.get("name").value, entry.get("newName").value
        tag, digest = (str(entry.get(key).text) for key in ("newTag", "digest"))
        name = new if isinstance(new, str) and new else old
        if not isinstance(old, str) or not isinstance(name, str) or not (tag or digest):
            continue
        place = entry.get("newName" if name == new else "name")
        text = f"{name}@{digest}" if digest else f"{name}:{tag}"  # kustomize 5.8: a digest leaves no tag
        yield from _one(named(Node(place.document, place.keys, text, place.inside), "kubernetes", f"replaces {old}"))


def _one(found: Image | None) -> Iterator[Image]:
    if found is not None:
        yield found
