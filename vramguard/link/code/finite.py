"""What conditions say when a loss, a gradient or the weights of a training loop are NaN.

`if loss < best` is false then, as every comparison with NaN is; `isnan(loss)` is true. What else stands in a condition
is taken as it is by default (`or always_save` with True in the text), and for what is not known the benefit of the
doubt is given: it neither makes a guard nor defeats one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.code.constants import Constants
from vramguard.link.code.program import Ref
from vramguard.link.code.reading import Reader, parts, word_set
from vramguard.link.code.words import within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine
    from vramguard.source.graph import Node


_DEPTH: Final = 12
_ORDERING: Final = ("<", "<=", ">", ">=")
# What gives the answer of what it is given, or called on.
_REDUCERS: Final = word_set(
    "any all bool item sum not_ logical_not max float int cpu logical_or reduce_any reduce_all detach mean"
    " tree_map tree_leaves tree_all stack numpy"
)
# Parts of names. What training is measured by; what counts its way; what goes into a model; what is trained.
_METRIC: Final = word_set(
    "loss losses acc accuracy score metric metrics best f1 ppl perplexity bleu error err rmse mae mse auc iou"
    " miou map ap psnr ssim fid dice wer cer reward elbo nll kl bpc bpb cost prec precision recall top1 acc1 r2"
    " corr fitness lowest highest objective"
)
_COUNT: Final = word_set(
    "epoch epochs step steps iter iters iteration iterations i count counter patience rank num interval every"
    " batch idx index len n freq time size lr rate k device version world total seed max"
)
_WAY: Final = frozenset({"epoch", "step", "iter", "iteration", "len", "patience", "lr", "rank"})
_INPUT: Final = word_set(
    "x input inputs batch data image images img imgs label labels y target targets feature features sample"
    " samples df row column columns series array price waveform audio mel coords points dataset"
)
_TRAINED: Final = word_set(
    "loss losses grad grads gradient gradients norm param params parameter parameters weight weights model net"
    " network logits output outputs cost nll elbo state pred p obj"
)
_LOGGED: Final = word_set("loss losses grad grads gradient gradients norm")  # by these names trainers log
_NAN: Final = word_set(
    "nan nans isnan inf infs isinf overflow diverge diverged divergence invalid hasnan anynan nonfinite"
)
_FINITE: Final = frozenset({"finite", "isfinite"})
_BEST: Final = frozenset({"best", "improve", "improved", "improves", "better", "lowest", "isbest"})


class Finite(Reader):
    """Asks conditions, as if what is trained were NaN."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.constants = Constants(code)
        self._said: dict[tuple[Ref, tuple[Ref, ...]], bool | None] = {}
        self._refusals: dict[Routine, list[Ref]] = {}

    # What a test says.

    def says(self, ref: Ref, frames: tuple[Ref, ...] = (), depth: int = 0) -> bool | None:
        """The test's answer; None where NaN does not decide it."""
        key = ref, frames
        if key not in self._said:
            if depth > _DEPTH:
                return None
            self._said[key] = None  # while it is looked for
            self._said[key] = self._answer(ref, frames, depth)
        return self._said[key]

    def _answer(self, ref: Ref, frames: tuple[Ref, ...], depth: int) -> bool | None:
        node = ref.node
        if node.op == "unary" and node.name in ("not", "~"):
            return _opposite(self.says(ref.to(node.inputs[0]), frames, depth + 1))
        if node.op in ("and", "or") or (node.op == "binary" and node.name in ("&", "|")):
            return self._joined(ref, frames, depth)
        if node.op == "compare":
            return self._compared(ref, node, frames, depth)
        if node.op == "call":
            return self._called(ref, node, frames, depth)
        return self._valued(ref, frames, depth)

    def _joined(self, ref: Ref, frames: tuple[Ref, ...], depth: int) -> bool | None:
        """What is known of the others counts where NaN answers one of them."""
        decided = ref.node.op == "or" or ref.node.name == "|"
        inner = list(ref.inputs())
        answers = [self.says(one, frames, depth + 1) for one in inner]
        if all(one is None for one in answers):
            return None
        flags = [self._flag(one, frames) for one, said in zip(inner, answers, strict=True) if said is None]
        if decided and any(self._opens(one) for one in inner):
            return True
        return decided if decided in (*answers, *flags) else not decided

    def _flag(self, ref: Ref, frames: tuple[Ref, ...]) -> bool | None:
        """What a flag is by default."""
        negated = ref.node.op == "unary" and ref.node.name == "not"
        if ref.node.op in ("compare", "call") or (ref.node.op == "unary" and not negated):
            return None
        found = self.constants.of(ref, frames)
        return found if isinstance(found, bool) else None

    @staticmethod
    def _opens(ref: Ref) -> bool:
        """Whether a condition holds now and then: `step % 1000 == 0`."""
        node = ref.node
        return node.op == "compare" and any(one.node.op == "binary" and one.node.name == "%" for one in ref.inputs())

    def _compared(self, ref: Ref, node: Node, frames: tuple[Ref, ...], depth: int) -> bool | None:
        left, right = ref.to(node.inputs[0]), ref.to(node.inputs[1])
        if node.name not in (*_ORDERING, "==", "!="):
            return None
        for one, other in ((left, right), (right, left)):
            if one.node.op in ("call", "unary") and other.node.op == "const":
                asked = self.says(one, frames, depth + 1)
                if asked is not None:  # torch.isnan(x).sum() > 0
                    empty = node.name == "==" and other.node.name in ("0", "False")
                    return (not asked) if empty or (node.name == "!=" and other.node.name == "True") else asked
        if node.name in ("==", "!="):
            same = left == right or (left.node.op != "const" and self.text(left, 1) == self.text(right, 1))
            return node.name == "!=" if same and self._is_value(left) else None
        return False if self._measures(left) or self._measures(right) else None

    @staticmethod
    def _is_value(ref: Ref) -> bool:
        """Whether a node is something of which an unlike self would tell NaN."""
        return ref.node.op in ("name", "param", "attr", "call", "item", "binary", "join", "part", "each")

    def _measures(self, ref: Ref) -> bool:
        """Whether an expression is what training is measured by."""
        node = ref.node
        if node.op == "call" and ref.to(node.inputs[0]).node.name in ("len", "type", "count"):
            return False
        names = self.names(ref) or ((node.name,) if node.op in ("attr", "name", "param") else ())
        if names:
            return _is_metric(set(parts(names[0])), _COUNT)
        return _is_metric(set(self.words(ref)), _WAY)

    def _called(self, ref: Ref, node: Node, frames: tuple[Ref, ...], depth: int) -> bool | None:
        function = ref.to(node.inputs[0])
        last = function.node.name.rpartition(".")[2]
        row = self.code.row("finite", ref)
        if row is not None:
            return self._asked(ref, function, node, passes=bool(row["passes_when"]), sees=bool(row["checks_nan"]))
        if last in _REDUCERS:
            subjects = [ref.to(number) for number in node.inputs[1:2]] or list(function.inputs())
            subjects += [one for one in function.inputs() if one not in subjects]
            answers = [
                self.says(one, frames, depth + 1)
                for one in subjects
                if one.node.op in ("call", "items", "unary", "binary", "each", "join")
            ]
            return next((one for one in answers if one is not None), None)
        own = self.code.meanings.routines(ref)
        for routine in own:
            answer = self._returned(routine, (*frames, ref), depth)
            if answer is not None:
                return answer
        return None if own else _named(last)

    def _asked(self, ref: Ref, function: Ref, node: Node, *, passes: bool, sees: bool) -> bool | None:
        """What `isfinite(x)` says: of what is trained, or of something that is not plainly another."""
        subject = ref.to(node.inputs[1]) if len(node.inputs) > 1 else next(function.inputs(), ref)
        words = set(self.words(subject))
        if words and words <= _INPUT:
            return None
        return (not passes) if sees else passes

    def _returned(self, routine: Routine, frames: tuple[Ref, ...], depth: int) -> bool | None:
        """What a function of the repository answers: what it does where it found NaN, before what it does otherwise."""
        plain: set[bool] = set()
        for number, node in enumerate(routine.function.nodes):
            if node.op != "return" or not node.inputs:
                continue
            ref = Ref(routine, number)
            value = ref.to(node.inputs[0])
            verdicts = [self.says(test, frames, depth + 1) for test, _ in around(ref)]
            wanted = [holds for _, holds in around(ref)]
            if any(said is not None and said is not held for said, held in zip(verdicts, wanted, strict=True)):
                continue
            answer = self.says(value, frames, depth + 1)
            if answer is None:
                constant = self.constants.of(value, frames)
                answer = constant if isinstance(constant, bool) else None
            if answer is not None and any(said is not None for said in verdicts):
                return answer
            if answer is not None and value.node.op != "const":
                plain.add(answer)
        return plain.pop() if len(plain) == 1 else None

    def _valued(self, ref: Ref, frames: tuple[Ref, ...], depth: int) -> bool | None:
        """A flag that keeps what was found out before; else what its name says."""
        node = ref.node
        if node.op in ("items", "each"):  # what a comprehension gives
            inner = {self.says(one, frames, depth + 1) for one in ref.inputs()} - {None}
            return inner.pop() if len(inner) == 1 else None
        if node.op not in ("join", "name", "param", "attr", "part", "item"):
            return None
        answers: set[bool | None] = set()
        asked = False
        for one, entered in self._kept(ref, frames):
            if self.excluded(one, entered, depth + 1):  # best = True, where a loss is lower
                asked = True
                continue
            said = self.says(one, entered, depth + 1)
            asked = asked or said is not None
            answers.add(self._flag(one, entered) if said is None else said)
        if asked and len(answers) == 1:
            return answers.pop()
        names = self.names(ref)
        return _named(names[0] if names else node.name)

    def _kept(self, ref: Ref, frames: tuple[Ref, ...]) -> Iterator[tuple[Ref, tuple[Ref, ...]]]:
        """What a name was given."""
        node = ref.node
        if node.op == "join":
            yield from ((one, frames) for one in ref.inputs() if one != ref)
        elif node.op == "name":
            yield from ((one, ()) for one in self.code.program.lookup(ref.routine, node.name))
        elif node.op == "param" and frames:
            given = self.constants.argument(ref, frames[-1])
            if given is not None:
                yield given, frames[:-1]

    def leaves(self, test: Ref, frames: tuple[Ref, ...] = (), depth: int = 0) -> list[Ref]:
        """The comparisons and calls in a test that NaN answers."""
        if test.node.op in ("compare", "call"):
            return [test] if self.says(test, frames) is not None else []
        if test.node.op not in ("and", "or", "unary") or depth > _DEPTH:
            return []
        return [leaf for one in test.inputs() for leaf in self.leaves(one, frames, depth + 1)]

    def defeat(self, test: Ref, frames: tuple[Ref, ...] = ()) -> str:
        """Why a test that has such a leaf refuses nothing."""
        for one in test.inputs() if test.node.op == "or" else ():
            if one.node.op in ("const", "name", "param", "attr", "join") and self._flag(one, frames) is True:
                return f"`{self.text(one, 1)}` is True by default"
            if self._opens(one):
                return f"`{self.text(one, 1)}` holds now and then, whatever the loss"
        return "NaN passes it"

    # Where a place stands.

    def guard(self, ref: Ref, frames: tuple[Ref, ...] = (), depth: int = 0) -> Ref | None:
        """The condition for which a place is not reached with NaN, if there is one."""
        for test, holds in around(ref):
            said = self.says(test, frames, depth)
            if said is not None and said is not holds:
                return test
        return None

    def excluded(self, ref: Ref, frames: tuple[Ref, ...] = (), depth: int = 0) -> bool:
        """Whether a place is not reached with NaN."""
        return self.guard(ref, frames, depth) is not None

    def refusals(self, routine: Routine) -> list[Ref]:
        """The tests in a function after which, for NaN, nothing goes on: it raises, or the program ends."""
        if routine not in self._refusals:
            self._refusals[routine] = [test for test, leaves in self.answers(routine) if leaves in ("raise", "exit")]
        return self._refusals[routine]

    def answers(self, routine: Routine) -> Iterator[tuple[Ref, str]]:
        """The tests in a function that NaN answers, by asking or by a comparison, and how the way then ends."""
        for number, block in enumerate(routine.function.blocks):
            if block.test == NONE or block.kind not in ("if", "else", "assert"):
                continue
            test = Ref(routine, block.test)
            if not _TRAINED & self._spoken(test):
                continue
            said = self.says(test)
            if block.kind == "assert":
                if said is False:
                    yield test, "raise"
            elif said is block.holds and (asks(test) or block.leaves in ("raise", "exit")):
                caught = block.leaves == "raise" and routine.caught(number)
                yield test, "" if caught else block.leaves or self._later(routine, number)

    def _spoken(self, test: Ref) -> set[str]:
        """The words of a test; of the names that a loop goes through too: `for name in ("loss", "grad_norm")`."""
        each = [one for one in within(test) if one.node.op == "each"]
        named = [inner for one in each for inner in within(one) if inner.node.op == "const"]
        words = set(self.words(test))
        return words if words & _INPUT else words | _LOGGED & {word for one in named for word in parts(one.node.name)}

    def _later(self, routine: Routine, number: int) -> str:
        """How the way ends where a condition asks for what a branch has set: a flag, or a count of failures."""
        nodes, blocks = routine.function.nodes, routine.function.blocks
        inside = {
            name for name, made in routine.function.names.items() if any(nodes[one].block == number for one in made)
        }
        for block in blocks[number + 1 :] if inside else ():
            if block.leaves in ("raise", "exit", "break") and block.test != NONE and block.kind == "if":
                asked = Ref(routine, block.test)
                if inside & {name for one in (asked, *asked.inputs()) for name in self.names(one)}:
                    return block.leaves
        return ""


def asks(test: Ref, depth: int = 0) -> bool:
    """Whether a test asks for NaN, rather than compares."""
    node = test.node
    if node.op == "call":
        function = test.to(node.inputs[0])
        names = set(parts(function.node.name.rpartition(".")[2]))
        return bool(names & (_NAN | _FINITE)) or any(asks(one, depth + 1) for one in test.inputs() if depth < _DEPTH)
    if node.op == "compare" and node.name == "!=":
        return True
    return depth < _DEPTH and any(asks(one, depth + 1) for one in test.inputs() if one.node.op != "each")


def around(ref: Ref) -> list[tuple[Ref, bool]]:
    """The conditions under which a node runs; not those of loops, which are asked anew."""
    blocks = ref.routine.function.blocks
    found = [blocks[number] for number in ref.routine.blocks[ref.node.block]]
    kinds = ("if", "else", "assert")
    return [(ref.to(one.test), one.holds) for one in found if one.test != NONE and one.kind in kinds]


def _is_metric(words: set[str], counts: frozenset[str]) -> bool:
    return bool(words & _METRIC or words >= {"grad", "norm"}) and not words & counts


def _opposite(answer: bool | None) -> bool | None:  # noqa: FBT001 - an answer is what it turns round
    return None if answer is None else not answer


def _named(name: str) -> bool | None:
    """What a flag, or a function that nobody can read, says by its name."""
    words = set(parts(name))
    if words & _FINITE and "non" not in words:
        return False
    if words & (_NAN | _FINITE):
        return True
    return False if words & _BEST else None
