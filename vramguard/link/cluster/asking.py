"""What a server makes of a probe's question: an engine as is known of it, a server of the repository's own as its code
says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vramguard.facts import Word
from vramguard.facts.nodes import Node
from vramguard.facts.outputs import Step
from vramguard.link.cluster.own import owned
from vramguard.link.cluster.questions import Question, of_path, of_probe, passes
from vramguard.link.cluster.workloads import engines, programs
from vramguard.link.launches import images
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.facts import Facts, Manifest
    from vramguard.link.cluster.own import Own
    from vramguard.link.cluster.podspecs import Served


# What Docker knows is one check, which may be for liveness alone: its path says so.
_OF_DOCKER: Final = ("HEALTHCHECK", "healthcheck")
_LOADS: Final = ("--model", "--model-path", "--model-id", "--max-model-len", "--gpu-memory-utilization")
_PARTS: Final = re.compile(r"[-_.]")
_LIVENESS: Final = re.compile(r"[/_-](?:live|livez|liveness|alive)/?$", re.IGNORECASE)


@dataclass(frozen=True)
class Probe:
    """One way of asking a model server how it is. `shallow` says why its answer proves nothing; empty where it may."""

    at: Location
    by: str  # readinessProbe, healthcheck, HealthCheckPolicy ...
    surface: str
    shallow: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Server:
    """A container that may serve a model. `says`: why it is known to, empty where its code has to say so."""

    node: Node
    surface: str
    engine: str | None
    says: Step | None
    names: tuple[str, ...]


def of_surface(one: Served) -> Server:
    """A container of a surface: it serves a model, whatever runs in it."""
    engine = one.engine or engine_of(one.container.node)
    says = Step(one.container.node.at, f"{one.role} serves {engine or 'a model'} here")
    return Server(one.container.node, one.surface.name, engine, says, (one.container.name, one.manifest.name))


def of_object(manifest: Manifest, node: Node) -> Server:
    """A container of an object that may serve nothing: it is known to where it runs an engine."""
    engine = engine_of(node)
    says = Step(node.at, f"{manifest.title} serves {engine} here") if engine else None
    return Server(node, manifest.title, engine, says, (node.get("name").text, manifest.name))


def engine_of(node: Node) -> str | None:
    """The engine that a container's image is made for, or of the program that it starts; else the one that the image is
    called after, alone or (`vllm-gemma:local`) where it is told which model to load.
    """
    image = node.get("image").word()
    engine = images.found(image).engine
    name = images.parts(image.text)[0].rpartition("/")[2] if image is not None else ""
    words = [word.text for key in ("command", "args") for word in node.get(key).words()]
    begun = programs().get(words[0].partition(" ")[0].rpartition("/")[2]) if words else None
    loads = name in engines() or any(word.partition("=")[0] in _LOADS for word in words)
    return engine or begun or next((part for part in _PARTS.split(name) if part in engines() and loads), None)


def ask(facts: Facts, server: Server, by: str, node: Node) -> Iterator[Probe]:
    """What a pod's container is asked by a probe of its own, or by a path that a load balancer has."""
    asks = of_path if node.word() is not None else of_probe
    server = _built(facts, server)
    question = asks(node, server.engine)

    def find() -> Own | None:
        return owned(facts).of_container(server.node, server.names, question.paths[0])

    yield from judged(facts, Asked(by, server.surface, question, server.says, server.engine), find)


def _built(facts: Facts, server: Server) -> Server:
    """The server, whose engine may be that of the image which its own is built on and adds no start to."""
    base = owned(facts).base(server.node, server.names) if server.engine is None else None
    engine = images.found(Word(base.name, base.at)).engine if base is not None else None
    if base is None or engine is None:
        return server
    return replace(server, engine=engine, says=server.says or Step(base.at, f"its image is built on {engine}'s"))


@dataclass(frozen=True)
class Asked:
    """A question, by whom and of what. `says`: why a model is known to be served there; None where it is not."""

    by: str
    surface: str
    question: Question
    says: Step | None
    engine: str | None


def judged(facts: Facts, asked: Asked, find: Callable[[], Own | None] | None = None) -> Iterator[Probe]:
    """A question that an engine is asked; else what the route of a server of the repository's own makes of it."""
    question = asked.question
    cheap = asked.by in _OF_DOCKER and all(_LIVENESS.search(path) for path in question.paths)
    own = find() if find is not None and asked.engine is None and question.paths and not cheap else None
    if own is not None and (asked.says is not None or own.runs_model):
        told = _answered(facts, own, question)
        if told is not None:
            why, steps = told
            yield Probe(question.at, asked.by, asked.surface, why, (*((asked.says,) if asked.says else ()), *steps))
            return
    if asked.says is not None:
        yield Probe(question.at, asked.by, asked.surface, question.why, (asked.says,))


def _answered(facts: Facts, own: Own, question: Question) -> tuple[str, tuple[Step, ...]] | None:
    """Why the routes that are asked prove nothing, whichever application it is, and which they are; None where one is
    not known.
    """
    steps = [own.started] if own.started else []
    says = ""
    for application in own.applications:
        found = [owned(facts).answer(application, path) for path in question.paths]
        answers = [one for one in found if one is not None]
        steps += [*(one.step for one in answers), *([application.model] if application.model else [])]
        if len(answers) < len(found) and not question.ignores:
            return None
        if any(not one.says for one in answers):
            return (passes(question.paths[0]) if question.ignores else ""), tuple(steps)
        says = says or (f"asks `{question.paths[0]}`, {answers[0].says}" if answers else "")
    return (passes(question.paths[0]) if question.ignores else says), tuple(steps)
