"""What made a client of which a method is called, and whether it was given a limit of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.code.dispatch import AGENTS
from vramguard.link.code.roles import Table, table
from vramguard.link.code.serving import called

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code.bounds import Bounds
    from vramguard.link.code.program import Ref
    from vramguard.link.code.roles import Row
    from vramguard.link.code.serving import Serving

# Keywords of clients that bring a transport with limits of its own.
_TRANSPORTS: Final = ("http_client", "client", "async_client", "http_options", "transport", "session", "httpx_client")
# aiohttp 3.14.5, client.py (ClientTimeout: each of its limits None unless given); httpx 0.28.1, _config.py (Timeout).
_LIMITS: Final = Table([{"call": ["aiohttp.ClientTimeout", "aiohttp.client.ClientTimeout", "{httpx,httpx2}.Timeout"]}])
# openai 3.57.0 and anthropic 2.14.0, _base_client.py: of a transport with httpx's own default the client takes no
# limit, and waits for its own 600 seconds, which is also what `DefaultHttpxClient` sets.
_PLAIN: Final = Table([{"call": [
    "{httpx,httpx2}.{Client,AsyncClient}", "openai.{DefaultHttpxClient,DefaultAsyncHttpxClient}",
    "anthropic.{DefaultHttpxClient,DefaultAsyncHttpxClient}",
]}])  # fmt: skip
_NAMES: Final = 150  # places that are looked at for one client
# Methods of a client that give it on, told something more.
_SAME: Final = frozenset({
    "with_structured_output", "bind_tools", "bind", "with_config", "with_retry", "with_fallbacks", "with_options",
    "with_types", "with_listeners", "with_raw_response", "with_streaming_response", "as_structured_llm", "copy",
})  # fmt: skip


class Clients:
    """Asks what made clients, and what they were told of time."""

    def __init__(self, serving: Serving, bounds: Bounds) -> None:
        self.serving = serving
        self.code = serving.code
        self.bounds = bounds
        self._made: dict[tuple[Ref, frozenset[str]], tuple[Ref, ...]] = {}

    def matched(self, call: Ref, row: Row) -> frozenset[str]:
        """The paths of a call, known from their root, of which a row speaks."""
        patterns = Table([row])
        paths = self.code.meanings.called(call)
        return frozenset(path for path in paths if not path.startswith("?") and patterns.row(path))

    def constructors(self, call: Ref, row: Row) -> list[Ref]:
        """The calls that made the client of which a method is called, wherever in the repository they stand."""
        paths = self.matched(call, row) or self.code.meanings.called(call)
        if not any("()" in path for path in paths):
            return []
        question = call, paths
        if question not in self._made:
            self._made[question] = tuple(self._found(call, paths, Table([{"call": row.get("made")}])))
        return list(self._made[question])

    def _found(self, call: Ref, paths: frozenset[str], makers: Table) -> Iterator[Ref]:
        start = call.to(call.node.inputs[0])
        pending, seen = [start], {start}
        while pending and len(seen) < _NAMES:
            place = pending.pop(0)
            if place != start and place.node.op == "call" and self._makes(place, paths, makers):
                deeper = self._of_client(place)
                if deeper is None:
                    yield place
                    continue
                inner = [deeper]
            else:
                inner = self.serving.backward.back(place)
            inner = [one for one in inner if one not in seen]
            seen.update(inner)
            pending += inner

    def composed(self, call: Ref) -> Iterator[tuple[Ref, Row]]:
        """The clients of models that a chain, an agent or a graph was made of, where it is asked, each with its row."""
        pending = [call.to(call.node.inputs[0])]
        seen = set(pending)
        while pending and len(seen) < _NAMES:
            place = pending.pop(0)
            row = self._client_row(place) if place.node.op == "call" else None
            if row is not None:
                yield place, row
                continue
            inner = [one for one in self._parts_of(place) if one not in seen]
            seen.update(inner)
            pending += inner

    def _parts_of(self, ref: Ref) -> list[Ref]:
        """One step back, into everything that a framework's call was given."""
        if ref.node.op == "call" and any(AGENTS.match(path) for path in self.code.meanings.called(ref)):
            return [*self.serving.backward.back(ref), *(ref.to(number) for number in ref.node.inputs[1:])]
        return list(ref.inputs()) if ref.node.op in ("binary", "items") else self.serving.backward.back(ref)

    def _client_row(self, made: Ref) -> Row | None:
        """What is known of the client of a model that a call makes: `ChatOpenAI(…)`."""
        for path in self.code.meanings.called(made):
            first = AGENTS.match(path) and "()" not in path
            row = table("output").row(f"{path}().invoke") if first else None
            if row is not None and row.get("remote") and "default_timeout_s" in row:
                return row
        return None

    def _makes(self, made: Ref, paths: frozenset[str], makers: Table) -> bool:
        """Whether a call makes the client; of one with known `makers` no other does, such as a method on the way."""
        called = self.code.meanings.called(made)
        if makers.rows:
            return makers.among(called) is not None
        starts = tuple(f"{path}()" for path in called)
        return bool(starts) and any(path.startswith(starts) for path in paths)

    def _of_client(self, made: Ref) -> Ref | None:
        """Of a method that gives a client on, the client: `model.with_structured_output(…)`."""
        function = made.to(made.node.inputs[0])
        return function.to(function.node.inputs[0]) if function.node.op == "attr" and called(made) in _SAME else None

    # What they were told.

    def is_none(self, call: Ref, words: tuple[str, ...] | list[str]) -> bool:
        """Whether a call is told to wait for ever: `timeout=None`, `timeout=ClientTimeout(total=None)`."""
        return any(self._is_endless(one) for word in words if (one := self.code.argument(call, word)) is not None)

    def _is_endless(self, ref: Ref) -> bool:
        if ref.node.op in ("name", "import"):
            behind = self.serving.behind(ref)
            ref = behind[0] if len(behind) == 1 else ref
        if ref.node.op == "const":
            return ref.node.name == "None"
        if ref.node.op != "call" or _LIMITS.among(self.code.meanings.called(ref)) is None:
            return False
        return all(one.node.op == "const" and one.node.name == "None" for one in (*ref.inputs(),)[1:])

    def _is_plain(self, given: Ref) -> bool:
        """Whether a transport brings no limit, so that the client above it keeps its own."""
        made = self.serving.origins(given)
        return len(made) == 1 and all(
            _PLAIN.among(self.code.meanings.called(one)) is not None
            and self.code.argument(one, "timeout") is None
            and self.bounds.spread(one, ["timeout"]) is False
            for one in made
        )

    def limited(self, made: Ref, words: tuple[str, ...] | list[str]) -> bool:
        """Whether what makes a client gives it a limit, or something that nobody can read."""
        for word in (*words, *_TRANSPORTS):
            given = self.code.argument(made, word)
            plain = given is not None and word == "http_client" and self._is_plain(given)
            if given is not None and not plain and not self._is_endless(given):
                return True
        return self.bounds.spread(made, list(words)) is not False
