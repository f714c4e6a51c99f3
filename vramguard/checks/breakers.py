"""Demand 4 as it shows in Python: time that nobody bounds, retries that never end, fallbacks that lead back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import JUDGED, SHOWN, evidence, weight
from vramguard.facts import PathClass
from vramguard.link.code.fallbacks import fallbacks
from vramguard.link.code.latency import latency_guards
from vramguard.link.code.retries import retry_policies
from vramguard.link.code.timeouts import outbound_calls, slow_answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts


@check("unbounded-inference")
@dataclass(frozen=True)
class UnboundedInference:
    """A handler runs a model in its own process, and nothing bounds how long it takes. Once for each application.

    `frameworks`: those that bound no request by themselves.
    """

    frameworks: tuple[str, ...] = (
        *("fastapi", "starlette", "flask", "django", "litestar", "aiohttp", "tornado", "bottle", "falcon", "?"),
        *("ray-serve", "cog", "gradio", "chainlit", "dash", "bot", "telegram"),
    )
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for answer in slow_answers(facts):
            judged, severity = weight(self, facts, answer.at.path)
            if judged and answer.framework in self.frameworks:
                values = {"call": answer.call, "model": answer.model, "handler": answer.handler}
                yield Problem(answer.at, values, evidence(answer.steps), severity, subject=answer.handler)


@check("missing-timeout")
@dataclass(frozen=True)
class MissingTimeout:
    """A call over the network, while a request waits, brings no timeout, and its library's own is above `longest`
    seconds, or there is none.
    """

    longest: int = 30
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for call in outbound_calls(facts):
            judged, severity = weight(self, facts, call.at.path)
            if judged and not 0 < call.default_s <= self.longest:
                waits = f"{call.default_s:g} seconds or more" if call.default_s else "for ever"
                values = {"client": call.client, "call": call.call, "waits": waits}
                yield Problem(call.at, values, evidence(call.steps), severity, subject=f"{call.client} {call.call}")


@check("unread-latency")
@dataclass(frozen=True)
class UnreadLatency:
    """A breaker stands around a call that has no timeout, so that a slow answer is no failure; or the time is taken,
    and the threshold that somebody wrote down is compared with nothing.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for guard in latency_guards(facts):
            judged, severity = weight(self, facts, guard.at.path)
            if judged:
                said = (
                    f"the breaker `{guard.what}` counts failures, and a slow answer of `{guard.call}` is none"
                    if guard.kind == "breaker"
                    else f"the time of `{guard.call}` is taken, and `{guard.what}` is compared with nothing"
                )
                yield Problem(guard.at, {"said": said}, evidence(guard.steps), severity, subject=guard.what)


@check("fallback")
@dataclass(frozen=True)
class FallbackOf:
    """What answers where a model's call fails: of `kinds` model (another one), primary (the same), cycle (the function
    around). The same one asked otherwise is a warning.
    """

    kinds: tuple[str, ...] = ("primary", "cycle")
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for fallback in fallbacks(facts):
            judged, severity = weight(self, facts, fallback.at.path)
            if judged and fallback.kind in self.kinds:
                leads = {
                    "cycle": f"comes back to `{fallback.primary}`, which has just failed",
                    "primary": f"is `{fallback.primary}` again, which has just failed",
                    "model": f"is a model too, as is `{fallback.primary}` that has just failed",
                }[fallback.kind]
                values = {"call": fallback.call, "primary": fallback.primary, "leads": leads}
                weaker = severity if fallback.same else Severity.WARNING
                yield Problem(fallback.at, values, evidence(fallback.steps), weaker, subject=fallback.call)


@check("unbounded-retry")
@dataclass(frozen=True)
class UnboundedRetry:
    """Something is tried without end; more than `most` attempts are a warning, and so is a loop that pauses."""

    most: int = 3
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for retry in retry_policies(facts):
            judged, severity = weight(self, facts, retry.at.path)
            if not judged or 0 < retry.attempts <= self.most:
                continue
            endless = "without end, with a pause" if retry.paused else "without end"
            often = f"{retry.attempts} times" if retry.attempts else endless
            values = {"retry": retry.written, "often": often, "call": retry.around}
            weaker = Severity.WARNING if retry.attempts or retry.paused else severity
            yield Problem(retry.at, values, evidence(retry.steps), weaker, subject=retry.written)


@check("retry-amplification")
@dataclass(frozen=True)
class RetryAmplification:
    """Retries stand in one another, and one request makes more than `most` calls together."""

    most: int = 3
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for retry in retry_policies(facts):
            judged, severity = weight(self, facts, retry.at.path)
            if judged and retry.product > max(self.most, retry.attempts):
                values = {"retry": retry.written, "calls": retry.product, "call": retry.around}
                yield Problem(retry.at, values, evidence(retry.steps), severity, subject=retry.written)
