"""Docker compose: the services of a project, each a container that may have a card.

What `${NAME:-default}` is stands in other files, so words are left as they are written: `link.compose` does it.
"""

from __future__ import annotations

import posixpath
import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from vramguard.extract.engines import mentions
from vramguard.facts import Hardware, Launch, Reference, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.tools.values import Node
    from vramguard.source import Location

_OF_A_SERVICE = ("image", "build", "extends", "command", "environment", "deploy")
_RUNTIMES = {"habana": "gaudi", "neuron": "neuron"}
_DEVICES = (("/dev/neuron", "neuron"), ("/dev/accel/", "gaudi"), ("/dev/vfio", None))
_RUNS = ("command", "entrypoint", "environment", "env_file", "ports", "deploy", "devices", "gpus", "runtime", "volumes")
_DEVICE = re.compile(r"[0-9]{1,3}|(?:GPU|MIG)-[\w-]{1,60}")
_MAX_EXTENDS = 8
_MAX_SERVICES = 500  # of one project: each takes the variables of its files along


def services(document: Node) -> Iterator[Launch]:
    """The services of a compose file that could load a model or have a card."""
    if not _is_project(document):
        return
    for name, node in islice(document.get("services").items(), _MAX_SERVICES):
        service = _Service(document, name, node)
        if service.own("build").value is not None and all(service.own(key).value is None for key in _RUNS):
            continue  # an image that is built, and not run from here
        hardware = service.hardware()
        launch = service.launch(hardware)
        if hardware.places or mentions("\n".join(_texts(launch))):
            yield launch


def _is_project(document: Node) -> bool:
    value = document.value
    if not isinstance(value, dict) or "apiVersion" in value or not isinstance(value.get("services"), dict):
        return False
    described = [service for service in value["services"].values() if isinstance(service, dict)]
    return any(key in service for service in described for key in _OF_A_SERVICE)


def _texts(launch: Launch) -> Iterator[str]:
    """What a service says, for a look at whether it says anything of interest."""
    for word in (launch.image, *launch.command):
        yield word.text if word else ""
    for name, value in launch.env.items():
        yield f"{name}={value.text if isinstance(value, Word) else ''}"


class _Service(NamedTuple):
    project: Node
    name: str
    node: Node

    def launch(self, hardware: Hardware) -> Launch:
        entrypoint, command = self.own("entrypoint"), self.own("command").words()
        words = entrypoint.words()
        return Launch(
            at=self.node.key_at,
            form="compose",
            name=self.name,
            command=(*words, *command),
            entrypoint=entrypoint.value is not None and bool(words or command),
            env=self.variables(),
            mounts=dict(self.mounts()),
            image=self.own("image").word(),
            hardware=hardware,
            given=dict(self.card()),
            joins=dict(self.joins()),
        )

    def card(self) -> Iterator[tuple[str, Word]]:
        """The card that the service is pinned to, which others of the project share; none where a profile chooses."""
        if self.own("profiles").value is not None:
            return
        for item in self.own("deploy", "resources", "reservations", "devices"):
            pinned = [node.text for node in item.get("device_ids") if node.text]
            if _is_gpu(item) and pinned and all(_DEVICE.fullmatch(text) for text in pinned):
                yield "card", Word(f"{self.node.document.path}: {','.join(sorted(pinned))}", item.get("device_ids").at)

    def bases(self) -> Iterator[Node]:
        """The service, and those of the same file that it extends."""
        node = self.node
        for _ in range(_MAX_EXTENDS):
            yield node
            extends = node.get("extends")
            base = extends.value if isinstance(extends.value, str) else extends.get("service").value
            if not isinstance(base, str) or extends.get("file").value is not None:
                return
            node = self.project.get("services", base)

    def own(self, *keys: str) -> Node:
        """A value of the service, or that of the first it extends which has one."""
        return next(
            (found for base in self.bases() if (found := base.get(*keys)).value is not None), self.node.get(*keys)
        )

    def variables(self) -> dict[str, Word | Reference]:
        result: dict[str, Word | Reference] = {}
        for base in reversed(list(self.bases())):
            result |= base.get("environment").variables()
        return result

    def folder(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.node.document.path), path))

    def mounts(self) -> Iterator[tuple[str, Reference]]:
        """Files and folders of the repository that the container sees."""
        for item in self.own("volumes"):
            source, target = item.get("source").text, item.get("target").text
            if item.text is not None and ":" in item.text:
                source, target, *_ = item.text.split(":")
            if source and target and source.startswith("."):
                yield target, Reference(item.at, "file", self.folder(source))

    def joins(self) -> Iterator[tuple[str, str]]:
        """Other files that say the rest: variables of the project and of the service, the image's recipe."""
        yield "variables", self.folder(".env")
        files = [item.text or item.get("path").text for item in self.own("env_file")]
        if found := [self.folder(name) for name in files if name]:
            yield "env_file", "\n".join(found)
        build = self.own("build")
        if build.value is not None:
            context = build.text or build.get("context").text or "."
            yield "dockerfile", self.folder(posixpath.join(context, build.get("dockerfile").text or "Dockerfile"))

    def hardware(self) -> Hardware:
        """The cards of a service. One that asks for all of them has only a place."""
        for key in (("deploy", "resources", "reservations", "devices"), ("gpus",)):
            for item in self.own(*key):
                if key == ("gpus",) or _is_gpu(item):
                    return Hardware(gpus=_count(item), places={"gpus": _place(item)})
        runtime = self.own("runtime")
        if runtime.text in _RUNTIMES:
            return Hardware(accelerator=_RUNTIMES[runtime.text], places={"accelerator": runtime.at})
        for item in self.own("devices"):
            text = item.text or ""
            if text.startswith("/dev/kfd") or re.match(r"(?:nvidia|amd)\.com/gpu=", text):
                return Hardware(places={"gpus": item.at})
            for device, accelerator in _DEVICES:
                if accelerator and text.startswith(device):
                    return Hardware(accelerator=accelerator, places={"accelerator": item.at})
        return self._visible(runtime) if runtime.value == "nvidia" else Hardware()

    def _visible(self, runtime: Node) -> Hardware:
        """The cards that the runtime's own variable names, or all."""
        visible = self.variables().get("NVIDIA_VISIBLE_DEVICES")
        if isinstance(visible, Word) and re.fullmatch(r"[0-9]+(,[0-9]+)*", visible.text):
            return Hardware(gpus=visible.text.count(",") + 1, places={"gpus": visible.at})
        return Hardware(places={"gpus": runtime.at})


def _is_gpu(device: Node) -> bool:
    names = {name.text for item in device.get("capabilities") for name in item}
    return "gpu" in names or device.get("driver").text in {"nvidia", "amd"}


def _place(device: Node) -> Location:
    return next((device.get(key).at for key in ("count", "device_ids") if device.get(key).value is not None), device.at)


def _count(device: Node) -> int | Unknown | None:
    """How many cards; None for all that there are."""
    ids, count = device.get("device_ids"), device.get("count")
    if isinstance(ids.value, list):
        return len(ids.value)
    number = (count if count.value is not None else device).integer if device.text or count.text else None
    return None if isinstance(number, Unknown) and number.text in {"all", "-1"} else number
