"""dstack: services and tasks with the resources that they ask for. A dev environment starts nothing.

Read in dstack 0.19 and 0.20, core/models/{configurations,resources}.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.extract.tools.values import joined, joined_names, pinned
from vramguard.facts import Hardware, Launch, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.tools.values import Node
    from vramguard.source import Location

_NAMED = re.compile(r"(?:^|[/.])dstack\.ya?ml$")
_MARKS = ("commands", "image", "resources", "port", "ports", "env", "model", "gateway", "nodes", "replicas")
_VENDORS = {"nvidia": None, "amd": None, "intel": "gaudi", "google": "tpu", "tpu": "tpu", "tenstorrent": "tenstorrent"}
_MEMORY = re.compile(
    r"[0-9.]+(?:\.\.[0-9.]*)?(?:GB|MB|TB)(?:\.\.(?:[0-9.]+(?:GB|MB|TB))?)?|\.\.[0-9.]+GB", re.IGNORECASE
)


def run(document: Node) -> Iterator[Launch]:
    """The service or task that a document describes; of a service with groups of replicas, each group."""
    value = document.value
    if not isinstance(value, dict) or value.get("type") not in ("service", "task"):
        return
    if sum(mark in value for mark in _MARKS) < (1 if _NAMED.search(document.document.path) else 2):
        return
    groups = document.get("replicas")
    for part in [*groups] if isinstance(groups.value, list) else [document]:
        yield from _launch(document, part)


def _launch(document: Node, part: Node) -> Iterator[Launch]:
    """`part`: the document itself, or a group of replicas, whose own values come first."""
    own = {key: node if (node := part.get(key)).value is not None else document.get(key) for key in _MARKS}
    commands = [word for item in own["commands"] if (word := item.script())]
    image, script = own["image"].word(), joined(commands)
    env = {**document.get("env").variables(), **part.get("env").variables()}
    said = [word.text for word in (image, script, *env.values()) if word]
    if not mentions("\n".join([*said, *env])):
        return
    hardware = _hardware(own["resources"], own["nodes"])
    yield Launch(
        at=own["commands" if commands else "image"].key_at,
        form="dstack",
        name=document.get("name").text or "",
        script=script,
        entrypoint=script is not None,
        env={**env, **_of_the_tool(hardware, document.at)},
        image=image,
        hardware=hardware,
        given=pinned(script) if script else {},
    )


def _of_the_tool(hardware: Hardware, at: Location) -> dict[str, Word]:
    """The variables that dstack itself sets."""
    gpus, nodes = hardware.gpus, hardware.nodes or 1
    counts = {"DSTACK_GPUS_PER_NODE": gpus, "DSTACK_NODES_NUM": nodes}
    if isinstance(gpus, int) and isinstance(nodes, int):
        counts["DSTACK_GPUS_NUM"] = gpus * nodes
    return {
        name: Word(str(count), hardware.places.get("gpus", at))
        for name, count in counts.items()
        if isinstance(count, int)
    }


def _hardware(resources: Node, nodes: Node) -> Hardware:
    gpu = resources.get("gpu")
    places = {"nodes": nodes.at} if nodes.value is not None else {}
    if gpu.value is None:
        return Hardware(nodes=nodes.integer, places=places)
    names, memory, count, vendor = _asked(gpu)
    whole = count if count is not None else "1"
    tpu = any(re.match(r"(?:tpu|v[0-9][a-z]*)-", name) for name in names)
    return Hardware(
        gpu=_card(names, memory),
        gpus=int(whole) if re.fullmatch(r"[0-9]{1,4}", whole) else Unknown(whole),
        nodes=nodes.integer,
        accelerator="tpu" if tpu else _VENDORS.get(vendor),
        places={**places, "gpu": gpu.at, "gpus": gpu.get("count").at if gpu.get("count").value is not None else gpu.at},
    )


def _asked(gpu: Node) -> tuple[list[str], str, str | None, str]:
    """Names, memory, count and vendor that a `gpu:` asks for."""
    if isinstance(gpu.value, dict):
        listed = [item.text or "" for item in gpu.get("name")]
        count = gpu.get("count")
        bounds = f"{count.get('min').text or ''}..{count.get('max').text or ''}"
        number = bounds if isinstance(count.value, dict) else count.text
        return listed, gpu.get("memory").text or "", number, gpu.get("vendor").text or ""
    names: list[str] = []
    memory, vendor, asked = "", "", None
    for token in (gpu.text or "").replace(" ", "").split(":"):
        if token.lower() in _VENDORS:
            vendor = token.lower()
        elif token[:1].isalpha():
            names = token.split(",")
        elif _MEMORY.fullmatch(token):
            memory = token
        else:
            asked = token
    return names, memory, asked, vendor


def _card(names: list[str], memory: str) -> str | Unknown | None:
    """The card's name, with its memory where one size is asked for: `A100-80GB`."""
    if len(names) == 1 and ".." not in memory:
        return f"{names[0]}-{memory}" if memory else names[0]
    written = [*names, memory] if memory else names
    return joined_names(written) if written else None
