"""KubeRay: what a Ray cluster serves or runs, with the cards of its groups of pods."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from vramguard.extract.kubernetes.hardware import hardware
from vramguard.extract.kubernetes.pods import environment, named, template
from vramguard.extract.kubernetes.workloads import flag
from vramguard.facts import Hardware, Launch, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.kubernetes.pods import Owner
    from vramguard.facts.nodes import Node

FORM = "ray"
_CARDS = re.compile(r"[1-9][0-9]{0,2}|0?\.[0-9]{0,6}[1-9][0-9]{0,6}")  # whole ones, or a part of one
_LLM_APPS = ("ray.serve.llm:", "ray.llm.")  # Ray 2.44 and later: the applications whose arguments are engines' own


class Group(NamedTuple):
    """Pods of one kind in a cluster: what each has, and how many there may be."""

    hardware: Hardware
    pods: int | Unknown
    node: Node


def service(manifest: Node) -> Iterator[Launch]:
    """A RayService: every model of every application that it serves; and containers with commands of their own."""
    cluster = _cluster(manifest)
    groups = _groups(cluster)
    owner = named(manifest, FORM)
    for config in manifest.get("spec", "serveConfigV2").parsed():
        for application in config.get("applications").list():
            yield from _application(application, owner, groups, cluster)
    yield from containers(manifest)


def containers(manifest: Node) -> Iterator[Launch]:
    """The programs that a cluster's head starts itself, with all pods of the cluster behind it."""
    cluster = _cluster(manifest)
    whole = _whole(_groups(cluster))
    for launch in template(cluster.get("headGroupSpec", "template"), named(manifest, FORM)):
        if launch.command and whole:
            yield replace(launch, hardware=whole)


def _whole(groups: list[Group]) -> Hardware | None:
    """The cards of a whole cluster, over all of which one engine may spread; None where it has none."""
    pods = sum(group.pods for group in groups if isinstance(group.pods, int))
    best = max(groups, key=lambda group: _count(group.hardware), default=None)
    return replace(best.hardware, nodes=pods or None) if best else None


def job(manifest: Node) -> Iterator[Launch]:
    """A RayJob: the shell text that is its entry point."""
    groups = _groups(_cluster(manifest))
    entry = manifest.get("spec", "entrypoint").word()
    if entry:
        for held in manifest.get("spec", "runtimeEnvYAML").parsed() if manifest.get("spec", "runtimeEnvYAML") else ():
            variables = environment(held.get("env_vars"))
            break
        else:
            variables = {}
        owner = named(manifest, FORM)
        yield Launch(entry.at, FORM, owner.name, script=entry, env=variables, hardware=_whole(groups) or Hardware())


def _cluster(manifest: Node) -> Node:
    """The spec of the cluster: of a service, of a job, of AIBrix's fleets, or a cluster's own."""
    spec = manifest.get("spec")
    places = (("rayClusterConfig",), ("rayClusterSpec",), ("template", "spec"))
    return next((node for keys in places if (node := spec.get(*keys))), spec)


def _groups(cluster: Node) -> list[Group]:
    """The groups that have cards, the head among them."""
    result = []
    for group in (cluster.get("headGroupSpec"), *cluster.get("workerGroupSpecs").list()):
        pod = group.get("template", "spec")
        held = [hardware(pod, container) for container in pod.get("containers").list()]
        cards = next((one for one in held if one.gpus or one.accelerator), None)
        if cards:
            result.append(Group(cards, _pods(group), group))
    return result


def _pods(group: Node) -> int | Unknown:
    """How many pods a group has: replicas, at most `maxReplicas`, each of `numOfHosts`."""
    hosts = group.get("numOfHosts").number() or 1
    numbers = [group.get(key).number() for key in ("replicas", "maxReplicas")]
    known = [number for number in numbers if isinstance(number, int)]
    if isinstance(hosts, Unknown) or (not known and any(numbers)):
        return next(number for number in (hosts, *numbers) if isinstance(number, Unknown))
    return max(known, default=1) * hosts


def _count(hardware: Hardware) -> int:
    return hardware.gpus if isinstance(hardware.gpus, int) else 1


def _cards(groups: list[Group]) -> Hardware:
    """The cards that an application may be placed on; Unknown where groups differ in theirs."""
    if not groups:
        return Hardware()
    first, *others = (group.hardware for group in groups)
    unlike = [other for other in others if (other.gpu, other.gpus) != (first.gpu, first.gpus)]
    if not unlike:
        return first
    names = dict.fromkeys(_name(one.gpu) for one in (first, *unlike))
    counts = [one.gpus for one in (first, *unlike)]
    gpu = first.gpu if len(names) == 1 else Unknown("|".join(names))
    gpus = first.gpus if len(set(map(str, counts))) == 1 else Unknown("|".join(map(_name, counts)))
    return replace(first, gpu=gpu, gpus=gpus)


def _name(value: str | int | Unknown | None) -> str:
    return value.text if isinstance(value, Unknown) else str(value or "any")


def _application(application: Node, owner: Owner, groups: list[Group], cluster: Node) -> Iterator[Launch]:
    arguments = application.get("args")
    name = "/".join(filter(None, (owner.name, application.get("name").text)))
    variables = environment(application.get("runtime_env", "env_vars"))
    path = application.get("import_path").word()
    if path is None:
        return
    if path.text.startswith(_LLM_APPS):
        for config in llm_configs(arguments):
            yield replace(
                llm(config, name, groups), env={**variables, **environment(config.get("runtime_env", "env_vars"))}
            )
        return
    command = (Word("serve", path.at), Word("run", path.at), path)
    every = (cluster.get("headGroupSpec"), *cluster.get("workerGroupSpecs").list())
    pods = [launch for group in every for launch in template(group.get("template"), owner)]
    mounts = {path: of for launch in reversed(pods) for path, of in launch.mounts.items()}
    own = [launch for group in groups[:1] for launch in template(group.node.get("template"), owner)]
    env = {**(own[0].env if own else {}), **variables}
    image = own[0].image if own else None
    whole = Launch(application.at, FORM, name, command, env=env, mounts=mounts, image=image, hardware=_cards(groups))
    actors = [node for node in application.get("deployments").list() if _asked(node)]
    yield from (_actor(whole, node, path) for node in actors) if actors else (whole,)


def _asked(deployment: Node) -> Word | None:
    """The cards that each replica of a deployment asks for, where it asks for any."""
    cards = deployment.get("ray_actor_options", "num_gpus").word()
    return cards if cards is not None and _CARDS.fullmatch(cards.text) else None


def _actor(whole: Launch, deployment: Node, path: Word) -> Launch:
    """An application's launch as that of one of its deployments, on the cards that each replica of it gets."""
    cards, options = _asked(deployment), deployment.get("ray_actor_options")
    hardware, kind = whole.hardware, options.get("accelerator_type").word()
    if cards is not None:
        part = "." in cards.text
        places = {**hardware.places, "gpus": cards.at, **({"gpu": kind.at} if kind else {})}
        hardware = replace(
            hardware,
            gpu=kind.value if kind else hardware.gpu,
            gpus=1 if part else int(cards.text),
            share=cards.text if part else hardware.share,
            places=places,
        )
    env = {**whole.env, **environment(options.get("runtime_env", "env_vars"))}
    joins = {"module": path.text, "actor": deployment.get("name").text}
    return replace(whole, at=deployment.at, env=env, hardware=hardware, joins=joins)


def llm_configs(arguments: Node) -> Iterator[Node]:
    """The models of an application of Ray's own; each a mapping (a path to one stands elsewhere)."""
    for key in ("llm_configs", "prefill_config", "decode_config", "llm_config"):
        held = arguments.get(key)
        yield from (
            config
            for config in (held.list() if isinstance(held.value, list) else [held])
            if config.get("model_loading_config")
        )


def llm(config: Node, name: str, groups: list[Group]) -> Launch:
    """One `LLMConfig` (Ray, python/ray/llm/_internal/serve): an engine's arguments, the model, the card."""
    loading = config.get("model_loading_config")
    sources = (("model_source",), ("model_source", "bucket_uri"), ("model_id",))
    model = next((word for keys in sources if (word := loading.get(*keys).word())), None)
    arguments = tuple(word for key, node in config.get("engine_kwargs").items() for word in flag(key, node))
    engine = config.get("llm_engine").word() or Word("vLLM", config.at)
    given = {"engine": engine, **({"model": model} if model else {})}
    return Launch(
        config.at,
        FORM,
        name,
        arguments,
        entrypoint=False,
        given=given,
        hardware=_placed(config, _cards(groups), groups),
    )


def _placed(config: Node, cards: Hardware, groups: list[Group]) -> Hardware:
    """The cards, as many pods of them as one replica's tensor and pipeline ranks need, one card each."""
    kwargs = config.get("engine_kwargs")
    kind = config.get("accelerator_type")
    places = dict(cards.places)
    if word := kind.word():
        cards = replace(cards, gpu=word.value)
        places["gpu"] = kind.at
    ranks = [kwargs.get(key).number() for key in ("tensor_parallel_size", "pipeline_parallel_size")]
    wanted = 1
    for rank in ranks:
        wanted *= rank if isinstance(rank, int) else 1
    pods = groups[0].pods if groups else 1
    if isinstance(cards.gpus, int) and cards.gpus and isinstance(pods, int) and wanted > cards.gpus:
        cards = replace(cards, nodes=max(1, min(-(-wanted // cards.gpus), pods)))
        places["nodes"] = groups[0].node.at
    return replace(cards, places=places)
