"""Whether what a call saves are weights, and which function of the repository a method of a wrapped model is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.link.code.meaning import Own
from vramguard.link.code.program import Ref
from vramguard.link.code.reading import word_set
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.finite import Finite
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row

_DEPTH: Final = 10
_WRAPPERS: Final = 3  # `model.module` of what `prepare(model)` gave
# Functions and methods that give weights.
_GIVING: Final = word_set(
    "state_dict named_parameters parameters get_model_state_dict get_state_dict get_weights"
    " get_peft_model_state_dict unwrap_model full_state_dict unreplicate get_params"
)
# Functions that give what they are given, or called on.
_SAME: Final = word_set("dict asdict cpu copy deepcopy Checkpoint clone merge_and_unload half items")
# Parts of the names of weights; and of what else is saved.
_WEIGHTS: Final = word_set(
    "model models net network weights weight ckpt checkpoint checkpoints params generator discriminator encoder"
    " decoder policy actor critic agent unet vae lora adapter backbone classifier transformer learner gpt llm bert"
    " ema student netg netd snapshot"
)
_OTHERS: Final = word_set(
    "tokenizer processor config scheduler dataset datasets extractor optimizer optim optimizers opt args history"
    " results result metrics log logs samples embeddings vocab scaler index cache mask preds predictions features"
    " outputs losses loss stats card data logits latents image images generation buffer replay rng repo"
)
_LOGS: Final = re.compile(r"(^|\.)log_(model|state_dict|checkpoint)$")  # it writes no log
_MODULES: Final = (
    *("torch.nn.", "keras.", "tensorflow.keras.", "flax.", "transformers.", "equinox.Module", "haiku.", "mlx.nn."),
    *("paddle.nn.", "pytorch_lightning.", "lightning.", "diffusers.", "peft.", "sentence_transformers.", "timm."),
)
_KERAS: Final = re.compile(r"(tensorflow\.|tf_)?keras\.(models\.)?(Model|Sequential)\(\)")
# By these names other things are saved as well: what is saved has to show.
_ANY: Final = word_set(
    "save dump dumps savez savez_compressed save_file async_save to_pickle save_safetensors to_bytes"
    " msgpack_serialize serialize_file save_state_dict"
)


_LIBRARIES: Final = {"torch": "torch", "tensorflow": "tensorflow", "keras": "tensorflow", "jax": "jax", "optax": "jax",
                     "flax": "jax", "orbax": "jax", "paddle": "paddle", "mxnet": "mxnet", "mlx": "mlx"}  # fmt: skip


class Saved:
    """Asks saves what they write."""

    def __init__(self, code: Code, finite: Finite) -> None:
        self.code = code
        self.finite = finite
        self._known: dict[tuple[Ref, tuple[Ref, ...]], bool] = {}

    def may_be(self, call: Ref, row: Row) -> bool:
        """Whether a call could write the weights of a network that was trained by hand."""
        if row.get("kind") == "estimator" or (row.get("weak") and row.get("pushed")):
            return False
        called = self.code.meanings.called(call)
        return not any("Trainer()." in path or (path.startswith("?") and "rainer." in path) for path in called)

    def is_own(self, call: Ref) -> bool:
        """Whether a call is of a method of the repository, on what is no tokenizer."""
        return bool(self.code.meanings.routines(call)) and self._is_model(call.to(call.node.inputs[0]))

    def _is_model(self, function: Ref) -> bool:
        return not _OTHERS & set(self.finite.words(next(function.inputs(), function)))

    def are_weights(self, call: Ref, frames: tuple[Ref, ...]) -> bool:
        """Whether a save that is reached by these calls writes weights."""
        row = self.code.row("save", call)
        if row is None:
            return True  # by its name
        function = call.to(call.node.inputs[0])
        if row["of"] == "self":
            return self._is_model(function)
        if function.node.name.rpartition(".")[2] not in _ANY:
            words = set(self.finite.words(function))
            return not _OTHERS & (words - {"log"} if _LOGS.search(function.node.name) else words)
        return any(self._is(one, frames, 0) for one in self._given(call, row))

    def libraries(self, call: Ref) -> set[str]:
        """Of which library's weights a call is, where its path says so."""
        roots = {path.partition(".")[0].rstrip("()[]") for path in self.code.meanings.called(call)}
        return {_LIBRARIES[root] for root in roots if root in _LIBRARIES}

    def _given(self, call: Ref, row: Row) -> Iterator[Ref]:
        if "*" in call.node.keywords:  # def save_on_master(*args): torch.save(*args)
            yield from (call.to(number) for word, number in call.node.arguments() if word == "*")
        for one in row["of"]:
            found = self.code.argument(call, one) if isinstance(one, str) else self.code.argument(call, "", one)
            if found is not None:
                yield found

    def _is(self, ref: Ref, frames: tuple[Ref, ...], depth: int) -> bool:
        key = ref, frames
        if key not in self._known:
            if depth > _DEPTH:
                return False
            self._known[key] = False  # while it is looked for
            self._known[key] = self._look(ref, frames, depth)
        return self._known[key]

    def _look(self, ref: Ref, frames: tuple[Ref, ...], depth: int) -> bool:
        node = ref.node
        if node.op == "table":
            return any(self._is(ref.to(held), frames, depth + 1) for held in node.inputs[1::2] if held != NONE)
        if node.op == "call":
            return self._made(ref, frames, depth)
        inner = self._parts(ref, frames)
        return any(self._is(one, entered, depth + 1) for one, entered in inner) or self._named(ref, known=bool(inner))

    def _parts(self, ref: Ref, frames: tuple[Ref, ...]) -> list[tuple[Ref, tuple[Ref, ...]]]:
        """What a value may be, or is made of."""
        node = ref.node
        if node.op in ("join", "items", "grown", "if", "or"):
            return [(one, frames) for one in ref.inputs() if one != ref]
        if node.op == "param" and frames:
            starred = any(one.stars and one.name == node.name for one in ref.routine.function.parameters)
            if starred:
                return [(frames[-1].to(number), frames[:-1]) for number in frames[-1].node.inputs[1:]]
            given = self.finite.constants.argument(ref, frames[-1])
            return [] if given is None else [(given, frames[:-1])]
        if node.op == "name":
            return [(one, ()) for one in self.code.program.lookup(ref.routine, node.name)]
        return []

    def _named(self, ref: Ref, *, known: bool) -> bool:
        """By what it is, or where nobody can tell by its name."""
        if known and ref.node.op == "param":
            return False
        words = set(self.finite.words(ref))
        return self._by_meaning(ref) or bool(_WEIGHTS & words and not _OTHERS & words)

    def _made(self, ref: Ref, frames: tuple[Ref, ...], depth: int) -> bool:
        function = ref.to(ref.node.inputs[0])
        last = function.node.name.rpartition(".")[2]
        given = [ref.to(number) for number in ref.node.inputs[1:]]
        if last in _GIVING:
            words = {word for one in (*function.inputs(), *given[:1]) for word in self.finite.words(one)}
            return not _OTHERS & words
        if self._by_meaning(ref):
            return True
        own = self.code.meanings.routines(ref)
        returned = [
            Ref(routine, node.inputs[0])
            for routine in own
            for node in routine.function.nodes
            if node.op == "return" and node.inputs
        ]
        if any(self._is(one, (*frames, ref), depth + 2) for one in returned):
            return True
        kept = last in _SAME or self.code.own_class(ref) is not None
        return kept and any(self._is(one, frames, depth + 1) for one in (*function.inputs(), *given))

    def _by_meaning(self, ref: Ref) -> bool:
        """A module of one of the libraries, or one of the repository's own classes of them."""
        for one in self.code.meanings.of(ref):
            if isinstance(one, str):
                if one.startswith("torch.nn.") and one.endswith("()") and one.count("()") == 1:
                    return not one.endswith("Loss()")
                if _KERAS.fullmatch(one):
                    return True
            elif one.kind == "instance" and one.routine is not None and self._is_module(one.routine):
                return True
        return False

    def _is_module(self, owner: Routine) -> bool:
        return any(base.startswith(_MODULES) for base in self.code.meanings.bases(owner))

    def runs(self, call: Ref) -> tuple[Routine, ...]:
        """The functions that a call runs; a method of what a library wraps is that of what is inside."""
        found = self.code.meanings.routines(call)
        function = call.to(call.node.inputs[0])
        if found or function.node.op != "attr" or "save" not in function.node.name:
            return found
        wrapped = self._inside(function.to(function.node.inputs[0]))
        members = [one for owner in wrapped for one in self.code.meanings.member(owner, function.node.name)]
        return tuple(
            one.routine
            for one in members
            if isinstance(one, Own) and one.kind == "function" and one.routine is not None
        )

    def _inside(self, ref: Ref, depth: int = 0) -> Iterator[Routine]:
        """The classes of the repository of which instances are handed to what made a value."""
        for one in self.code.meanings.of(ref):
            if isinstance(one, Own) and one.kind == "instance" and one.routine is not None:
                yield one.routine
        if depth <= _WRAPPERS and ref.node.op in ("call", "attr", "join"):
            for inner in ref.inputs():
                if inner != ref:
                    yield from self._inside(inner, depth + 1)
