"""Pods: every container that is started, with what it is given to know and to compute with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from vramguard.extract.kubernetes.hardware import hardware
from vramguard.facts import Launch, Reference, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Hardware
    from vramguard.facts.nodes import Node

_MOST = 100  # containers of a pod, mounts of a container: with aliases a file could name any number
_CONFIG_MAP, _SECRET = "ConfigMap", "Secret"
_SOURCES = (("configMapRef", _CONFIG_MAP), ("secretRef", _SECRET))
_KEYS = (("configMapKeyRef", _CONFIG_MAP), ("secretKeyRef", _SECRET))


@dataclass(frozen=True, slots=True)
class Owner:
    """The object whose pods these are: `Deployment/llama`."""

    form: str
    name: str


def named(manifest: Node, form: str = "kubernetes", part: str = "") -> Owner:
    """The owner that a manifest is: its kind and name, and which of its parts."""
    name = manifest.get("metadata", "name").text or manifest.get("metadata", "generateName").text
    return Owner(form, "/".join(filter(None, (manifest.get("kind").text, name, part))))


def template(template: Node, owner: Owner) -> Iterator[Launch]:
    """The launches of a pod template, or of a pod: a mapping with `metadata` and `spec`."""
    yield from pod(template.get("spec"), owner, template.get("metadata", "annotations"))


def pod(spec: Node, owner: Owner, annotations: Node | None = None) -> Iterator[Launch]:
    """A launch for each container of a PodSpec that runs as long as the pod does."""
    containers = [*islice(spec.get("containers").list(), _MOST)]
    starting = islice(spec.get("initContainers").list(), _MOST)
    helpers = [node for node in starting if node.get("restartPolicy").text == "Always"]
    for container in (*helpers, *containers):
        if isinstance(container.value, dict):
            name = container.get("name").text
            of = replace(owner, name=f"{owner.name}/{name}") if len(containers) + len(helpers) > 1 and name else owner
            yield container_launch(container, spec, of, hardware(spec, container, annotations))


def container_launch(container: Node, spec: Node, owner: Owner, hardware: Hardware) -> Launch:
    """The launch of one container. Its volumes stand in `spec`."""
    command, arguments = container.get("command").words(), container.get("args").words()
    return Launch(
        at=container.at,
        form=owner.form,
        name=owner.name,
        command=(*command, *arguments),
        entrypoint=bool(command),
        env=environment(container.get("env")),
        references=tuple(_sources(container.get("envFrom"))),
        mounts=dict(_mounts(container.get("volumeMounts"), spec.get("volumes"))),
        image=container.get("image").word(),
        hardware=hardware,
    )


def environment(variables: Node) -> dict[str, Word | Reference]:
    """A list of variables, or a mapping of them, which some custom resources have."""
    result: dict[str, Word | Reference] = {}
    for name, node in variables.items():
        if word := node.word():
            result[name] = word
    for variable in islice(variables.list(), 10 * _MOST):
        value = variable.get("value").word() or _value_from(variable.get("valueFrom"))
        result[variable.get("name").text] = value or Word("", variable.at)
    result.pop("", None)
    return result


def _value_from(source: Node) -> Reference | None:
    for key, kind in _KEYS:
        if of := source.get(key):
            optional = of.get("optional").value is True
            return Reference(of.at, kind, of.get("name").text, of.get("key").text, optional)
    for key, node in source.items():
        return Reference(node.at, key, node.get("fieldPath").text or node.get("resource").text)
    return None


def _sources(sources: Node) -> Iterator[Reference]:
    for source in islice(sources.list(), _MOST):
        for key, kind in _SOURCES:
            if (of := source.get(key)) and not source.get("prefix").text:
                yield Reference(of.at, kind, of.get("name").text, None, of.get("optional").value is True)


def _mounts(mounts: Node, volumes: Node) -> Iterator[tuple[str, Reference]]:
    """The files of ConfigMaps and Secrets: the path of each that is named, or of the folder that holds all keys."""
    held = {volume.get("name").text: volume for volume in islice(volumes.list(), 10 * _MOST)}
    for mount in islice(mounts.list(), _MOST):
        volume = held.get(mount.get("name").text)
        path = mount.get("mountPath").text.rstrip("/")
        if volume and path:
            for source in (volume, *islice(volume.get("projected", "sources").list(), _MOST)):
                yield from _files(source, path, mount.get("subPath").text)


def _files(source: Node, path: str, inner: str) -> Iterator[tuple[str, Reference]]:
    for key, kind, name in (("configMap", _CONFIG_MAP, "name"), ("secret", _SECRET, "secretName")):
        of = source.get(key)
        if not of:
            continue
        holder = of.get(name).text or of.get("name").text
        keys = {item.get("path").text: item.get("key").text for item in of.get("items").list()}
        for file, entry in _paths(path, inner, keys).items():
            yield file, Reference(of.at, kind, holder, entry, of.get("optional").value is True)


def _paths(path: str, inner: str, keys: Mapping[str, str]) -> dict[str, str | None]:
    """Path in the container -> key of the object, None for all of its keys."""
    if inner:
        return {path: keys.get(inner, inner)}
    return {f"{path}/{file}": key for file, key in keys.items()} if keys else {path: None}
