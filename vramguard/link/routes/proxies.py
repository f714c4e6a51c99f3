"""nginx and HAProxy: locations and backends that pass requests to a model.

nginx.org/en/docs/http: ngx_http_proxy_module, ngx_http_upstream_module; HAProxy 3.2, configuration manual, 4.2 and 5.2.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.facts.outputs import Step
from vramguard.link.routes.durations import count_of, duration_of
from vramguard.link.routes.gateways import shared
from vramguard.link.routes.known import default_timeout
from vramguard.link.routes.parts import Balance, Breaker, Fallback, Route, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Manifest, Word
    from vramguard.facts.nodes import Node
    from vramguard.link.routes.parts import Part, Setting
    from vramguard.link.routes.targets import Targets

_ASKS = re.compile(r"/(?:predict|infer|score|invocations|embed|generate|completions|chat/completions)", re.IGNORECASE)
_TOKENS = re.compile(r"generate|completions", re.IGNORECASE)
_ASIDE = re.compile(r"metrics|health|/docs|dashboard|favicon|static|openapi")  # locations that ask no model
_MAX_DEPTH: Final = 12
_SERVERS: Final = ("server", "server-template")
_ADDRESS: Final = 2  # of the words of `server NAME ADDRESS`


def parts(targets: Targets) -> Iterator[Part]:
    """Every part of the nginx and HAProxy configurations."""
    for manifest in targets.cluster.configured("nginx"):
        blocks = list(_blocks(manifest.node, (), 0))
        yield from _nginx(targets, manifest, blocks)
    for manifest in targets.cluster.configured("haproxy"):
        yield from _haproxy(targets, manifest)


class _Block(NamedTuple):
    """A block of nginx, with the directives of those around it, the innermost first."""

    node: Node
    scopes: tuple[Mapping[str, Node], ...]

    def find(self, *names: str) -> Node | None:
        """The directive of the innermost block that has one of these names."""
        return next((scope[name] for scope in self.scopes for name in names if name in scope), None)


def _blocks(root: Node, around: tuple[Mapping[str, Node], ...], depth: int) -> Iterator[_Block]:
    held = {one.get("name").text: one for one in root.list()}
    scopes = (held, *around)
    for one in root.list():
        if isinstance(one.get("block").value, list) and depth < _MAX_DEPTH:
            inner = {item.get("name").text: item for item in one.get("block").list()}
            yield _Block(one, (inner, *scopes))
            yield from _blocks(one.get("block"), scopes, depth + 1)


def _words(node: Node) -> list[Word]:
    return [word for one in node.get("args").list() if (word := one.word())]


def _first(node: Node | None) -> Word | None:
    words = _words(node) if node else []
    return words[0] if words else None


class _Server(NamedTuple):
    node: Node
    address: str
    options: Mapping[str, Word]


def _upstreams(blocks: list[_Block]) -> dict[str, list[_Server]]:
    found: dict[str, list[_Server]] = {}
    for block in blocks:
        name = _first(block.node)
        if block.node.get("name").text != "upstream" or name is None:
            continue
        for one in block.node.get("block").list():
            words = _words(one)
            if one.get("name").text == "server" and words:
                options = {word.text.partition("=")[0]: word for word in words[1:]}
                found.setdefault(name.text, []).append(_Server(one, words[0].text, options))
    return found


def _nginx(targets: Targets, by: Manifest, blocks: list[_Block]) -> Iterator[Part]:
    upstreams = _upstreams(blocks)
    led: dict[str, Target] = {}
    for block in blocks:
        passed = block.scopes[0].get("proxy_pass") or block.scopes[0].get("grpc_pass")
        words = _words(block.node)
        if passed is None or block.node.get("name").text not in ("location", "if") or _aside(words):
            continue
        host = _host(_first(passed))
        servers = upstreams.get(host, [])
        addresses = [server.address for server in servers if "backup" not in server.options] or [host]
        found = [target for address in addresses for target in targets.upstream(by, address)]
        if not found and servers and all(_nameless(server.address) for server in servers):
            held = targets.named(host, servers[0].node.at)
            found = [held] if held else []
        for target in found[:1] or _asked(block.node, words):
            led.setdefault(host, target)
            yield _location(block, target, host, len(servers))
    yield from _error_pages(blocks, led)
    for name, servers in upstreams.items():
        if name in led:
            yield from _upstream(targets, by, name, servers, led[name])


def _asked(location: Node, words: list[Word]) -> list[Target]:
    """What answers where a location itself asks for a prediction."""
    path = words[-1].text if words else ""
    if not _ASKS.search(path) or "{{" in path:
        return []
    step = Step(location.at, f"`{path}` asks a model")
    return [Target(f"`{path}`", step, streams=bool(_TOKENS.search(path)))]


def _aside(words: list[Word]) -> bool:
    return bool(words) and bool(_ASIDE.search(words[-1].text))


def _nameless(address: str) -> bool:
    host = address.partition(":")[0]
    return host in ("localhost", "host.docker.internal") or host.replace(".", "").isdecimal()


def _host(word: Word | None) -> str:
    return word.text.rpartition("://")[2].partition("/")[0].rpartition("@")[2] if word else ""


def _location(block: _Block, target: Target, host: str, servers: int) -> Route:
    grpc = "grpc_pass" in block.scopes[0]
    read = _first(block.find("grpc_read_timeout" if grpc else "proxy_read_timeout"))
    tries = _first(block.find("grpc_next_upstream_tries" if grpc else "proxy_next_upstream_tries"))
    on = block.find("grpc_next_upstream" if grpc else "proxy_next_upstream")
    off = on is not None and any(word.text == "off" for word in _words(on))
    retries: Setting | None = count_of(tries) if tries and not off else None
    if retries is not None and retries.known == 0 and servers != 1:
        retries = type(retries)(retries.at, -1, retries.written)
    return Route(
        block.node.at,
        "nginx",
        f"location of `{host}`",
        target,
        timeout=duration_of(read) if read else None,
        default=default_timeout("nginx"),
        retries=retries,
        attempts=True,
    )


def _error_pages(blocks: list[_Block], led: Mapping[str, Target]) -> Iterator[Fallback]:
    """What answers for an error of a model, where that is the same upstream."""
    named = {
        words[0].text: block for block in blocks if (words := _words(block.node)) and words[0].text.startswith("@")
    }
    for block in blocks:
        passed, page = block.scopes[0].get("proxy_pass"), block.scopes[0].get("error_page")
        words = _words(page) if page else []
        if passed is None or page is None or not words or not any(one.text[:1] == "5" for one in words[:-1]):
            continue
        other = named.get(words[-1].text)
        back = other.scopes[0].get("proxy_pass") if other else None
        host = _host(_first(passed))
        if other and back and host in led and host == _host(_first(back)):
            steps = (
                Step(passed.at, f"`{host}` has just failed"),
                Step(back.at, "and is asked again"),
                *led[host].steps,
            )
            yield Fallback(page.at, "nginx", host, f"{words[-1].text}, `{host}`", "cycle", steps=steps)


def _upstream(targets: Targets, by: Manifest, name: str, servers: list[_Server], target: Target) -> Iterator[Part]:
    first = [server for server in servers if "backup" not in server.options]
    windows = [_option(word) for server in servers if (word := server.options.get("fail_timeout"))]
    if windows:
        yield Breaker(servers[0].node.at, "nginx", f"upstream `{name}`", target, windows=tuple(windows[:1]))
    for server in (one for one in servers if "backup" in one.options):
        at = server.options["backup"].at
        if any(one.address == server.address for one in first):
            steps = (Step(first[0].node.at, f"`{server.address}` has just failed"), *target.steps)
            yield Fallback(at, f"upstream `{name}`", server.address, server.address, "cycle", steps=steps)
            continue
        others = targets.upstream(by, server.address)
        if others and (shares := shared(target, others[0])):
            kind = "cycle" if "same one" in shares else "model"
            steps = (*target.steps, *others[0].steps)
            yield Fallback(at, f"upstream `{name}`", target.name, others[0].name, kind, shares, steps)


def _option(word: Word) -> Setting:
    """The duration of `fail_timeout=30s`."""
    return duration_of(replace(word, text=word.text.partition("=")[2]))


class _Section(NamedTuple):
    node: Node
    lines: tuple[tuple[tuple[str, ...], Node], ...]

    def find(self, *words: str) -> tuple[tuple[str, ...], Node] | None:
        """The last line that begins with these words."""
        return next((line for line in reversed(self.lines) if line[0][: len(words)] == words), None)


def _haproxy(targets: Targets, by: Manifest) -> Iterator[Part]:
    defaults: list[_Section] = []
    for node in by.node.list():
        lines = tuple((tuple(word.text for word in line.words()), line) for line in node.get("lines").list())
        section = _Section(node, lines)
        if node.get("section").text == "defaults":
            defaults = [section]
        elif node.get("section").text in ("backend", "listen"):
            yield from _backend(targets, by, section, defaults)


def _address(words: tuple[str, ...]) -> str:
    """`server NAME ADDRESS`, `server-template PREFIX COUNT ADDRESS` (HAProxy 3.0, configuration manual, 4.2)."""
    at = _ADDRESS + (words[0] == "server-template")
    return words[at] if at < len(words) else ""


def _backend(targets: Targets, by: Manifest, section: _Section, defaults: list[_Section]) -> Iterator[Part]:
    servers = [line for line in section.lines if line[0][0] in _SERVERS and len(line[0]) > _ADDRESS]
    name = section.node.get("name").text
    found = [target for words, _ in servers for target in targets.upstream(by, _address(words))]
    if not found and servers and all(_nameless(_address(words)) for words, _ in servers):
        held = targets.named(name, section.node.at)
        found = [held] if held else []
    if not found:
        return
    target = found[0]

    def setting(*words: str) -> Word | None:
        for held in (section, *defaults):
            if (line := held.find(*words)) and len(line[0]) > len(words):
                return line[1].get(len(words)).word()
        return None

    timeout, retries = setting("timeout", "server"), setting("retries")
    yield Route(
        section.node.at,
        "HAProxy",
        f"backend `{name}`",
        target,
        timeout=duration_of(timeout, "ms") if timeout else None,
        retries=count_of(retries) if retries else None,
    )
    yield from _servers(section, servers, target, targets, by)


def _servers(
    section: _Section, servers: list[tuple[tuple[str, ...], Node]], target: Target, targets: Targets, by: Manifest
) -> Iterator[Part]:
    title = f"backend `{section.node.get('name').text}`"
    lines = [*((words, node) for words, node in section.lines if words[0] == "default-server"), *servers]
    for words, node in lines:
        inter = _after(words, node, "inter")
        fall = _after(words, node, "fall")
        if inter and "check" in {word for line, _ in lines for word in line}:
            period, falls = duration_of(inter, "ms"), count_of(fall).known if fall else None
            if period.known is not None:
                window = type(period)(period.at, period.known * (falls or 3), f"inter {inter.text} times {falls or 3}")
                yield Breaker(node.at, "HAProxy", title, target, windows=(window,))
                break
    for words, node in lines:
        if "agent-check" in words and (target.gpu or target.streams):
            yield Balance(node.at, title, "agent-check: the weight that an agent beside the server reports", target)
            break
    primary = next((_address(words) for words, _ in servers if "backup" not in words), "")
    for words, node in servers:
        if "backup" in words and _address(words) == primary:
            steps = (Step(servers[0][1].at, f"`{primary}` has just failed"), *target.steps)
            yield Fallback(node.at, title, primary, _address(words), "cycle", steps=steps)
        elif (
            "backup" in words
            and (others := targets.upstream(by, _address(words)))
            and (shares := shared(target, others[0]))
        ):
            steps = (*target.steps, *others[0].steps)
            yield Fallback(node.at, title, target.name, others[0].name, "model", shares, steps)


def _after(words: tuple[str, ...], node: Node, option: str) -> Word | None:
    """The word behind an option of a line."""
    return node.get(words.index(option) + 1).word() if option in words[:-1] else None
