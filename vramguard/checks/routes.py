"""Demand 4 as it shows in manifests: routes without an end, breakers that never trip, retries of retries, queues."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import JUDGED, SHOWN, evidence, weight
from vramguard.facts import PathClass
from vramguard.link.routes import Balance, Breaker, Fallback, Queue, Route, Staging, traffic
from vramguard.link.routes.durations import said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.routes import Setting, Target, Traffic
    from vramguard.source import Location


def _about(target: Target) -> dict[str, str]:
    """What evidence that stands outside of the repository names: the surface behind the route."""
    return {"surface": target.name}


_TRIED: Final = re.compile(r"(?:^|/)(?:ci|e2e|tests?|kind|minikube)/")


def _order(at: Location) -> tuple[bool, int, Location]:
    """Of several routes to one model the outermost is told, and one that a pipeline alone builds as the last."""
    return _TRIED.search(at.path) is not None, at.path.count("/"), at


@check("unbounded-route")
@dataclass(frozen=True)
class UnboundedRoute:
    """A route to a model has no timeout, or one above `budget_ms`; above `stream_ms` for what answers in tokens."""

    budget_ms: int = 500
    stream_ms: int = 600_000
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        told = set[tuple[str, str]]()
        for route in traffic(facts).of(Route):
            judged, severity = weight(self, facts, route.at.path)
            most = self.stream_ms if route.target.streams else self.budget_ms
            waits = self._waits(route, most)
            key = route.at.path, f"{route.name} {route.target.name} {waits}"
            if not judged or waits is None or key in told:
                continue
            told.add(key)
            at = route.timeout.at if route.timeout else route.at
            what = "answers in tokens" if route.target.streams else "answers at once"
            values = {"route": route.name, "waits": waits, "surface": route.target.name}
            first = "; that is for the whole answer, so have an alert on the time to the first token"
            values |= {"budget": said(most), "kind": what, "first": first if route.target.streams else ""}
            yield Problem(
                at, values, evidence(route.target.steps), severity, subject=route.name, data=_about(route.target)
            )

    def _waits(self, route: Route, most: int) -> str | None:
        """How long the route lets a request wait, where that is too long."""
        if route.timeout is not None:
            known = route.timeout.known
            if known is None or 0 < known <= most:
                return None
            return f"for ever (`{route.timeout.written}` is no timeout)" if known == 0 else f"up to {said(known)}"
        if not route.judged or route.gone or (route.default is not None and route.default <= most):
            return None
        if route.default is None:
            return "for ever, as no timeout is written"
        return f"up to {said(route.default)}, as {route.system} does where no timeout is written"


@check("missing-breaker")
@dataclass(frozen=True)
class MissingBreaker:
    """An object where a breaker for a model would stand has none; or a mesh leads to the model, and nothing breaks.

    Once for each surface.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        found = traffic(facts)
        broken, told = found.broken, set[str]()
        objects = ((one.at, one.name, one.target, one.gone) for one in found.of(Breaker) if not one.trips)
        routes = ((one.at, one.name, one.target, one.gone or not one.judged) for one in found.of(Route) if one.managed)
        for at, name, target, gone in (*objects, *sorted(routes, key=lambda one: _order(one[0]))):
            judged, severity = weight(self, facts, at.path)
            if not judged or gone or target is None or target.name in told:
                continue
            if not broken.isdisjoint((target.key, None)):
                continue
            told.add(target.name)
            values = {"object": name, "surface": target.name}
            yield Problem(at, values, evidence(target.steps), severity, subject=name, data=_about(target))


@check("errors-only-breaker")
@dataclass(frozen=True)
class ErrorsOnlyBreaker:
    """A breaker counts errors, and nothing in front of it makes an error of a slow answer.

    That is a timeout of `budget_ms`; of `whole_ms` for what answers in tokens, which no route can bound at the first.
    """

    budget_ms: int = 500
    whole_ms: int = 600_000
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        found = traffic(facts)
        for breaker in found.of(Breaker):
            judged, severity = weight(self, facts, breaker.at.path)
            target = breaker.target
            if judged and breaker.errors_only and breaker.trips and target and not self._timed(found, target):
                values = {"breaker": breaker.name, "surface": target.name}
                steps = (*evidence(target.steps), *self._routes(found, target))
                yield Problem(breaker.at, values, steps, severity, subject=breaker.name, data=_about(target))

    def _timed(self, found: Traffic, target: Target) -> bool:
        """Whether every route to the target gives up in time, or somebody writes a time that is not known."""
        most = self.whole_ms if target.streams else self.budget_ms
        routes = [
            [one for one in (route.timeout, route.per_try, route.first) if one is not None]
            for route in found.by_target.get(target.key, ())
            if route.judged or route.timeout
        ]
        return bool(routes) and all(
            any(one.known is None or 0 < one.known <= most for one in settings) for settings in routes
        )

    def _routes(self, found: Traffic, target: Target) -> Iterator[Evidence]:
        for route in found.by_target.get(target.key, ())[:2]:
            known = route.timeout.known if route.timeout else None
            waits = f"waits up to {said(known)}" if known else "has no timeout"
            yield Evidence(route.timeout.at if route.timeout else route.at, f"{route.name} {waits}")


@check("late-breaker")
@dataclass(frozen=True)
class LateBreaker:
    """A breaker looks less often than every `window_ms`, or lets what it has taken out back in before `ejection_ms`."""

    window_ms: int = 10_000
    ejection_ms: int = 1000
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for breaker in traffic(facts).of(Breaker):
            judged, severity = weight(self, facts, breaker.at.path)
            for setting, late in self._late(breaker) if judged else ():
                surface = breaker.target.name if breaker.target else "every destination"
                values = {"breaker": breaker.name, "late": late, "surface": surface, "window": said(self.window_ms)}
                steps = evidence(breaker.target.steps) if breaker.target else ()
                yield Problem(setting.at, values, steps, severity, subject=breaker.name)

    def _late(self, breaker: Breaker) -> Iterator[tuple[Setting, str]]:
        for window in breaker.windows:
            if window.known is not None and window.known > self.window_ms:
                yield window, f"needs {said(window.known)} (`{window.written}`) to notice"
        out = breaker.ejection
        if out and out.known is not None and 0 < out.known < self.ejection_ms:
            yield out, f"lets it back in after {said(out.known)}"


@check("route-fallback")
@dataclass(frozen=True)
class RouteFallback:
    """What a gateway asks where a model does not answer: of `kinds` model (one on the same pool) and cycle."""

    kinds: tuple[str, ...] = ("cycle",)
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for fallback in traffic(facts).of(Fallback):
            judged, severity = weight(self, facts, fallback.at.path)
            if judged and fallback.kind in self.kinds:
                values = {
                    "system": fallback.system,
                    "primary": fallback.primary,
                    "to": fallback.to,
                    "shares": fallback.shares,
                }
                yield Problem(
                    fallback.at, values, evidence(fallback.steps), severity, subject=f"{fallback.primary} {fallback.to}"
                )


@check("route-retries")
@dataclass(frozen=True)
class RouteRetries:
    """A gateway repeats a request to a model without end, or more than `most` times: a warning up to `endless`, which
    are as good as no end.
    """

    most: int = 3
    endless: int = 20
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for route in traffic(facts).of(Route):
            judged, severity = weight(self, facts, route.at.path)
            times = route.retries.known if route.retries else None
            if not judged or route.retries is None or times is None or 0 <= times <= self.most:
                continue
            often = "without end" if times < 0 else f"{times} times"
            values = {"route": route.name, "often": often, "surface": route.target.name}
            weaker = severity if times < 0 or times >= self.endless else Severity.WARNING
            yield Problem(route.retries.at, values, evidence(route.target.steps), weaker, subject=route.name)


@check("multiplied-retries")
@dataclass(frozen=True)
class MultipliedRetries:
    """Retries of several layers on one way make more than `most` calls of one request, or outlast its own timeout."""

    most: int = 3
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        found = traffic(facts)
        for routes in found.by_target.values():
            layers = [route for route in routes if (route.retries and (route.retries.known or 0) > 0)]
            calls, systems = 1, dict[str, Route]()
            for route in layers:
                systems.setdefault(route.system, route)
            for route in systems.values():
                calls *= self._calls(route)
            if len(systems) > 1 and calls > self.most:
                yield from self._product(facts, list(systems.values()), calls)
        for route in found.of(Route):
            yield from self._outlasting(facts, route)

    def _calls(self, route: Route) -> int:
        times = (route.retries.known or 0) if route.retries else 0
        return max(1, times if route.attempts else times + 1)

    def _product(self, facts: Facts, layers: list[Route], calls: int) -> Iterator[Problem]:
        route = layers[-1]
        judged, severity = weight(self, facts, route.at.path)
        if judged and route.retries:
            values = {"route": route.name, "what": f"one request makes up to {calls} calls of {route.target.name}"}
            steps = [self._said(one) for one in layers]
            yield Problem(route.retries.at, values, tuple(steps), severity, subject=route.name)

    def _said(self, route: Route) -> Evidence:
        at = route.retries.at if route.retries else route.at
        return Evidence(at, f"{route.name} asks up to {self._calls(route)} times")

    def _outlasting(self, facts: Facts, route: Route) -> Iterator[Problem]:
        judged, severity = weight(self, facts, route.at.path)
        times, each = route.retries, route.per_try
        if not judged or not (times and times.known and each and each.known and route.timeout and route.timeout.known):
            return
        if times.known > 0 and times.known * each.known > route.timeout.known:
            what = f"{times.known} attempts of {said(each.known)} do not fit into {said(route.timeout.known)}"
            yield Problem(
                times.at,
                {"route": route.name, "what": what},
                evidence(route.target.steps),
                severity,
                subject=route.name,
            )


@check("impossible-ejection")
@dataclass(frozen=True)
class ImpossibleEjection:
    """A breaker that may take nothing out: by its own limits, or because nothing would be left to send to."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for breaker in traffic(facts).of(Breaker):
            judged, severity = weight(self, facts, breaker.at.path)
            why = self._why(breaker)
            if judged and why and breaker.target:
                at = breaker.most.at if breaker.most else breaker.least.at if breaker.least else breaker.at
                values = {"breaker": breaker.name, "why": why, "surface": breaker.target.name}
                yield Problem(at, values, evidence(breaker.target.steps), severity, subject=breaker.name)

    def _why(self, breaker: Breaker) -> str | None:
        if not breaker.trips or not breaker.errors_only:
            return None
        replicas = breaker.target.replicas if breaker.target else None
        if breaker.most and breaker.most.known == 0:
            return "it may take out 0 percent of its destinations"
        if replicas == 1:
            return "there is one replica, and nothing to send to without it"
        if breaker.target and breaker.target.fewest == 1:
            return "its autoscaler leaves one replica where little is asked, and nothing to send to without it"
        least = breaker.least.known if breaker.least else None
        if least and replicas and least * replicas > 100 * (replicas - 1):
            return f"without one of its {replicas} replicas fewer than {least} percent are left, and it stops"
        return None


@check("unbounded-queue")
@dataclass(frozen=True)
class UnboundedQueue:
    """Requests to a model wait in a queue that has no end."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for queue in traffic(facts).of(Queue):
            judged, severity = weight(self, facts, queue.at.path)
            if judged:
                values = {"system": queue.system, "what": queue.what, "surface": queue.target.name}
                yield Problem(queue.at, values, evidence(queue.target.steps), severity, subject=queue.system)


@check("unaborted-rollout")
@dataclass(frozen=True)
class UnabortedRollout:
    """A rollout of a model that nothing aborts (a warning), or an analysis that passes without data."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for staging in traffic(facts).of(Staging):
            judged, severity = weight(self, facts, staging.at.path)
            if judged:
                weaker = severity if staging.open else Severity.WARNING
                values = {"rollout": staging.name, "what": staging.what}
                yield Problem(staging.at, values, evidence(staging.steps), weaker, subject=staging.name)


@check("blind-balance")
@dataclass(frozen=True)
class BlindBalance:
    """Requests are shared out among GPUs by the use of a CPU or of memory."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for balance in traffic(facts).of(Balance):
            judged, severity = weight(self, facts, balance.at.path)
            if judged:
                values = {"system": balance.system, "what": balance.what, "surface": balance.target.name}
                yield Problem(balance.at, values, evidence(balance.target.steps), severity, subject=balance.system)
