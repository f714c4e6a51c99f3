"""The repository's objects as a graph: what they are called, what they run, and how they name each other.

`cluster(facts)` is made once for a repository. Names are joined as a person would: in the build or the file itself,
its folder, then anywhere; kustomize's prefixes and suffixes, and a release's name before a chart's, are looked through.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from vramguard.extract.objects import KUBERNETES
from vramguard.facts import Launch, Manifest, Unknown
from vramguard.link.cluster.pods import Pod, pods
from vramguard.link.cluster.surfaces import Surface, surfaces
from vramguard.link.folders import tiers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.facts import Facts

__all__ = ["Cluster", "Pod", "Surface", "cluster"]

_SHORT = 3  # characters that a name has at least, to be found behind a prefix or before a suffix


def cluster(facts: Facts) -> Cluster:
    """The graph of a repository's objects."""
    return facts.once("cluster", Cluster)


class Cluster:
    """Every object of a repository, by kind and name, and what serves a model among them."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._by_kind: dict[str, list[Manifest]] = defaultdict(list)
        self._by_form: dict[str, list[Manifest]] = defaultdict(list)
        self._behind: dict[tuple[object, ...], list[Manifest]] = {}
        for manifest in facts.of(Manifest):
            self._by_form[manifest.form].append(manifest)
            if manifest.form == KUBERNETES:
                self._by_kind[manifest.kind].append(manifest)

    def of(self, *kinds: str, group: str | None = None) -> list[Manifest]:
        """Every object of these kinds, of the API group whose name ends in `group` where one is given."""
        found = [manifest for kind in kinds for manifest in self._by_kind.get(kind, ())]
        return [one for one in found if group is None or one.group == group or one.group.endswith(f".{group}")]

    def objects(self) -> Iterator[Manifest]:
        """Every object of a cluster."""
        yield from self._by_form.get(KUBERNETES, ())

    def configured(self, form: str) -> list[Manifest]:
        """Every configuration file of a form: `workflow`, `compose`, `rules`, `envoy` ..."""
        return self._by_form.get(form, [])

    def named(self, by: Manifest, kind: str, name: str, namespace: str = "") -> list[Manifest]:
        """The objects of a kind that `by` means with a name: the nearest, and all that could be meant among those."""
        held = [one for one in self._by_kind.get(kind, ()) if _together(one, namespace)]
        exact = [one for one in held if one.name == name]
        return nearest(by, exact or [one for one in held if (by.builds or one.builds) and _same_name(one.name, name)])

    @cached_property
    def pods(self) -> Mapping[int, list[Pod]]:
        """The pods of every object that starts some, by the object's identity."""
        return {id(one): found for one in self.objects() if (found := list(pods(one)))}

    def pods_of(self, manifest: Manifest) -> list[Pod]:
        """The pods that an object starts."""
        return self.pods.get(id(manifest), [])

    @cached_property
    def surfaces(self) -> list[Surface]:
        """Every place of this repository that serves a model, by place."""
        return sorted(surfaces(self), key=lambda surface: surface.at)

    @cached_property
    def gpu_surfaces(self) -> list[Surface]:
        """Those that own a GPU."""
        return [surface for surface in self.surfaces if surface.gpu is not None]

    def surface_of(self, manifest: Manifest) -> Surface | None:
        """What serves a model through this object."""
        return next((surface for surface in self.surfaces if surface.manifest is manifest), None)

    @cached_property
    def launches(self) -> Mapping[tuple[str, str], list[Launch]]:
        """What is started, by its file and its object: ("deploy.yaml", "Deployment/llama")."""
        found: dict[tuple[str, str], list[Launch]] = defaultdict(list)
        for launch in self.facts.of(Launch):
            found[launch.at.path, owner_of(launch.name)].append(launch)
        return found

    @cached_property
    def _labelled(self) -> Mapping[tuple[str, str], list[Manifest]]:
        """The workloads that have pods with a label, each once, in the order of all."""
        found: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
        for one in self.objects():
            for label in dict.fromkeys(label for pod in self.pods_of(one) for label in pod.labels.items()):
                found[label].append(one)
        return found

    def selected(self, by: Manifest, labels: Mapping[str, str], namespace: str = "") -> list[Manifest]:
        """The workloads whose pods have all these labels: nothing where no label is asked for."""
        if not labels:
            return []
        near = self._labelled.get(next(iter(labels.items())), ())
        found = [one for one in near if any(_has(pod, labels) for pod in self.pods_of(one))]
        return nearest(by, [one for one in found if _together(one, namespace)])

    def behind(self, service: Manifest) -> list[Manifest]:
        """The workloads that a Service sends to."""
        selector = {key: node.text for key, node in service.node.get("spec", "selector").items()}
        asked = (tuple(sorted(selector.items())), service.namespace, service.at.path, service.builds)
        if asked not in self._behind:
            self._behind[asked] = self.selected(service, selector, service.namespace)
        return self._behind[asked]

    @cached_property
    def asked(self) -> frozenset[int]:
        """The identities of the workloads that any Service sends to."""
        return frozenset(id(one) for service in self.of("Service", group="") for one in self.behind(service))

    def hosts(self, by: Manifest, host: str) -> list[Manifest]:
        """The Services that a host names: `llama`, `llama.serving.svc.cluster.local`."""
        name, _, rest = host.partition(".")
        namespace, _, domain = rest.partition(".")
        if domain and not domain.startswith("svc"):
            return []  # a host of the network outside
        return self.named(by, "Service", name, namespace)

    def served_by(self, by: Manifest, host: str) -> list[Surface]:
        """The surfaces behind a host that a route or a policy names."""
        from vramguard.link.cluster.surfaces import generated

        found = [one for service in self.hosts(by, host) for one in self.behind(service)]
        surfaces_ = [surface for one in found if (surface := self.surface_of(one))]
        return surfaces_ or [surface for surface in self.surfaces if generated(surface, host)]


def owner_of(name: str | Unknown) -> str:
    """`Deployment/llama` of a launch's or a deployment's name, without its container and its overlay."""
    told = name.text if isinstance(name, Unknown) else name  # one that is too long to be a name
    kind, _, rest = told.partition("/")
    return f"{kind}/{rest.partition('/')[0].partition(' (')[0]}" if rest else told


def nearest(by: Manifest, found: Iterable[Manifest]) -> list[Manifest]:
    """Of several, those of the same build; else of the same file; else of the same folder; else all."""
    held = list(found)
    built = [one for one in held if one.builds & by.builds]
    return built or next(tiers(by.at.path, held), [])


def _same_name(one: str, other: str) -> bool:
    """Whether two names are the same but for a prefix or a suffix that a build puts to one of them."""
    short, long = sorted((one, other), key=len)
    if len(short) < _SHORT:
        return False
    return long.endswith(f"-{short}") or long.startswith(f"{short}-")


def _together(one: Manifest, namespace: str) -> bool:
    """Whether an object may stand in a namespace: one that does not say its own may stand in any."""
    return not namespace or not one.namespace or one.namespace == namespace


def _has(pod: Pod, labels: Mapping[str, str]) -> bool:
    return all(pod.labels.get(key) == value for key, value in labels.items())
