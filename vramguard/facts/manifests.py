"""Facts of what is declared: objects of a cluster, and the files that configure what stands around a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vramguard.facts.nodes import Node
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a cluster, or one configuration that is read whole; `node` is its value, every part with its place.

    `form` says by what it is read: `kubernetes`, or one of `extract/objects` (workflow, compose, rules, envoy ...).
    `group`, `kind`, `name`, `namespace` and `labels` are an object's header, and empty for what has none.
    """

    at: Location
    form: str
    node: Node
    group: str = ""  # of its API, without the version: "apps", "serving.kserve.io"; empty for the core
    kind: str = ""
    name: str = ""
    namespace: str = ""  # empty where it is not written: whoever applies it chooses one
    labels: Mapping[str, str] = field(default_factory=dict)
    overlay: str = ""  # the folder whose build it comes from (kustomize), a chart's (helm); empty for a plain file
    further: tuple[str, ...] = ()  # other builds that hold the very same object
    guessed: bool = False  # read off a template that nobody rendered: a value may be another, a part may be left out

    @property
    def builds(self) -> frozenset[str]:
        """Every folder whose build holds the object; none for a plain file's."""
        return frozenset(filter(None, (self.overlay, *self.further)))

    def also_of(self, overlay: str) -> Manifest:
        """The object as one of a further build."""
        return self if overlay in self.builds else replace(self, further=(*self.further, overlay))

    @property
    def title(self) -> str:
        """`Deployment/llama`, or the form of what has no kind."""
        return f"{self.kind}/{self.name}" if self.kind else self.form
