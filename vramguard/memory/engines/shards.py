"""What of a network's weights stands on one card of a grid: tensor, pipeline and expert parallelism.

A layer's matrices are split by rows (the first Linear of a pair) or by columns (the second), keys and values by heads,
words by their number; norms and routers stand on every card. vLLM's layers (ColumnParallelLinear, RowParallelLinear,
QKVParallelLinear, VocabParallelEmbedding, FusedMoE) do so, and SGLang's and TGI's, which came from the same root. What
is not known to be split is between split and whole.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError

if TYPE_CHECKING:
    from vramguard.memory.architecture import Architecture, Tensor

_VOCAB_PADDING: Final = 64  # vLLM, model_executor/layers/vocab_parallel_embedding.py: DEFAULT_VOCAB_PADDING_SIZE


class ParallelismError(UnprovenError):
    """The engine refuses this way of splitting the network; the message says which sizes do not go together."""


class Rank(NamedTuple):
    """One card of the grid. `expert_ranks` above 0: whole experts are spread over so many cards, else each is split.

    Without expert parallelism the cards of all `data_parallel` replicas split each expert together (vLLM,
    fused_moe/config.py, FusedMoEParallelConfig.make: flatten_tp_across_dp), while the rest of a layer stands in each.
    """

    tensor_parallel: int = 1
    stages: int = 1
    stage: int = 0
    layers: tuple[int, int] = (0, 0)  # the first of this stage's layers, and the first after them
    expert_ranks: int = 0
    data_parallel: int = 1
    towers: bool = False  # matrices of the towers' layers are split as the language model's are

    @property
    def first(self) -> bool:
        """Whether it embeds the tokens."""
        return self.stage == 0

    @property
    def last(self) -> bool:
        """Whether it has the head."""
        return self.stage == self.stages - 1


def ranks(
    layers: int, tensor_parallel: int, stages: int, expert_ranks: int = 0, data_parallel: int = 1
) -> tuple[Rank, ...]:
    """One card of each stage; the others of a stage hold as much.

    Layers are dealt evenly, the rest to the stages before the last, from there backwards (vLLM, distributed/utils.py:
    get_pp_indices; VLLM_PP_LAYER_PARTITION, which deals them otherwise, is an assumption of the proof).
    """
    if stages > layers:
        raise ParallelismError(f"pipeline_parallel_size {stages} is more than the model's {layers} layers")
    each, rest = divmod(layers, stages)
    sizes = [each] * stages
    for place in range(2, rest + 2):
        sizes[-place] += 1
    starts = [sum(sizes[:stage]) for stage in range(stages + 1)]
    return tuple(
        Rank(tensor_parallel, stages, s, (starts[s], starts[s + 1]), expert_ranks, data_parallel) for s in range(stages)
    )


class Share(NamedTuple):
    """A tensor as one card holds it: at least `least`, at most `most`, which are the same where that is known."""

    least: Tensor | None  # None: it may stand elsewhere
    most: Tensor


def shares(network: Architecture, rank: Rank) -> tuple[Share, ...]:
    """Every tensor of which the card holds something; raises ParallelismError where a size does not divide."""
    _refuse(network, rank)
    found = (_share(network, tensor, rank) for tensor in _words(network))
    return tuple(share for share in found if share is not None)


def held(network: Architecture, shares: tuple[Share, ...]) -> tuple[Architecture, Architecture]:
    """The network with the tensors that a card holds at least, and at most."""
    least = tuple(share.least for share in shares if share.least is not None)
    return replace(network, tensors=least), replace(network, tensors=tuple(share.most for share in shares))


def _refuse(network: Architecture, rank: Rank) -> None:
    """What each engine checks before it loads a model."""
    parallel = rank.tensor_parallel
    for group in network.attention:
        if group.heads % parallel:
            raise ParallelismError(
                f"{group.heads} attention heads cannot be split across tensor_parallel_size {parallel}"
            )
        if group.kv_heads % parallel and parallel % group.kv_heads:
            raise ParallelismError(
                f"{group.kv_heads} key heads neither divide nor are divided by tensor_parallel_size {parallel}"
            )


def _words(network: Architecture) -> tuple[Tensor, ...]:
    """The tensors, those of the vocabulary padded, as engines keep them."""
    return tuple(_padded(network, tensor) for tensor in network.tensors)


def _padded(network: Architecture, tensor: Tensor) -> Tensor:
    if not _is_vocabulary(network, tensor):
        return tensor
    return tensor._replace(shape=(_padded_to(tensor.shape[0]), *tensor.shape[1:]))


def _is_vocabulary(network: Architecture, tensor: Tensor) -> bool:
    leaf = tensor.name.rpartition(".")[0].rpartition(".")[2]
    if leaf == _PER_LAYER:  # Gemma 3n's and 4's, of a vocabulary of its own (VocabParallelEmbedding)
        return True
    return leaf in _VOCABULARY and tensor.shape[0] in (network.vocab, _padded_to(network.vocab))


def _padded_to(words: int) -> int:
    return -(-words // _VOCAB_PADDING) * _VOCAB_PADDING


def _share(network: Architecture, tensor: Tensor, rank: Rank) -> Share | None:
    here = _stage(network, tensor, rank)
    if here is None:
        return None
    where, certain = here
    most, exact = _split(network, where, rank)
    if not certain:
        return Share(None, most)
    if exact:
        return Share(most, most)
    axis = max(range(len(where.shape)), key=lambda each: where.shape[each])
    return Share(_resized(where, axis, max(1, where.shape[axis] // rank.tensor_parallel)), where)


def _stage(network: Architecture, tensor: Tensor, rank: Rank) -> tuple[Tensor, bool] | None:
    """The copies of a tensor that a stage holds, and whether that is certain; None where it holds none."""
    if rank.stages == 1:
        return tensor, True
    if _in_layers(network, tensor):
        mine = tuple(layer for layer in tensor.layers if rank.layers[0] <= layer < rank.layers[1])
        each = tensor.copies // len(tensor.layers)
        return (tensor._replace(copies=each * len(mine), layers=mine), True) if mine else None
    name = tensor.name
    if _is_vocabulary(network, tensor):
        head = "embed" not in name and "wte" not in name
        wanted = rank.last if head else rank.first or (rank.last and network.tied)
        return (tensor, True) if wanted else None
    if _FINAL.search(name):
        return (tensor, True) if rank.last else None
    return tensor, False


def _in_layers(network: Architecture, tensor: Tensor) -> bool:
    return bool(tensor.layers) and max(tensor.layers) < network.layers and not TOWER.search(tensor.name)


def _split(network: Architecture, tensor: Tensor, rank: Rank) -> tuple[Tensor, bool]:
    """What a card holds of a tensor that stands on its stage, and whether that is known."""
    parallel = rank.tensor_parallel
    if tensor.kind == "experts":
        return _experts(network, tensor, rank)
    if parallel == 1 or _WHOLE.search(tensor.name):
        return tensor, True
    if tensor.kind == "norm":
        # Over all heads of a card some classes norm together (RMSNorm of hidden_size // tp), others apart.
        apart = tensor.shape[0] in {group.head_dim for group in network.attention}
        return tensor, apart or not _OF_HEADS.search(tensor.name)
    if _is_vocabulary(network, tensor):
        return _divided(tensor, 0, parallel), True
    if _UNKNOWN.search(tensor.name) or (rank.expert_ranks and "shared_expert" in tensor.name):
        return _tower(tensor, parallel) if rank.towers and TOWER.search(tensor.name) else (tensor, False)
    return _linear(network, tensor, parallel)


def _tower(tensor: Tensor, parallel: int) -> tuple[Tensor, bool]:
    """A matrix of a tower or of the projection behind it, where that is a pair of Linears as in the language model."""
    *_, leaf, part = ("", *tensor.name.split("."))
    rows, columns = leaf in _TOWER_ROWS, leaf in _TOWER_COLUMNS
    if tensor.kind != "linear" or not (rows or columns):
        return tensor, False
    if rows and part == "bias":
        return tensor, True
    axis = len(tensor.shape) - 1 if rows else 0
    whole = tensor.shape[axis] % parallel
    return (tensor, False) if whole else (_resized(tensor, axis, tensor.shape[axis] // parallel), True)


def _experts(network: Architecture, tensor: Tensor, rank: Rank) -> tuple[Tensor, bool]:
    """Stacked experts: what is not their number and not the hidden size is divided; DBRX has them one below another.

    LongCat's experts that do nothing have rows in transformers only (longcat_flash.py: FusedMoE of n_routed_experts).
    """
    routed = network.sizes.get("n_routed_experts", 0)
    if network.sizes.get("zero_expert_num") and 0 < routed < tensor.shape[0]:
        tensor = _resized(tensor, 0, routed)
    if rank.expert_ranks:
        return _resized(tensor, 0, -(-tensor.shape[0] // rank.expert_ranks)), "shared_expert" not in tensor.name
    parallel = rank.tensor_parallel * (1 if "shared_expert" in tensor.name else rank.data_parallel)
    if parallel == 1:
        return tensor, True
    axes = [axis for axis in range(1, len(tensor.shape)) if tensor.shape[axis] != network.hidden]
    if not axes and len(tensor.shape) == 2:  # noqa: PLR2004
        # The bias of the second matrix is whole.
        return (tensor, True) if tensor.name.endswith("bias") else (_divided(tensor, 0, parallel), True)
    return _divided(tensor, axes[-1] if axes else 1, parallel), True


def _linear(network: Architecture, tensor: Tensor, parallel: int) -> tuple[Tensor, bool]:
    *_, leaf, part = ("", *tensor.name.split("."))
    axis = 1 if tensor.kind == "conv1d" else 0
    if leaf in ROWS:
        if part == "bias":
            return tensor, True  # added once, and kept by every card
        return (_divided(tensor, 1 - axis, parallel), True) if len(tensor.shape) > 1 else (tensor, False)
    if leaf not in _COLUMNS:
        return _recurrent(network, tensor, parallel)
    axis = 0 if len(tensor.shape) == 1 else axis
    if leaf in _KEYS:
        return _heads(network, tensor, axis, parallel)
    if leaf in _FUSED:
        return _fused_heads(network, tensor, axis, parallel)
    return _divided(tensor, axis, parallel), True


def _recurrent(network: Architecture, tensor: Tensor, parallel: int) -> tuple[Tensor, bool]:
    """What a recurrent mixer has beside its projections: split by heads or channels (vLLM, layers/mamba/).

    Of Mamba 2 a single group is on every card; more groups than one must divide (mamba_mixer2.py, MambaMixer2).
    """
    found = _MIXER.search(tensor.name)
    if found is None:
        return tensor, False
    grouped = [network.sizes[name] for name in _GROUPS if name in network.sizes]
    if found[1] in ("in_proj", "conv1d") and any(groups % parallel for groups in grouped):
        state = next((2 * network.sizes[name] for name in _STATES if name in network.sizes), 0)
        rows = tensor.shape[0] - state
        if grouped != [1] or not state or rows % parallel:
            return tensor, False
        return _resized(tensor, 0, rows // parallel + state), True
    axis = 1 if found[1] == "x_proj" else 0
    if tensor.shape[axis] % parallel:
        return tensor, False
    return _resized(tensor, axis, tensor.shape[axis] // parallel), True


def _heads(network: Architecture, tensor: Tensor, axis: int, parallel: int) -> tuple[Tensor, bool]:
    """Keys or values: by heads, of which each card has at least one. Those of a recurrence are never repeated."""
    size = tensor.shape[axis]
    if "linear_attn" in tensor.name:
        return _divided(tensor, axis, parallel), True
    groups = {(group.kv_heads, group.head_dim) for group in network.attention if group.kv_heads}
    own = {heads for heads, each in groups if heads * each == size}
    fitting = own or {heads for heads, _ in groups if size % heads == 0}
    rows = {size // heads * max(1, heads // parallel) for heads in fitting}
    return (_resized(tensor, axis, rows.pop()), True) if len(rows) == 1 else (tensor, False)


def _fused_heads(network: Architecture, tensor: Tensor, axis: int, parallel: int) -> tuple[Tensor, bool]:
    """Queries, keys and values in one matrix."""
    rows = tensor.shape[axis]
    for group in network.attention:
        if rows == (group.heads + 2 * group.kv_heads) * group.head_dim:
            heads = group.heads // parallel + 2 * max(1, group.kv_heads // parallel)
            return _resized(tensor, axis, heads * group.head_dim), True
    return tensor, False


def _divided(tensor: Tensor, axis: int, parallel: int) -> Tensor:
    if tensor.shape[axis] % parallel:
        size = "x".join(map(str, tensor.shape))
        raise ParallelismError(f"{tensor.name} ({size}) cannot be split across tensor_parallel_size {parallel}")
    return _resized(tensor, axis, tensor.shape[axis] // parallel)


def _resized(tensor: Tensor, axis: int, size: int) -> Tensor:
    return tensor._replace(shape=tuple(size if place == axis else n for place, n in enumerate(tensor.shape)))


_VOCABULARY: Final = frozenset(
    ("embed_tokens", "wte", "word_embeddings", "embed_in", "embedding", "embeddings", "tok_embeddings", "lm_head",
     "embed_out", "output")
)  # fmt: skip
_PER_LAYER: Final = "embed_tokens_per_layer"
_KEYS: Final = frozenset(("k_proj", "v_proj", "key", "value"))
_FUSED: Final = frozenset(("qkv_proj", "query_key_value", "Wqkv", "W_pack", "c_attn", "qkv"))
_COLUMNS: Final = (
    _KEYS
    | _FUSED
    | frozenset(
        ("q_proj", "query", "gate_proj", "up_proj", "gate_up_proj", "fc1", "c_fc", "dense_h_to_4h", "fc_in", "w1", "w3",
         "wi", "q_b_proj", "kv_b_proj", "in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "in_proj_qkvz",
         "in_proj_ba", "input_linear")
    )
)  # fmt: skip
ROWS: Final = frozenset(
    ("o_proj", "out_proj", "down_proj", "fc2", "dense", "c_proj", "dense_4h_to_h", "fc_out", "w2", "wo",
     "output_linear")
)  # fmt: skip
_TOWER_COLUMNS: Final = frozenset(
    ("q_proj", "k_proj", "v_proj", "qkv", "q", "k", "v", "gate_proj", "up_proj", "fc1", "linear_fc1", "linear_1")
)
_TOWER_ROWS: Final = frozenset(("o_proj", "out_proj", "proj", "down_proj", "fc2", "linear_fc2", "linear_2"))
TOWER: Final = re.compile(
    r"vision|visual|image|video|audio|speech|tower|vqmodel|projector|resampler|merger|encoder|conformer|connector"
)
_UNKNOWN: Final = re.compile(TOWER.pattern + r"|\.(compressor|indexer)\.")
_WHOLE: Final = re.compile(r"(^|\.)(router|gate)\.|\.(q_a_proj|kv_a_proj_with_mqa|kv_a_proj|shared_expert_gate)\.")
_FINAL: Final = re.compile(r"^(model\.|transformer\.|language_model\.)*(norm|ln_f|final_layernorm|final_layer_norm)\.")
_OF_HEADS: Final = re.compile(r"\.(q_norm|k_norm|q_layernorm|k_layernorm|mixer\.norm|mamba\.norm)\.")
_MIXER: Final = re.compile(
    r"\.(?:mamba|mixer|linear_attn)\.(in_proj|conv1d|x_proj|dt_proj|dt_bias|A_log|D|a_proj|b_proj|g_proj)(?:\.|$)"
)
_STATES: Final = ("mamba_d_state", "ssm_state_size", "state_size")
_GROUPS: Final = ("mamba_n_groups", "mamba_ngroups", "n_groups")
