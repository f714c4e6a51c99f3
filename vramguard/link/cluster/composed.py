"""Services of compose that have a card and a port, whatever runs in them: a server of the repository's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts import Unknown
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node


# Images of what has a card and no model: one person's workbench, exporters of the card's numbers, video, desktops.
OTHERS: Final = re.compile(
    r"jupyter|notebook|code-server|rstudio|devcontainer|dcgm|gpu-operator|gpu[-_](?:metrics|exporter)|nvidia[-_](?:gpu|smi)[-_]"
    r"exporter|device-plugin|jellyfin|plex|emby|tdarr|unmanic|fileflows|ffmpeg|frigate|shinobi|obs-|steam|sunshine|"
    r"selkies|webtop|folding|miner",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Service:
    """One service that has a port. `gpu`: where it asks for a card, and how many; None where it asks for none."""

    at: Location
    name: str
    gpu: Location | None
    gpus: int | Unknown | None


def services(manifest: Manifest) -> Iterator[Service]:
    """The services of a compose file that others can ask."""
    for name, node in manifest.node.get("services").items():
        asked = node.get("ports").value or node.get("expose").value
        if asked and not OTHERS.search(node.get("image").text):
            card = next(_cards(node), None)
            count = (card.get("count") or card) if card else None
            number = count.number() if count and count.word() else None
            yield Service(node.at, name, count.at if count else None, None if isinstance(number, Unknown) else number)


def _cards(node: Node) -> Iterator[Node]:
    """Where a service asks for a card (compose-spec, deploy.md and 05-services.md, `gpus` and `runtime`)."""
    for device in node.get("deploy", "resources", "reservations", "devices").list():
        held = {word.text for word in device.get("capabilities").words()}
        if "gpu" in held or device.get("driver").text == "nvidia":
            yield device
    if node.get("gpus"):
        yield node.get("gpus")
    if node.get("runtime").text == "nvidia":
        yield node.get("runtime")
