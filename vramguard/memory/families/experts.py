"""Experts as most mixtures have them: a router, stacked experts, shared ones, and which layers have them at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import Block, gated, parameter, stacked_experts, within
from vramguard.memory.families.decoder import routing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from vramguard.memory.families.blocks import Routing, Tensors
    from vramguard.memory.families.fields import Fields


def router(routed: Routing, hidden: int, name: str = "gate") -> Tensors:
    """A router that holds a weight of its own, which no quantizer takes for a Linear's."""
    return parameter(f"{name}.weight", routed.experts, hidden)


def mixture(
    hidden: int,
    width: int,
    routed: Routing,
    *,
    gate: Tensors | None = None,
    shared: Tensors = (),
    name: str = "mlp",
) -> Block:
    """Gated experts of `width` behind a router `gate`; `shared` are weights that every token passes."""
    chooses = router(routed, hidden) if gate is None else gate
    return Block(within(name, chooses, stacked_experts(hidden, width, routed), shared))


def shared_experts(hidden: int, width: int, *, bias: bool = False) -> Tensors:
    """Experts that every token passes, as one gated MLP of all their widths."""
    return within("shared_experts", gated(hidden, width, bias=bias))


def grouped_experts(c: Fields, *, bias: bool = False, more: Tensors = ()) -> Block:
    """Experts as DeepSeek has them: n_routed_experts, of which a token chooses, and n_shared_experts beside them."""
    hidden, width = c.size("hidden_size"), c.size("moe_intermediate_size")
    shared = shared_experts(hidden, width * c.size("n_shared_experts"), bias=bias)
    return mixture(hidden, width, routing(c, "n_routed_experts"), shared=(*shared, *more))


def kinds(c: Fields, key: str, rule: Callable[[int], str], known: Collection[str]) -> list[str]:
    """Kind of each layer: as the config lists it under `key`, else by the class's own rule of the layer's number."""
    listed = c.texts(key)
    found = [rule(i) for i in range(c.layers)] if listed is None else list(listed)
    if len(found) != c.layers:
        raise UnprovenError(f"config: {c.path}{key} has {len(found)} entries for {c.layers} layers")
    if unknown := sorted({*found} - {*known}):
        raise UnprovenError(f"config: {c.path}{key} has {unknown[0][:40]!r}, which is not known for {c.kind}")
    return found


def sparse_layers(c: Fields, rule: Callable[[int], bool]) -> list[bool]:
    """Which layers have experts: those that mlp_layer_types lists as sparse, else by the class's own rule."""
    listed = kinds(c, "mlp_layer_types", lambda i: "sparse" if rule(i) else "dense", ("sparse", "dense"))
    return [kind == "sparse" for kind in listed]


def late_layers(c: Fields, key: str = "first_k_dense_replace") -> list[bool]:
    """Which layers have experts, where all have them but the first few."""
    first = c.count(key)
    return [i >= first for i in range(c.layers)]


def every_layer(c: Fields) -> list[bool]:
    """Experts in every layer."""
    return [True] * c.layers


def feed_forward(sparse: Sequence[bool], experts: Callable[[], Block], dense: Callable[[], Block]) -> list[Block]:
    """What follows attention in each layer; what no layer has is not built, and its keys may be null."""
    built = {kind: (experts if kind else dense)() for kind in {*sparse}}
    return [built[kind] for kind in sparse]


def undeclared(c: Fields, key: str, default: int) -> int:
    """Read an integer that may be zero under a key which the class takes, but does not declare."""
    return c.derive(key, c.count(key) if c.given(key) else default)
