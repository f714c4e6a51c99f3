"""Handlers of exceptions that go on as if nothing had been: they pass over, answer something empty, or end a loop, and
count nothing. What they print nobody has to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.link.code.program import Ref
from vramguard.link.code.swallowed import handlers
from vramguard.link.code.words import tokens, within
from vramguard.source import Location
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine

SAYS: Final = frozenset({
    "print", "debug", "info", "warning", "warn", "error", "exception", "critical", "log", "write", "secho", "echo",
    "print_exc", "pprint",
})  # fmt: skip
_PAGES: Final = ("tqdm.write", "stderr.write", "stdout.write")  # what is written there is only said
# What a handler may hold beside what it says: nothing of it counts, or keeps.
_IDLE: Final = frozenset(
    {"const", "caught", "name", "import", "join", "attr", "param", "compare", "unary", "and", "or"}
)
# Words by which a function says that it keeps account of what it loses.
_ACCOUNTS: Final = frozenset({
    "skipped", "skips", "failed", "failures", "fails", "failure", "errors", "bad", "invalid", "dropped", "missing",
    "rejected", "corrupt", "corrupted", "broken", "quarantine", "ignored", "malformed", "unreadable",
})  # fmt: skip
ENDS: Final = frozenset({"IndexError", "KeyError", "StopIteration", "AttributeError", "GeneratorExit"})
# What is caught where nothing is lost: the end of the data, a cache that is not there yet, somebody who stops it.
_FORESEEN: Final = ENDS | {
    "FileNotFoundError", "KeyboardInterrupt", "ImportError", "ModuleNotFoundError", "EOFError", "Empty", "QueueEmpty",
    "StopAsyncIteration", "NoSuchElementException", "CancelledError", "DoesNotExist",
}  # fmt: skip
_ROWS: Final = frozenset({
    "data", "dataset", "datasets", "documents", "rows", "records", "samples", "examples", "articles", "features",
    "corpus", "docs", "texts", "reviews", "images", "files", "lines", "sentences", "tweets", "posts", "products",
    "items", "pages", "dataframe", "df",
})  # fmt: skip
_EMPTY: Final = ("items", "table")
_STREAMS: Final = frozenset({"stream", "chunk", "sse", "ws", "websocket", "event"})
_AGAIN: Final = frozenset({"attempt", "attempts", "retry", "retries", "tries", "trial"})
_LINES: Final = ("readline", "next", "__next__", "readlines")
_MADE: Final = ("binary", "call")
_FEW: Final = 12  # callers that are asked


class Handler(NamedTuple):
    """A handler that goes on, of the `try` whose block is `attempt`. `blank`: the empty collection that it gives."""

    routine: Routine
    attempt: int
    number: int
    how: str
    blank: Ref | None = None

    @property
    def at(self) -> Location:
        """Its line."""
        line = self.routine.function.blocks[self.number].line
        return Location(self.routine.path, line, 1, line, 1)

    @property
    def names_rows(self) -> bool:
        """Whether its function's name says that it gives rows."""
        return bool(tokens(self.routine.function.name) & _ROWS)


class Quiet:
    """Finds such handlers."""

    def __init__(self, code: Code) -> None:
        self.code = code

    def of(self, routine: Routine) -> Iterator[Handler]:
        """Those of one function."""
        if tokens(routine.function.name) & _STREAMS:
            return
        for attempt, number in handlers(routine):
            leaves = routine.function.blocks[number].leaves
            if leaves in ("raise", "exit"):
                continue
            blank = self._blank(routine, number)
            if blank is not None:
                yield Handler(routine, attempt, number, "except: an empty collection", blank)
            elif self._only_says(routine, number) and not self.accounts(routine):
                how = self._goes_on(routine, attempt, number, leaves)
                if how:
                    yield Handler(routine, attempt, number, f"except: {how}")

    def instead(self, routine: Routine) -> Iterator[tuple[Handler, Ref, Ref]]:
        """Handlers that get something else under the same name, with what the `try` calls for it and what they do."""
        nodes, own = routine.function.nodes, routine.blocks
        for attempt, number in handlers(routine):
            if routine.function.blocks[number].leaves or not self._is_unforeseen(routine, number):
                continue
            for held in routine.function.names.values():
                calls = [Ref(routine, n) for n in held if nodes[n].op == "call"]
                before = next((one for one in calls if attempt in own[one.node.block]), None)
                after = next((one for one in calls if number in own[one.node.block]), None)
                if before is not None and after is not None and not self.accounts(routine):
                    yield Handler(routine, attempt, number, "except: another source"), before, after

    def _goes_on(self, routine: Routine, attempt: int, number: int, leaves: str) -> str:
        """How a handler goes on that only says something; empty where nothing is lost by it."""
        loops = self._loops(routine, number)
        if leaves == "break":
            return "break" if loops and self._is_unforeseen(routine, number) else ""
        if leaves != "return" and loops:
            return (leaves or "pass") if self._repeats(routine, attempt, number, loops) else ""
        if not self._is_unforeseen(routine, number):
            return ""
        fills = not leaves and not loops and self._fills(routine, attempt) and not _tries_another(routine, attempt)
        if fills and any(map(_in_loop, self._callers(routine))):
            return "pass"
        return "None" if self._gives_nothing(routine, attempt, number, leaves) and self._is_passed_over(routine) else ""

    # ---- what a handler does

    def _only_says(self, routine: Routine, number: int) -> bool:
        """Whether a handler does nothing but say something: no count, no list of what was lost."""
        nodes = routine.function.nodes
        inside = [n for n, node in enumerate(nodes) if number in routine.blocks[node.block]]
        said = [n for n in inside if nodes[n].op == "call" and self._says(Ref(routine, n))]
        spoken = {one.number for n in said for one in within(Ref(routine, n))}
        return all(n in spoken or _is_nothing(Ref(routine, n)) for n in inside)

    def _says(self, call: Ref) -> bool:
        written = self.code.written(call)
        last = written.rpartition(".")[2]
        return last in SAYS and (last != "write" or written.endswith(_PAGES))

    @staticmethod
    def accounts(routine: Routine) -> bool:
        """Whether a function has a name for what it loses, a count or a list that it keeps; or refuses too few."""
        return any(tokens(name) & _ACCOUNTS for name in routine.function.names) or _refuses_few(routine)

    def _blank(self, routine: Routine, number: int) -> Ref | None:
        """The empty collection that a handler gives for what could not be read, where that is all that it does."""
        found = None
        for inner, node in enumerate(routine.function.nodes):
            if number not in routine.blocks[node.block]:
                continue
            if (node.op in _EMPTY and not node.inputs) or self._is_empty_frame(Ref(routine, inner)):
                found = Ref(routine, inner)
            elif self._does(Ref(routine, inner)):
                return None
        return found

    def _is_empty_frame(self, ref: Ref) -> bool:
        """`pd.DataFrame()`."""
        return ref.node.op == "call" and len(ref.node.inputs) == 1 and self._last(ref) in ("DataFrame", "Series")

    def _does(self, ref: Ref) -> bool:
        """Whether a handler counts, collects, or calls what does more than say something."""
        node = ref.node
        if node.op == "call":
            return self._last(ref) not in SAYS
        return node.op == "binary" or (node.op == "grown" and node.name != "[]")

    def _last(self, call: Ref) -> str:
        return self.code.written(call).rpartition(".")[2]

    @staticmethod
    def _is_unforeseen(routine: Routine, number: int) -> bool:
        """Whether what is caught is more than what tells that there is no more, or nothing yet."""
        test = routine.function.blocks[number].test
        if test == NONE:
            return True
        nodes = routine.function.nodes
        caught = [nodes[one] for one in nodes[test].inputs] if nodes[test].op == "items" else [nodes[test]]
        return not any(one.name.rpartition(".")[2] in _FORESEEN for one in caught)

    # ---- loops

    @staticmethod
    def _loops(routine: Routine, number: int) -> list[int]:
        """The loops around a handler, the nearest first."""
        return [one for one in routine.blocks[number] if routine.function.blocks[one].kind in ("for", "while")]

    def _repeats(self, routine: Routine, attempt: int, number: int, loops: list[int]) -> bool:
        """Whether a loop goes on to the next: not one that tries again until it has what it wants. A `while` may be
        that: only where it reads lines, or moves on by itself.
        """
        blocks = routine.function.blocks
        if blocks[attempt].leaves in ("break", "return") or _tries_again(routine, loops[0]):
            return False
        return any(
            blocks[one].kind == "for" or self._reads_lines(routine, one) or _moves_on(routine, one, attempt, number)
            for one in loops
        )

    def _reads_lines(self, routine: Routine, loop: int) -> bool:
        nodes = routine.function.nodes
        reads = (n for n in routine.all_of("call") if loop in routine.blocks[nodes[n].block])
        return any(self._last(Ref(routine, n)) in _LINES for n in reads)

    # ---- whoever asks a function for one of many

    def _callers(self, routine: Routine) -> tuple[Ref, ...]:
        return (*self.code.meanings.callers(routine)[:_FEW],)

    @staticmethod
    def _fills(routine: Routine, attempt: int) -> bool:
        """Whether a function answers with what was there before a `try`, and is filled in it."""
        nodes = routine.function.nodes
        pending = [nodes[n].inputs[0] for n in routine.all_of("return") if nodes[n].inputs]
        seen, grew, before = set[int](), False, False
        while pending:
            one = pending.pop()
            if one in seen:
                continue
            seen.add(one)
            inside = attempt in routine.blocks[nodes[one].block]
            grew |= inside and nodes[one].op == "grown"
            before |= not inside and nodes[one].op in _EMPTY
            pending += nodes[one].inputs if nodes[one].op == "join" else ()
            pending += nodes[one].inputs[:1] if nodes[one].op == "grown" else ()
        return grew and before

    @staticmethod
    def _gives_nothing(routine: Routine, attempt: int, number: int, leaves: str) -> bool:
        """Whether a function answers `None` where its `try` failed, and what it has got where it did not."""
        nodes, own = routine.function.nodes, routine.blocks
        given = [(nodes[n], own[nodes[n].block]) for n in routine.all_of("return")]
        if not any(attempt in blocks and node.inputs for node, blocks in given):
            return False
        if leaves == "return":
            return all(
                not node.inputs or nodes[node.inputs[0]].name == "None" for node, blocks in given if number in blocks
            )
        return not leaves and all(attempt in blocks for _, blocks in given)

    def _is_passed_over(self, routine: Routine) -> bool:
        """Whether somebody asks it for one of many, and goes on with the next where nothing came."""
        for call in self._callers(routine):
            if not _in_loop(call) or self.accounts(call.routine):
                continue
            values = frozenset({call.number})
            blocks = call.routine.function.blocks
            tests = [one for one in blocks if one.kind in ("if", "else") and one.test != NONE]
            tests = [one for one in tests if self.code.guards.about(Ref(call.routine, one.test), values)]
            if tests and not any(one.leaves in ("raise", "exit", "break", "return") for one in tests):
                return True
        return False


def _is_nothing(ref: Ref) -> bool:
    if ref.node.op == "caught" and sum(ref.number in held for held in ref.routine.function.names.values()) > 1:
        return False  # kept under another name, for later
    inputs = ref.node.inputs
    return ref.node.op in _IDLE or (ref.node.op == "return" and (not inputs or ref.to(inputs[0]).node.name == "None"))


def _in_loop(call: Ref) -> bool:
    """Whether a call stands in a loop, or in a comprehension."""
    blocks = call.routine.function.blocks
    around = any(blocks[one].kind in ("for", "while") for one in call.routine.blocks[call.node.block])
    return around or any(one.node.op == "each" for one in within(call))


def _tries_again(routine: Routine, loop: int) -> bool:
    """`for attempt in range(3)`."""
    nodes = routine.function.nodes
    return any(
        nodes[n].block == loop and tokens(routine.named.get(n, "")) & _AGAIN for n in routine.all_of("each")
    )  # fmt: skip


def _tries_another(routine: Routine, attempt: int) -> bool:
    """`try: rows.append(…) except: pass`, then `if not rows: rows = another()`: another way to the same."""
    nodes, blocks = routine.function.nodes, routine.function.blocks
    for number, block in enumerate(blocks):
        if (
            block.kind == "if"
            and block.test != NONE
            and (nodes[block.test].op, nodes[block.test].name) == ("unary", "not")
        ):
            asked = within(Ref(routine, block.test))
            filled = any(one.node.op == "grown" and attempt in routine.blocks[one.node.block] for one in asked)
            if filled and any(number in routine.blocks[nodes[n].block] for n in routine.all_of("call")):
                return True
    return False


def _moves_on(routine: Routine, loop: int, attempt: int, number: int) -> bool:
    """`while day < end: try: … except: …; day += 1`"""
    block = routine.function.blocks[loop]
    if block.kind != "while" or block.test == NONE:
        return False
    asked = [one for one in within(Ref(routine, block.test)) if one.node.op == "join"]
    if any(tokens(name) & _AGAIN for one in asked for name in _names(routine, one.number)):
        return False
    made = [routine.blocks[one.node.block] for join in asked for one in within(join) if one.node.op in _MADE]
    return any(loop in blocks and attempt not in blocks and number not in blocks for blocks in made)


def _names(routine: Routine, number: int) -> list[str]:
    """The names that one of some joined values is kept in."""
    joined = {number, *routine.function.nodes[number].inputs}
    return [name for name, numbers in routine.function.names.items() if not joined.isdisjoint(numbers)]


def _refuses_few(routine: Routine) -> bool:
    """`if len(rows) < 1000: raise`"""
    for block in routine.function.blocks:
        if block.kind == "if" and block.leaves in ("raise", "exit") and block.test != NONE:
            asked = list(within(Ref(routine, block.test)))
            sized = any(one.node.op == "name" and one.node.name == "len" for one in asked)
            if sized and any(one.node.op == "compare" and not _of_nothing(one) for one in asked):
                return True
    return False


def _of_nothing(compare: Ref) -> bool:
    """`len(rows) == 0`, `len(rows) < 1`"""
    return any(one.node.op == "const" and one.node.name in ("0", "1") for one in compare.inputs())
