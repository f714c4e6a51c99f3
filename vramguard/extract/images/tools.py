"""Files of tools with one place of their own for an image: Truss, BentoML, SkyPilot, Ray's clusters, dstack, ZenML.

Each is told by its keys. A file that is none of these may still hold containers: a patch, a pipeline that was compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.extract.images.manifests import containers, values
from vramguard.extract.images.values import is_place, named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Image
    from vramguard.facts.nodes import Node

# Keys that lead to an image -> its form, and the keys of the first level of which one has to be there too.
_PLACES: Mapping[tuple[str, ...], tuple[str, tuple[str, ...]]] = {
    ("base_image", "image"): ("truss", ()),
    ("base_image",): ("ray", ("debian_packages", "post_build_cmds")),  # Anyscale's cluster environment
    ("docker", "base_image"): ("bentoml", ("service", "python", "include")),
    ("docker", "image"): ("ray", ("cluster_name", "provider")),
    ("docker", "head_image"): ("ray", ("cluster_name", "provider")),
    ("docker", "worker_image"): ("ray", ("cluster_name", "provider")),
    ("resources", "image_id"): ("skypilot", ("run", "setup", "service")),
    ("image_uri",): ("ray", ("name", "applications", "entrypoint", "compute_config")),
    ("image",): ("python", ("$schema",)),  # an environment of Azure ML
    ("environment", "image"): ("python", ("$schema", "entry_script")),
    ("docker_image", "url"): ("databricks", ()),
}
_DSTACK = ("service", "task", "dev-environment")


def images(root: Node) -> Iterator[Image]:
    """Every image that the file of a tool names."""
    for keys, (form, beside) in _PLACES.items():
        held = root.get(*keys)
        if not isinstance(held.value, str) or (form == "skypilot" and not held.value.startswith("docker:")):
            continue
        if not beside or any(key in root.value for key in beside):
            yield from _named(held, form)
    if root.get("type").value in _DSTACK:
        yield from _named(root.get("image"), "dstack")
    for holder in (root, *(step for _, step in root.get("steps").items())):
        yield from _named(holder.get("settings", "docker", "parent_image"), "zenml")
    for release in root.get("releases").list():  # helmfile
        for item in release.get("values").list():
            if isinstance(item.value, dict):
                yield from values(item)
    yield from containers(root)


def _named(held: Node, form: str) -> Iterator[Image]:
    if isinstance(held.value, str) and not is_place(held.value):
        found = named(held, form, "base" if form in ("truss", "bentoml") else "container")
        if found is not None:
            yield found
