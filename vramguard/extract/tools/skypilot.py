"""SkyPilot: a task with the accelerators that it asks for and a script that runs on them. SkyServe adds replicas.

Read in docs.skypilot.co, "SkyPilot YAML" and "Environment variables" (0.10 and 0.11).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.extract.tools.values import joined_names, pinned
from vramguard.facts import Hardware, Launch, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.tools.values import Node
    from vramguard.source import Location

_KEYS = {
    *("name", "workdir", "num_nodes", "resources", "file_mounts", "storage_mounts", "volumes", "volume_mounts", "envs"),
    *("secrets", "setup", "run", "service", "experimental", "config", "pool", "event_callback", "inputs", "outputs"),
}
_MARKS = ("resources", "envs", "service", "num_nodes")
_OTHERS = (("tpu", "tpu"), ("trainium", "neuron"), ("inferentia", "neuron"), ("gaudi", "gaudi"))


def task(document: Node) -> Iterator[Launch]:
    """The task of one YAML document; a pipeline has one in each."""
    value = document.value
    if not isinstance(value, dict) or not value.keys() <= _KEYS or not any(mark in value for mark in _MARKS):
        return
    run = document.get("run")
    script = run.script() if isinstance(run.value, str) else None
    if script is None or not mentions(script.text + str(value.get("envs"))):
        return
    hardware = _hardware(document)
    image = document.get("resources", "image_id").word()
    yield Launch(
        at=run.key_at,
        form="skypilot",
        name=document.get("name").text or "",
        script=script,
        env={
            **document.get("secrets").variables(),
            **document.get("envs").variables(),
            **_of_the_tool(hardware, run.at),
        },
        image=_container(image) if image else None,
        hardware=hardware,
        given=pinned(script, document.get("setup").word()),
    )


def _container(image: Word) -> Word | None:
    """`docker:vllm/vllm-openai` is a container; any other is a machine's."""
    return Word(image.text.removeprefix("docker:"), image.at, image.known) if "docker:" in image.text else None


def _of_the_tool(hardware: Hardware, at: Location) -> dict[str, Word]:
    """The variables that SkyPilot itself sets."""
    counts = {"SKYPILOT_NUM_GPUS_PER_NODE": hardware.gpus, "SKYPILOT_NUM_NODES": hardware.nodes or 1}
    places = {"SKYPILOT_NUM_GPUS_PER_NODE": "gpus", "SKYPILOT_NUM_NODES": "nodes"}
    return {
        name: Word(str(count), hardware.places.get(places[name], at))
        for name, count in counts.items()
        if isinstance(count, int)
    }


def _hardware(document: Node) -> Hardware:
    resources = document.get("resources")
    options = list(_options(resources))
    nodes = document.get("num_nodes")
    places = {"nodes": nodes.at} if nodes.value is not None else {}
    if not options:
        machine = resources.get("instance_type").word()
        gpu = machine.value if machine else None
        places |= {"gpu": machine.at} if machine else {}
        return Hardware(gpu=gpu, nodes=nodes.integer, places=places)
    names = {name for name, _, _ in options}
    counts = {count for _, count, _ in options}
    accelerator = {other for name in names for mark, other in _OTHERS if name.lower().startswith(mark)}
    every = joined_names(f"{name}:{count}" for name, count, _ in options)
    return Hardware(
        gpu=names.pop() if len(names) == 1 else every,
        gpus=counts.pop() if len(counts) == 1 else every,
        nodes=nodes.integer,
        accelerator=accelerator.pop() if len(accelerator) == 1 else None,
        places={**places, "gpu": options[0][2], "gpus": options[0][2]},
    )


def _options(resources: Node) -> Iterator[tuple[str, int | Unknown, Location]]:
    """The kinds of card and their counts that a task takes: any one of them is enough for it."""
    for alternative in (resources, *resources.get("any_of"), *resources.get("ordered")):
        asked = alternative.get("accelerators")
        for item in asked if not isinstance(asked.value, dict) else ():
            if item.text:
                yield from _named(item.text, None, item.at)
        for name, node in asked.items():
            yield from _named(name, node.integer, node.key_at)


def _named(text: str, count: int | Unknown | None, at: Location) -> Iterator[tuple[str, int | Unknown, Location]]:
    """`H100:8`, `{H100:8, A100}` in one text, or a mapping's key with its count."""
    for part in text.strip("{} ").split(","):
        name, _, number = part.strip().partition(":")
        written = number.strip()
        if name:
            whole = int(written) if re.fullmatch(r"[0-9]{1,4}", written) else Unknown(written) if written else 1
            yield name.strip(), count if count is not None else whole, at
