"""LiteLLM's proxy: groups of deployments, their timeouts, retries and fallbacks.

docs.litellm.ai/docs/proxy/{reliability,config_settings}; BerriAI/litellm, litellm/router.py and
litellm/router_utils/fallback_event_handlers.py: a fallback's own fallbacks are followed, ROUTER_MAX_FALLBACKS of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from vramguard.facts import Launch
from vramguard.facts.nodes import Node
from vramguard.facts.outputs import Step
from vramguard.link.routes.durations import count, duration
from vramguard.link.routes.known import default_timeout
from vramguard.link.routes.parts import Fallback, Route, Setting, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Manifest
    from vramguard.link.routes.parts import Part
    from vramguard.link.routes.targets import Targets

_SETTINGS: Final = ("router_settings", "litellm_settings", "general_settings")
_OUTAGE: Final = "fallbacks"
_LISTS: Final = (_OUTAGE, "context_window_fallbacks", "content_policy_fallbacks")
# Providers of a model that is written without one (litellm/main.py, get_llm_provider).
_PROVIDERS: Final = {"gpt-": "openai", "o1": "openai", "o3": "openai", "claude": "anthropic", "gemini": "vertex_ai"}
_MAX_GROUPS: Final = 500


@dataclass
class _Group:
    """One `model_name`, with where each of its deployments stands."""

    node: Node
    pools: list[tuple[str, str]] = field(default_factory=list)  # what it stands on, and that in words
    hosts: list[str] = field(default_factory=list)
    timeouts: list[Setting] = field(default_factory=list)
    retries: list[Setting] = field(default_factory=list)


def parts(targets: Targets) -> Iterator[Part]:
    """Every part that LiteLLM's configurations make."""
    for config in targets.cluster.configured("litellm"):
        groups = _groups(config)
        yield from _routes(targets, config, groups)
        yield from _fallbacks(config, groups)


def _groups(config: Manifest) -> dict[str, _Group]:
    found: dict[str, _Group] = {}
    for one in config.node.get("model_list").list():
        name, said = one.get("model_name").text, one.get("litellm_params")
        if not name or len(found) > _MAX_GROUPS:
            continue
        group = found.setdefault(name, _Group(one))
        group.pools.append(_pool(said))
        group.hosts.append(_host(said.get("api_base").text or said.get("base_url").text))
        timeouts = (duration(said.get(key)) for key in ("timeout", "stream_timeout", "request_timeout"))
        group.timeouts += [timeout for timeout in timeouts if timeout]
        group.retries += [number for key in ("num_retries", "max_retries") if (number := count(said.get(key)))]
    return found


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _pool(said: Node) -> tuple[str, str]:
    """What a deployment stands on: the machine of its address, or the account of its provider."""
    base = said.get("api_base").text or said.get("base_url").text
    host = _host(base)
    if host:
        return f"host {host}", f"the host `{host}`"
    if base:
        return f"base {base}", f"`{base}`"
    model = said.get("model").text
    guessed = next((known for word, known in _PROVIDERS.items() if model.startswith(word)), model)
    provider = model.partition("/")[0] if "/" in model else guessed
    key = said.get("api_key").text
    return f"account {provider} {key}", f"one account of {provider}"


def _routes(targets: Targets, config: Manifest, groups: Mapping[str, _Group]) -> Iterator[Route]:
    settings = [config.node.get(key) for key in _SETTINGS if config.node.get(key).value]
    keys = ("timeout", "request_timeout", "stream_timeout")
    timeout = next((one for held in settings for key in keys if (one := duration(held.get(key)))), None)
    retries = [one for held in settings for key in ("num_retries", "max_retries") if (one := count(held.get(key)))]
    policy = [one for held in settings for _, node in held.get("retry_policy").items() if (one := count(node))]
    if not groups and not _registers(config):
        return
    step = _models(config, groups)
    found = [target for group in groups.values() for host in group.hosts for target in targets.upstream(config, host)]
    target = Target(found[0].name if found else "LiteLLM's models", step, streams=True, gpu=None)
    bounded = timeout or next((one for group in groups.values() for one in group.timeouts), None)
    most = max((*retries, *policy), key=lambda one: one.known or 0, default=None)
    at = settings[0].at if settings else config.node.get("model_list").at
    default = default_timeout("LiteLLM")
    yield Route(
        *(at, "LiteLLM", "LiteLLM", target, bounded, default, most),
        gone=config.guessed or (not groups and _told_elsewhere(targets)),
    )
    for name, group in groups.items():
        for number in group.retries:
            step = Step(group.node.at, f"`{name}` is a group of models")
            target = Target(name, step, streams=True)
            yield Route(number.at, "LiteLLM", f"LiteLLM, `{name}`", target, retries=number, judged=False)


def _models(config: Manifest, groups: Mapping[str, _Group]) -> Step:
    """Which models a configuration is for."""
    if not groups:
        return Step(config.node.get("router_settings").at, "its models are registered while it runs")
    name, first = next(iter(groups.items()))
    more = f" and {len(groups) - 1} more are its models" if len(groups) > 1 else " is its model"
    return Step(first.node.at, f"`{name}`{more}")


def _registers(config: Manifest) -> bool:
    """Whether a configuration without models is one of its own: they come from a database, and from no other file."""
    sections = all(config.node.get(key).value for key in ("router_settings", "litellm_settings"))
    return sections and not config.node.get("include").value


def _told_elsewhere(targets: Targets) -> bool:
    """Whether a variable of something here bounds requests, where no configuration does."""
    held = [
        service.get("environment")
        for project in targets.cluster.configured("compose")
        for service in project.node.get("services").children()
    ]
    named = {key for node in held for key, _ in node.items()}
    named.update(item.text.partition("=")[0] for node in held for item in node.list())
    return "REQUEST_TIMEOUT" in named or any("REQUEST_TIMEOUT" in one.env for one in targets.cluster.facts.of(Launch))


def _fallbacks(config: Manifest, groups: Mapping[str, _Group]) -> Iterator[Fallback]:
    for key in _LISTS:
        entries: dict[str, list[Node]] = defaultdict(list)
        for section in _SETTINGS:
            for one in config.node.get(section, key).list():
                for name, listed in one.items():
                    entries[name] += [node for node in listed.list() if node.text]
        yield from _cycles(key, entries, groups)
        if key == _OUTAGE:
            for name, others in entries.items():
                yield from _shared(name, others, groups)


def _cycles(key: str, entries: dict[str, list[Node]], groups: Mapping[str, _Group]) -> Iterator[Fallback]:
    """The entries that lead back to the group whose list they stand in; of one circle the last as it is written."""
    told: set[frozenset[str]] = set()
    for name, others in reversed(list(entries.items())):
        for node in others:
            way = [name] if node.text == name else _way(entries, node.text, name)
            if way is None or frozenset(way) in told:
                continue
            told.add(frozenset(way))
            steps = [Step(groups[name].node.at, f"`{name}` is this group of models")] if name in groups else []
            for one, following in zip(way, way[1:] or way, strict=False):
                at = next((held.at for held in entries.get(one, ()) if held.text == following), None)
                if at is not None and one != name:
                    steps.append(Step(at, f"`{one}` falls back to `{following}`"))
            yield Fallback(node.at, f"LiteLLM's {key}", name, node.text, "cycle", steps=tuple(steps))


def _way(entries: Mapping[str, list[Node]], start: str, end: str) -> list[str] | None:
    """The groups from `start` to `end` by their fallbacks, both among them; None where no way leads there."""
    before: dict[str, str] = {start: ""}
    pending = [start]
    for name in pending:
        for node in entries.get(name, ()):
            if node.text == end:
                way = [end, name]
                while before[way[-1]]:
                    way.append(before[way[-1]])
                return way[::-1]
            if node.text not in before:
                before[node.text] = name
                pending.append(node.text)
    return None


def _shared(name: str, others: list[Node], groups: Mapping[str, _Group]) -> Iterator[Fallback]:
    """A list of fallbacks, all of which stand on what their group stands on."""
    primary = groups.get(name)
    if primary is None or not others or any(node.text not in groups or node.text == name for node in others):
        return
    own = {pool for pool, _ in primary.pools}
    held = [pool for node in others for pool, _ in groups[node.text].pools]
    if any(_filled_in(pool) for pool in (*own, *held)):
        return
    if held and all(pool in own for pool in held):
        other = groups[others[0].text]
        steps = (
            Step(primary.node.at, f"`{name}` stands on {primary.pools[0][1]}"),
            Step(other.node.at, f"`{others[0].text}` stands on {other.pools[0][1]}"),
        )
        shares = f"both stand on {other.pools[0][1]}"
        yield Fallback(others[0].at, "LiteLLM's fallbacks", name, others[0].text, "model", shares, steps)


def _filled_in(pool: str) -> bool:
    """Whether what a deployment stands on is known once it runs, and not before."""
    return "{{" in pool or "$" in pool or (pool.startswith("base ") and "os.environ" in pool)
