"""Networks from configs are what transformers builds: every weight by name and shape, every window."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vramguard.memory.architecture import Architecture, UnprovenError
from vramguard.memory.families import FAMILIES, SWITCHES, architecture
from vramguard.memory.families.fields import Nullable

if TYPE_CHECKING:
    from types import ModuleType

    from hypothesis.strategies import SearchStrategy

Config = dict[str, Any]

TABLE = json.loads(Path(__file__).with_name("recorded_parameters.json").read_text(encoding="utf-8"))
BY_ID = {model["id"]: model for model in TABLE["models"]}

SMALL: Config = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
EXPERTS: Config = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6}
NO_GROUPS = {key: SMALL[key] for key in SMALL if key not in {"num_key_value_heads", "head_dim"}}
BASES: dict[str, Config] = {
    **dict.fromkeys(("llama", "mistral", "gemma", "gemma2", "phi3", "qwen2", "qwen3"), SMALL),
    "mixtral": {**SMALL, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**SMALL, **EXPERTS, "shared_expert_intermediate_size": 10},
    "qwen3_moe": {**SMALL, **EXPERTS},
    "gpt2": {"vocab_size": 40, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
    "gpt_neox": NO_GROUPS,
    "falcon": {key: NO_GROUPS[key] for key in NO_GROUPS if key != "intermediate_size"},
}

ABSENT = object()  # the key is not in the config
SHAPES: list[Config] = [
    {},
    {"vocab_size": 129},
    {"num_hidden_layers": 1},
    {"num_hidden_layers": 7},
    {"hidden_size": 48},
    {"num_attention_heads": 1, "num_key_value_heads": 1},
    {"num_attention_heads": 8, "hidden_size": 64},
    {"tie_word_embeddings": True},
    {"tie_word_embeddings": False},
    {"tie_word_embeddings": ABSENT, "max_position_embeddings": ABSENT},
    {"torch_dtype": "float16", "attn_implementation": "eager"},
]
GROUPED: list[Config] = [
    {"num_key_value_heads": 1},
    {"num_key_value_heads": 4},
    {"num_key_value_heads": ABSENT, "num_attention_heads": 32, "head_dim": 2},
    {"head_dim": 6},
    {"hidden_size": 36, "head_dim": 10},
    {"intermediate_size": 7},
]
DERIVED_HEADS: list[Config] = [{"head_dim": ABSENT}, {"head_dim": ABSENT, "hidden_size": 16, "num_attention_heads": 8}]
BIASES: list[Config] = [{"attention_bias": True}, {"attention_bias": False, "mlp_bias": True}]
KINDS = ["full_attention", "sliding_attention", "full_attention"]
LATE: list[Config] = [
    {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    {"use_sliding_window": True, "sliding_window": 5},
    {"use_sliding_window": True, "sliding_window": None, "max_window_layers": 0},
    {"use_sliding_window": False, "sliding_window": 5, "max_window_layers": 0},
    {"use_sliding_window": True, "max_window_layers": 2, "sliding_window": ABSENT},
    {"use_sliding_window": True, "sliding_window": 5, "layer_types": KINDS},
]
UNIFORM: list[Config] = [{"sliding_window": 5}, {"sliding_window": None}, {"sliding_window": ABSENT}]
MIXED: list[Config] = [
    {"decoder_sparse_step": 2},
    {"mlp_only_layers": [1]},
    {"mlp_only_layers": [0, 2, 9, -1], "decoder_sparse_step": 1},
    {"mlp_only_layers": [0, 1, 2]},
    {"num_experts": 0},
    {"num_experts": 7, "num_experts_per_tok": 7},
    {"moe_intermediate_size": 3},
]
CHOSEN: dict[str, list[Config]] = {
    "llama": [
        *SHAPES,
        *GROUPED,
        *DERIVED_HEADS,
        *BIASES,
        {"attention_bias": True, "mlp_bias": True},
        {"num_key_value_heads": None, "head_dim": None},
        {"sliding_window": None, "layer_types": None, "auto_map": {"AutoModelForCausalLM": "modeling_x.X"}},
    ],
    "mistral": [*SHAPES, *GROUPED, *DERIVED_HEADS, *UNIFORM, {"attention_bias": True}],
    "mixtral": [
        *SHAPES,
        *GROUPED,
        *DERIVED_HEADS,
        *UNIFORM,
        {"num_local_experts": ABSENT},
        {"num_experts": 3},
        {"num_experts_per_tok": 1},
    ],
    "gemma": [*SHAPES, *GROUPED, *BIASES, {"head_dim": ABSENT}, {"hidden_act": "gelu"}],
    "gemma2": [
        *SHAPES,
        *GROUPED[:4],
        *BIASES,
        *UNIFORM[::2],
        {"layer_types": KINDS, "sliding_window": 5},
        {"layer_types": ["full_attention"] * 3, "sliding_window": None},
        {"layer_types": ["attention", "sliding_attention", "attention"]},
        {"attn_logit_softcapping": None},
    ],
    "phi3": [*SHAPES, *GROUPED, *DERIVED_HEADS, *UNIFORM, {"partial_rotary_factor": 0.5}],
    "qwen2": [*SHAPES, *GROUPED, *DERIVED_HEADS, *LATE, {"attention_bias": False}],
    "qwen3": [*SHAPES, *GROUPED, *LATE, *BIASES, {"head_dim": ABSENT}],
    "qwen2_moe": [
        *SHAPES,
        *GROUPED,
        *DERIVED_HEADS,
        *LATE[:2],
        *LATE[3:],
        *MIXED,
        {"qkv_bias": False},
        {"shared_expert_intermediate_size": 3},
        {"num_experts": ABSENT, "moe_intermediate_size": ABSENT, "shared_expert_intermediate_size": ABSENT},
    ],
    "qwen3_moe": [
        *SHAPES,
        *GROUPED,
        *DERIVED_HEADS,
        *MIXED,
        *BIASES,
        {"use_sliding_window": True, "sliding_window": 5},
        {"use_sliding_window": False, "sliding_window": 5},
        {"num_experts": ABSENT, "num_local_experts": 6},
        {"num_experts": 4, "num_local_experts": 6},
    ],
    "gpt2": [
        *SHAPES,
        {"n_inner": 12},
        {"n_inner": None},
        {"n_positions": 9},
        {"n_embd": 48, "n_head": 2},
        {"hidden_size": 64, "n_embd": 32},
        {"n_head": ABSENT, "n_embd": 24},
        {"num_key_value_heads": 2},
    ],
    "gpt_neox": [
        *SHAPES,
        *BIASES,
        {"use_parallel_residual": False},
        {"intermediate_size": 9},
        {"rotary_pct": 0.5},
        {"num_key_value_heads": 2},
        {"head_dim": None},
    ],
    "falcon": [
        *SHAPES,
        {"bias": True},
        {"alibi": None},
        {"multi_query": False},
        {"multi_query": False, "num_kv_heads": 4},
        {"parallel_attn": False},
        {"parallel_attn": False, "num_ln_in_parallel_attn": 2},
        {"num_ln_in_parallel_attn": 1},
        {"new_decoder_architecture": True},
        {"new_decoder_architecture": True, "num_kv_heads": 2},
        {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
        {"ffn_hidden_size": 20},
        {"n_embed": 48},
        {"bias": None, "multi_query": None, "num_kv_heads": None},
    ],
}


def config_of(model_type: str, changes: Config) -> Config:
    config = {"model_type": model_type, **BASES[model_type], **changes}
    return {key: value for key, value in config.items() if value is not ABSENT}


# Without transformers


@pytest.mark.parametrize("model", TABLE["models"], ids=lambda model: model["id"])
def test_counts_the_parameters_of_published_models(model: Config) -> None:
    assert architecture(model["config"]).parameters == model["parameters"]


def test_every_family_is_in_the_table_of_published_models() -> None:
    assert {model["config"]["model_type"] for model in TABLE["models"]} == {*FAMILIES}


def test_one_token_passes_through_its_experts_only() -> None:
    mixtral = architecture(BY_ID["mistralai/Mixtral-8x7B-v0.1"]["config"])
    idle = 32 * 6 * 3 * 4096 * 14336  # six of eight experts, three projections, in each of 32 layers
    assert mixtral.active_parameters == mixtral.parameters - idle


# With transformers: it decides


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    pytest.importorskip("torch")
    module: ModuleType = pytest.importorskip("transformers", minversion="5")
    return module


def built(transformers: ModuleType, config: Config) -> tuple[object, ...]:
    """What transformers makes of a config: weights by name and shape, windows, and the sizes that we report."""
    made = transformers.AutoConfig.for_model(**config)
    with pytest.importorskip("torch").device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(made)
    weights = Counter((re.sub(r"\.\d+\.", ".*.", name), tuple(p.shape)) for name, p in model.named_parameters())
    kinds, options = transformers.cache_utils.get_layer_types_and_kwargs(model.config)
    assert {*kinds} <= {"full_attention", "sliding_attention"}
    windows = Counter(kwargs.get("sliding_window") for kwargs in options)
    sizes = (made.hidden_size, made.vocab_size, made.max_position_embeddings, made.num_hidden_layers)
    return type(model).__name__, weights, windows, sizes


def ours(network: Architecture) -> tuple[object, ...]:
    weights = Counter({(tensor.name, tensor.shape): tensor.copies for tensor in network.tensors})
    windows = Counter({group.window: group.layers for group in network.attention})
    return network.name, weights, windows, (network.hidden, network.vocab, network.context, network.layers)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_default_config_is_what_transformers_builds(transformers: ModuleType, model_type: str) -> None:
    config = {"model_type": model_type}
    assert ours(architecture(config)) == built(transformers, config)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_chosen_configs_are_what_transformers_builds(transformers: ModuleType, model_type: str) -> None:
    assert len(CHOSEN[model_type]) >= 15
    for changes in CHOSEN[model_type]:
        config = config_of(model_type, changes)
        assert ours(architecture(config)) == built(transformers, config), changes


def perturbations(model_type: str) -> SearchStrategy[Config]:
    """Changes of one family: one of its chosen ones or none, under random sizes and switches."""
    sizes = st.sampled_from([1, 2, 3, 6, 16, 64])
    heads = st.sampled_from([(1, 1), (2, 1), (4, 2), (4, 4), (8, 2)])
    known = FAMILIES[model_type].defaults
    scalars: dict[str, SearchStrategy[object]] = {
        "vocab_size": st.integers(2, 99),
        "hidden_size": st.sampled_from([16, 32, 48, 64]),
        "intermediate_size": sizes,
        "moe_intermediate_size": sizes,
        "shared_expert_intermediate_size": sizes,
        "head_dim": st.sampled_from([2, 8, 10, ABSENT]),
        "max_position_embeddings": sizes,
        "tie_word_embeddings": st.booleans(),
        "attention_bias": st.booleans(),
        "mlp_bias": st.booleans(),
        "qkv_bias": st.booleans(),
        "bias": st.booleans(),
        "sliding_window": st.sampled_from([2, 5, 16, ABSENT]),
        "use_sliding_window": st.booleans(),
        "max_window_layers": st.integers(0, 4),
        "decoder_sparse_step": st.integers(1, 4),
        "mlp_only_layers": st.lists(st.integers(0, 4), max_size=3),
        "num_experts": st.integers(2, 5),
        "ffn_hidden_size": sizes,
        "n_inner": sizes,
    }
    own_heads = "num_key_value_heads" in known  # elsewhere head_dim must follow from the number of heads
    mine = {key: value for key, value in scalars.items() if key in known and (own_heads or key != "head_dim")}

    def merge(parts: tuple[list[Config], Config, tuple[int, int], int]) -> Config:
        chosen, drawn, (queries, keys), layers = parts
        grouped: Config = {"num_attention_heads": queries, "num_key_value_heads": keys, "num_hidden_layers": layers}
        merged = {key: value for changes in chosen for key, value in changes.items()}
        # A list of layers or a number of key heads fits the base's sizes only.
        return merged if {*merged} & {"layer_types", "num_kv_heads"} else {**merged, **drawn, **grouped}

    some = st.lists(st.sampled_from(CHOSEN[model_type]), max_size=1)
    return st.tuples(some, st.fixed_dictionaries({}, optional=mine), heads, st.integers(1, 6)).map(merge)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_perturbed_configs_are_exact_and_seldom_unproven(transformers: ModuleType, model_type: str) -> None:
    outcomes: Counter[str] = Counter()

    @given(perturbations(model_type))
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def judge(changes: Config) -> None:
        config = config_of(model_type, changes)
        try:
            theirs = built(transformers, config)
        except Exception:  # noqa: BLE001 - whatever makes transformers refuse a config
            outcomes["not accepted by transformers"] += 1
            return
        try:
            network = architecture(config)
        except UnprovenError:
            outcomes["unproven"] += 1
            return
        outcomes["exact"] += 1
        assert ours(network) == theirs

    judge()
    accepted = outcomes["exact"] + outcomes["unproven"]
    assert accepted >= 30, outcomes
    assert outcomes["unproven"] * 20 < accepted, outcomes


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_defaults_are_those_of_the_config_class(transformers: ModuleType, model_type: str) -> None:
    """Value of each default, and whether the class allows null."""
    family = FAMILIES[model_type]
    fields = {field.name: field for field in dataclasses.fields(transformers.CONFIG_MAPPING[model_type])}
    for key, default in family.defaults.items():
        name = next((name for name in family.spellings.get(key, (key,)) if name in fields), None)
        if name is None:
            assert (key, default) == ("head_dim", Nullable())  # read by the attention, declared by no class
            continue
        plain, nullable = (default.default, True) if isinstance(default, Nullable) else (default, False)
        assert (fields[name].default, "None" in str(fields[name].type)) == (plain, nullable), key


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_only_one_class_can_be_meant_where_none_is_named(transformers: ModuleType, model_type: str) -> None:
    mappings = transformers.models.auto.modeling_auto
    assert mappings.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type] == FAMILIES[model_type].name
    assert model_type not in mappings.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    assert model_type not in mappings.MODEL_FOR_MASKED_LM_MAPPING_NAMES


# Keys that transformers' modelling code reads, and that change neither a weight nor the cache.
INERT = re.compile(
    r"_attn_implementation|_is_quantized|activation\w*|hidden_act\w*|\w*dropout|\w*pdrop|\w*_eps|layer_norm_epsilon"
    r"|initializer_range|rope_parameters|original_max_position_embeddings|\w+_logit_softcapping|query_pre_attn_scalar"
    r"|scale_attn_\w+|norm_topk_prob|router_aux_loss_coef|router_jitter_noise"
    r"|pad_token_id|dtype|return_dict|use_cache|num_labels|problem_type|summary_\w+"
)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_no_key_of_the_modelling_code_is_overlooked(transformers: ModuleType, model_type: str) -> None:
    """A newer transformers that reads a key unknown to us makes this fail."""
    source = inspect.getsource(sys.modules[getattr(transformers, FAMILIES[model_type].name).__module__])
    code = re.sub(r'"""(.|\n)*?"""|^\s*#.*$', "", source, flags=re.MULTILINE)
    read = {*re.findall(r"\bconfig\.(\w+)", code), *re.findall(r'attr\((?:self\.)?config, "(\w+)"', code)}
    family = FAMILIES[model_type]
    known = {name for key in family.defaults for name in family.spellings.get(key, (key,))}
    assert [key for key in sorted(read - known - {*SWITCHES}) if not INERT.fullmatch(key)] == []
