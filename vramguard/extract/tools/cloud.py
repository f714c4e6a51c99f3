"""Clouds whose deployments are one small file: Fly's fly.toml, Azure ML's online deployments.

Read in fly.io/docs/reference/configuration and Azure ML's CLI v2 schema, managedOnlineDeployment.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from vramguard.facts import Hardware, Launch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.tools.values import Node

_ONLINE = re.compile(r"(?:managedOnline|kubernetesOnline)Deployment\.schema\.json$", re.IGNORECASE)


def fly(document: Node) -> Iterator[Launch]:
    """Each process of an app, on the machine that `[[vm]]` describes for it; an app without processes is its image."""
    if document.get("app").text is None:
        return
    image = document.get("build", "image").word()
    env = {**document.get("env").variables()}
    processes = dict(document.get("processes").items())
    dockerfile = document.get("build", "dockerfile").text or "Dockerfile"
    folder = posixpath.dirname(document.document.path)
    for name, command in processes.items() or [("app", document.get("experimental", "cmd"))]:
        yield Launch(
            at=command.key_at if command.value is not None else document.get("app").at,
            form="fly",
            name=name,
            command=command.words(),
            entrypoint=False,
            env=env,
            image=image,
            hardware=_machine(document, name),
            joins={} if image else {"dockerfile": posixpath.normpath(posixpath.join(folder, dockerfile))},
        )


def _machine(document: Node, process: str) -> Hardware:
    for machine in document.get("vm"):
        taken = {item.text for item in machine.get("processes")}
        if taken and process not in taken:
            continue
        size, kind, cards = machine.get("size").text or "", machine.get("gpu_kind"), machine.get("gpus")
        preset = machine.get("size") if re.match(r"(?:a10|a100|l40s)", size) else None
        card = kind if kind.text else preset
        if card is not None:
            count = cards if cards.value is not None else card
            number = cards.integer if cards.value is not None else 1
            return Hardware(card.text, number, places={"gpu": card.at, "gpus": count.at})
    return Hardware()


def azure_ml(document: Node) -> Iterator[Launch]:
    """The container of an online deployment on the machines that its instance type names."""
    if not _ONLINE.search(str(document.get("$schema").value)):
        return
    machine = document.get("instance_type").word()
    image = document.get("environment", "image").word()
    yield Launch(
        at=document.get("name").at,
        form="azureml",
        name=document.get("name").text or "",
        entrypoint=False,
        env={**document.get("environment_variables").variables()},
        image=image,
        hardware=Hardware(machine.value, places={"gpu": machine.at}) if machine else Hardware(),
    )
