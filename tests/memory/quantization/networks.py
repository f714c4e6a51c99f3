"""Networks for the tests of quantization: a Llama written by hand, and any network that transformers builds."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from vramguard.memory.architecture import Tensor
from vramguard.memory.quantization import Network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.memory.ledger import Term


def llama(
    hidden: int, width: int, layers: int, heads: tuple[int, int, int], vocab: int, *, tied: bool = False
) -> tuple[Tensor, ...]:
    """Weights of a LlamaForCausalLM; `heads` are query heads, key heads and their size."""
    queries, keys = heads[0] * heads[2], heads[1] * heads[2]
    shapes = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (width, hidden),
        "mlp.up_proj": (width, hidden),
        "mlp.down_proj": (hidden, width),
    }
    every = tuple(range(layers))
    linear = (
        Tensor(f"model.layers.*.{name}.weight", shape, layers, "linear", 0, every) for name, shape in shapes.items()
    )
    norms = ("input_layernorm", "post_attention_layernorm")
    normed = (Tensor(f"model.layers.*.{name}.weight", (hidden,), layers, "norm", 0, every) for name in norms)
    head = () if tied else (Tensor("lm_head.weight", (vocab, hidden), kind="linear"),)
    embedding = Tensor("model.embed_tokens.weight", (vocab, hidden), kind="embedding")
    return (embedding, *linear, *normed, Tensor("model.norm.weight", (hidden,), kind="norm"), *head)


LLAMA_8B = llama(4096, 14336, 32, (32, 8, 128), 128256)
LLAMA_70B = llama(8192, 28672, 80, (64, 8, 128), 128256)
SMALL = llama(256, 512, 4, (8, 2, 32), 320)


def stored(terms: Iterable[Term]) -> int:
    """Bytes of rows that are exact."""
    found = [*terms]
    assert all(term.lower_bytes == term.upper_bytes for term in found)
    return sum(term.upper_bytes for term in found)


def read(model: Any) -> Network:  # noqa: ANN401 - a model of transformers
    """Network of a model, with `*` in the place of the numbers of its layers, as the families build it."""
    kinds = {name: _kind(module) for name, module in model.named_modules()}
    groups: dict[tuple[str, tuple[int, ...], str], list[list[int]]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        numbers = [int(number) for number in re.findall(r"(?<=\.)\d+(?=\.)", name)]
        kind = kinds[name.rpartition(".")[0]]
        groups[re.sub(r"(?<=\.)\d+(?=\.)", "*", name, count=1), tuple(parameter.shape), kind].append(numbers)
    tensors = []
    for (name, shape, kind), copies in groups.items():
        layers = tuple(dict.fromkeys(each[0] for each in copies if each))
        tensors.append(Tensor(name, shape, len(copies), kind, 0, layers))
    kept = tuple(getattr(model, "_keep_in_fp32_modules", None) or ())
    return Network(tensors, kept, model.config.model_type)


def _kind(module: Any) -> str:  # noqa: ANN401 - a module of torch
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if type(module).__name__.endswith("Experts"):
        return "experts"
    if isinstance(module, nn.Embedding):
        return "embedding"
    kinds = {nn.Linear: "linear", Conv1D: "conv1d", nn.Conv2d: "conv", nn.Conv3d: "conv"}
    if type(module) in kinds:
        return kinds[type(module)]
    if isinstance(module, nn.Linear):
        return "linear_subclass"
    return "norm" if "Norm" in type(module).__name__ else "parameter"
