"""In which ways one policy asks less than another. What asks the same, or more, is no weakening."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard.checks import Problem, Severity
from vramguard.checks.vram import capacity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from vramguard.engine import Policy
    from vramguard.facts import Deployment
    from vramguard.policy import Rule
    from vramguard.settings import Configuration, Settings, Waiver
    from vramguard.source import Location

# When another value of a parameter asks for more; a parameter that is not listed asks for less whenever it changes.
_TIGHTER: Mapping[str, Callable[[Any, Any], bool]] = {
    "budget": lambda before, after: after < before,
    "concurrency": lambda before, after: after > before,
    "gpu": lambda before, after: capacity(after) <= capacity(before),
    "catalogue": lambda _, after: not after,
    "answers": lambda before, after: set(before) <= set(after),
    "classes": lambda before, after: set(before) <= set(after),
    "unjudged": lambda before, after: set(after) <= set(before),
    "lenient": lambda before, after: set(after) <= set(before),
    "forms": lambda before, after: set(before) <= set(after),
    **dict.fromkeys(  # what is let pass
        (
            *("accepted", "allowed", "development_forms", "development_packages", "hosts", "lock_forms"),
            *("quiet_with", "trusted", "vendors"),
        ),
        lambda before, after: set(after) <= set(before),
    ),
}


class _Change(NamedTuple):
    """A weakening in words, and where the head says it."""

    what: str
    at: Location


def weakenings(base: Policy, head: Policy) -> Iterator[Problem]:
    """Every way in which the head's policy asks less than the base's, once each."""
    found = (*_rules(base, head), *_settings(base.configuration, head.configuration), *_hardware(base, head))
    for what, at in dict.fromkeys(found):
        yield Problem(at, {"what": what}, subject=what)


def _rules(base: Policy, head: Policy) -> Iterator[_Change]:
    own = {rule.id: rule for rule in head.rules}
    at = head.configuration.at
    for before in base.rules:
        after = own.get(before.id)
        if after is None:
            key = "ignore" if head.configuration.settings.ignore else "select"
            yield _Change(f"{before.id} is no longer judged", at(key))
            continue
        if after.severity < before.severity:
            yield _Change(f"{before.id} falls from {before.severity.label} to {after.severity.label}", at("severity"))
        yield from _parameters(before, after, head.configuration)


def _parameters(before: Rule, after: Rule, head: Configuration) -> Iterator[_Change]:
    if [type(part.check) for part in before.parts] != [type(part.check) for part in after.parts]:
        yield _Change(f"{before.id} is judged by another kind of check", after.at)
        return
    both = zip(before.parts, after.parts, strict=True)
    values = {name: (old, getattr(new.check, name)) for part, new in both for name, old in vars(part.check).items()}
    for name, (old, new) in values.items():
        if old == new or _tighter(name, old, new):
            continue
        general = getattr(head.settings, name, None) == new
        key = name if general else "rules"
        owner = "" if general or _is_default(name) else f"{before.id}'s "
        yield _Change(f"{owner}`{name}` changes from {_word(old)} to {_word(new)}", head.at(key))


def _is_default(name: str) -> bool:
    """Whether a parameter stands for one that the configuration gives all rules."""
    return name in ("budget", "gpu", "concurrency", "catalogue")


def _tighter(name: str, before: object, after: object) -> bool:
    if isinstance(before, Severity) and isinstance(after, Severity):
        return after > before
    return name in _TIGHTER and _TIGHTER[name](before, after)


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "nothing"
    return f"{float(value):g}" if isinstance(value, Fraction) else str(value)


def _settings(base: Configuration, head: Configuration) -> Iterator[_Change]:
    before, after = base.settings, head.settings
    if after.fail_on > before.fail_on:
        yield _Change(f"`fail_on` rises from {before.fail_on.label} to {after.fail_on.label}", head.at("fail_on"))
    if before.render and not after.render:
        yield _Change("charts are no longer rendered", head.at("render"))
    for path, holds in before.models.items():
        if after.models.get(path, holds) != holds:
            yield _Change(f"`{path}` is said to hold {after.models[path]} instead of {holds}", head.at("models"))
    for pattern in _excluded(before, after):
        yield _Change(f"`exclude` takes out more: {pattern}", head.at("exclude"))
    yield from _accepted(before, after, head)
    if _other_classes(before) != _other_classes(after) or not _more(before, after):
        yield _Change("the path classes change", head.at("classes"))


def _accepted(before: Settings, after: Settings, head: Configuration) -> Iterator[_Change]:
    """What is newly accepted: findings, what is met elsewhere, environments that count as somebody's approval."""
    for waiver in after.waiver:
        if not any(_covers(old, waiver) for old in before.waiver):
            what = f"{', '.join(waiver.rules)} is waived for {', '.join(waiver.paths)}"
            yield _Change(what, head.at("waiver"))
    for table in after.evidence:
        if table not in before.evidence:
            what = f"{', '.join(table.rules)} is said to be met elsewhere for {table.surface}"
            yield _Change(what, head.at("evidence"))
    named, trusted = (one.gates.environments if one.gates else () for one in (after, before))
    for name in named if trusted else ():
        if name not in trusted:
            yield _Change(f"the environment `{name}` is said to be a gate", head.at("gates"))
    if trusted and not named:
        yield _Change("every environment counts as a gate", head.at("gates"))


def _excluded(before: Settings, after: Settings) -> list[str]:
    """The patterns by which more is excluded. As in .gitignore a `!` takes back, and then the order matters."""
    if all(pattern.startswith("!") for pattern in after.exclude):
        return []
    added = [pattern for pattern in after.exclude if pattern not in before.exclude and not pattern.startswith("!")]
    dropped = [pattern for pattern in before.exclude if pattern not in after.exclude and pattern.startswith("!")]
    if added or dropped:
        return [*added, *(f"no longer `{pattern}`" for pattern in dropped)]
    kept = [pattern for pattern in before.exclude if pattern in after.exclude]
    shuffled = kept != [pattern for pattern in after.exclude if pattern in before.exclude]
    return ["its order changes"] if shuffled and any(pattern.startswith("!") for pattern in kept) else []


def _covers(old: Waiver, new: Waiver) -> bool:
    """Whether an old waiver accepts all that a new one does."""
    longer = old.until is None or (new.until is not None and new.until <= old.until)
    fewer = not old.advisories or (bool(new.advisories) and set(new.advisories) <= set(old.advisories))
    return (
        longer and fewer and set(new.paths) <= set(old.paths) and all(rule.startswith(old.rules) for rule in new.rules)
    )


def _other_classes(settings: Settings) -> dict[str, tuple[str, ...]]:
    return {name: patterns for name, patterns in settings.classes.items() if name != "serving"}


def _more(before: Settings, after: Settings) -> bool:
    """Whether at least as much is called serving, the class that is judged hardest."""
    return set(before.classes.get("serving", ())) <= set(after.classes.get("serving", ()))


def _hardware(base: Policy, head: Policy) -> Iterator[_Change]:
    for before, after in pairs(base.configuration.deployments, head.configuration.deployments):
        if before is None:
            continue
        if after is None:
            what = f"the deployment of `{_model(before)}` on {_card(before)} is no longer declared"
            yield _Change(what, head.configuration.at("deployment"))
        elif is_bigger(before, after, base, head):
            what = f"the deployment of `{_model(after)}` moves to a bigger card: {_card(before)} to {_card(after)}"
            yield _Change(what, after.places.get("gpu", after.at))


def pairs(
    before: Iterable[Deployment], after: Iterable[Deployment]
) -> Iterator[tuple[Deployment | None, Deployment | None]]:
    """Deployments of the same model side by side: those on the same cards first, the others in their order."""
    old, new = list(before), list(after)
    for same in (_same_hardware, _same_model):
        for right in list(new):
            left = next((left for left in old if same(left, right)), None)
            if left is not None:
                old.remove(left)
                new.remove(right)
                yield left, right
    yield from ((left, None) for left in old)
    yield from ((None, right) for right in new)


def _same_model(left: Deployment, right: Deployment) -> bool:
    return _model(left) == _model(right)


def _same_hardware(left: Deployment, right: Deployment) -> bool:
    return _same_model(left, right) and (left.gpu, left.gpus) == (right.gpu, right.gpus)


def _model(deployment: Deployment) -> str:
    return deployment.config or str(deployment.model)


def _card(deployment: Deployment) -> str:
    count = f"{deployment.gpus} x " if isinstance(deployment.gpus, int) else ""
    return f"{count}{deployment.gpu or 'the default card'}"


def is_bigger(before: Deployment, after: Deployment, base: Policy, head: Policy) -> bool:
    """Whether the cards of the one hold more than those of the other; no catalogue row holds nothing."""
    return 0 < _bytes(before, base) < _bytes(after, head)


def _bytes(deployment: Deployment, policy: Policy) -> int:
    name = deployment.gpu if isinstance(deployment.gpu, str) else policy.configuration.settings.gpu
    count = deployment.gpus if isinstance(deployment.gpus, int) else 1
    return capacity(name) * count
