"""The bound on activations: above transformers' own forward pass, close to it, and never falling."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import perturb

from vramguard.memory import moments
from vramguard.memory.activation import IMPLEMENTATIONS, Prefill, activations, default_implementation
from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import architecture, recorded

FOLDER = Path(moments.__file__).with_name("recorded")
FILES = sorted(path.stem for path in FOLDER.glob("*.json"))
TABLE = Path(__file__).with_name("recorded_activations.json")
ROWS: list[dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))["rows"]
RUNS = [(row, run) for row in ROWS for run in row["runs"]]
LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_hidden_layers": 2,
    "vocab_size": 128256,
    "max_position_embeddings": 32768,
}
LOOSEST = 1.5


def prefill(config: dict[str, Any], tokens: int, sequences: int = 1, implementation: str | None = None) -> Prefill:
    network = architecture(config)
    return Prefill(network, tokens, sequences, 2, implementation or default_implementation(network))


def upper(run: Prefill, *, cuda: bool = True) -> int:
    """Sum of the rows; without CUDA's own where a CPU trace is the other side."""
    return sum(term.upper_bytes for term in activations(run) if cuda or "/cuda_" not in term.name)


def config_of(file: str, layers: int = 6) -> dict[str, Any]:
    model_type, _, name = file.rpartition(".")
    config: dict[str, Any] = perturb.shallow(perturb.base(model_type, name), layers)
    return config


# Without torch: what was traced when the table was written


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['model_type']}.{row['class']}")
def test_bounds_what_was_traced(row: dict[str, Any]) -> None:
    config = perturb.shallow(perturb.base(row["model_type"], row["class"]), 6)
    for kernel, tokens, sequences, traced, _ in row["runs"]:
        bound = upper(prefill(config, tokens, sequences, kernel), cuda=False)
        assert traced <= bound <= max(LOOSEST * traced, _sampling(config, tokens, sequences))


def _sampling(config: dict[str, Any], tokens: int, sequences: int) -> int:
    """What generate() takes after the pass, which no trace of the pass alone shows, and the prompt's ids."""
    network = architecture(config)
    return sequences * (tokens * (4 * network.hidden + 64) + 64 * network.vocab)


def test_is_close_to_what_was_traced() -> None:
    ratios = [bound / traced for row in ROWS for *_, traced, bound in row["runs"]]
    assert len(ratios) > 400
    assert median(ratios) <= 1.15


def test_every_recorded_class_is_in_the_table() -> None:
    assert {f"{row['model_type']}.{row['class']}" for row in ROWS} >= {*FILES}


# Without torch: what must hold of any formula


@given(
    file=st.sampled_from(FILES),
    tokens=st.integers(1, 40_000),
    more_tokens=st.integers(0, 40_000),
    sequences=st.integers(1, 8),
    more_sequences=st.integers(0, 8),
    implementation=st.sampled_from(IMPLEMENTATIONS),
    fused=st.booleans(),
    grouped=st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_monotone(
    file: str,
    tokens: int,
    more_tokens: int,
    sequences: int,
    more_sequences: int,
    implementation: str,
    *,
    fused: bool,
    grouped: bool,
) -> None:
    small = prefill(config_of(file), tokens, sequences, implementation)
    small = replace(small, fused_kernels=fused, grouped_kernels=grouped)
    large = replace(small, tokens=tokens + more_tokens, sequences=sequences + more_sequences)
    try:
        least, most = upper(small), upper(large)
    except UnprovenError:  # a kernel or a batch that the class does not run with, or that was not recorded
        assume(False)
        raise
    assert least <= most
    assert upper(small, cuda=False) <= upper(large, cuda=False)
    if implementation != "flash_attention_2":
        assert upper(small, cuda=False) <= upper(replace(small, element_bytes=4), cuda=False)


@pytest.mark.parametrize("file", FILES)
def test_no_coefficient_is_negative_and_every_name_is_known(file: str) -> None:
    model_type, _, name = file.rpartition(".")
    row = moments.load(model_type, name).row
    assert row["transformers"] == recorded()["transformers"]
    for moment in moments.everything(row) if "variants" in row else ():
        assert all(coefficient > 0 for coefficient, _ in moment.terms)


def test_card_without_kernels_needs_more() -> None:
    run = prefill(LLAMA, 4096)
    square = 32 * 4096 * 4096
    assert upper(replace(run, grouped_kernels=False)) >= upper(run) + 13 * square
    assert upper(replace(run, fused_kernels=False)) >= upper(run) + 13 * square


def test_wide_heads_have_no_flash_kernel() -> None:
    """Beyond 256 keys are repeated and the memory-efficient kernel accumulates its output in float32."""
    narrow, wide = (prefill(LLAMA | {"head_dim": head_dim, "intermediate_size": 8}, 4096) for head_dim in (256, 512))
    assert upper(wide) >= upper(narrow) + 4096 * 32 * (256 * 2 * 4 + 512 * 4)


def test_other_activation_functions_need_more() -> None:
    wide = LLAMA | {"intermediate_size": 65536}
    silu, gelu, fast = (upper(prefill(wide | {"hidden_act": act}, 4096)) for act in ("silu", "gelu", "gelu_fast"))
    assert silu == gelu < fast


@pytest.mark.parametrize(
    ("changes", "implementation", "message"),
    [
        ({"model_type": "gemma2"}, "sdpa", "does not run Gemma2ForCausalLM"),
        ({}, "flex_attention", "flex_attention is not supported"),
    ],
)
def test_refused(changes: dict[str, Any], implementation: str, message: str) -> None:
    with pytest.raises(UnprovenError, match=message):
        activations(prefill(LLAMA | changes, 128, 1, implementation))


def test_flash_attention_needs_half_precision() -> None:
    with pytest.raises(UnprovenError, match="needs float16"):
        activations(replace(prefill(LLAMA, 128, 1, "flash_attention_2"), element_bytes=4))


def test_a_class_that_was_not_recorded_is_refused() -> None:
    run = prefill(LLAMA, 128)
    with pytest.raises(UnprovenError, match="not recorded"):
        activations(replace(run, architecture=replace(run.architecture, model_type="llama9")))
    with pytest.raises(UnprovenError, match="not recorded for: strange"):
        activations(replace(run, architecture=replace(run.architecture, variant="strange")))


def test_a_batch_that_transformers_does_not_run_is_unknown() -> None:
    omni = perturb.base("qwen2_5_omni_thinker", "Qwen2_5OmniThinkerForConditionalGeneration")
    assert upper(prefill(omni, 128)) > 0
    with pytest.raises(UnprovenError, match="not recorded for a padded batch"):
        activations(prefill(omni, 128, 2))


def test_as_many_streams_as_were_recorded() -> None:
    gemma = perturb.base("gemma3n_text", "Gemma3nForCausalLM")
    assert upper(prefill(gemma | {"altup_num_inputs": 4}, 128)) == upper(prefill(gemma, 128))
    with pytest.raises(UnprovenError, match="not recorded for: 8 streams"):
        activations(prefill(gemma | {"altup_num_inputs": 8}, 128))


def test_blocks_and_entries_grow_with_the_prompt() -> None:
    """MiniMax loops over blocks of 256 tokens; DeepSeek V4 keeps an entry for every 4 and for every 128."""
    for file in ("minimax.MiniMaxForCausalLM", "deepseek_v4.DeepseekV4ForCausalLM"):
        config = config_of(file)
        bounds = [upper(prefill(config, tokens), cuda=False) for tokens in (100, 256, 257, 512, 4096)]
        assert bounds == sorted(bounds)
        assert bounds[-1] > 7 * bounds[-2]


def test_other_rates_of_entries_than_were_recorded_are_unknown() -> None:
    config = perturb.base("deepseek_v4", "DeepseekV4ForCausalLM") | {"compress_rate_csa": 8}
    with pytest.raises(UnprovenError, match="not recorded for: 8 tokens an entry"):
        activations(prefill(config, 128))


def test_more_of_a_head_rotated_than_was_recorded_is_unknown() -> None:
    glm = perturb.base("glm", "GlmForCausalLM")
    for share in (0.25, 0.5):
        assert upper(prefill(glm | {"partial_rotary_factor": share}, 128)) == upper(prefill(glm, 128))
    for rope in (
        {"partial_rotary_factor": 1.0},
        {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.75}},
    ):
        with pytest.raises(UnprovenError, match="not recorded for: rotary"):
            activations(prefill(glm | rope, 128))


def test_one_width_for_each_layer_counts_the_widest() -> None:
    gemma = perturb.base("gemma3n_text", "Gemma3nForCausalLM") | {"num_hidden_layers": 5, "num_kv_shared_layers": 0}
    narrow, mixed, wide = (
        upper(prefill(gemma | {"intermediate_size": widths}, 512))
        for widths in (65536, [65536, 131072, 65536, 65536, 65536], 131072)
    )
    assert narrow < mixed == wide


# With transformers: it decides

TODAY = datetime.now(tz=UTC).date().toordinal()


@pytest.mark.parametrize("file", FILES[TODAY % 15 :: 15])
def test_bounds_the_forward_pass_of_todays_share(file: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    import activation_table

    model_type, _, name = file.rpartition(".")
    row = activation_table.judged(model_type, name)
    assert row["runs"], row
    assert [run for run in row["runs"] if run[3] > run[4]] == []


@pytest.mark.parametrize("file", FILES[TODAY % 15 :: 15])
@pytest.mark.parametrize("seed", range(2))
def test_bounds_the_forward_pass_of_perturbed_configs(file: str, seed: int) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from vramguard.trace.forward import trace
    from vramguard.trace.record import TraceError

    model_type, _, name = file.rpartition(".")
    config = perturb.perturbed(model_type, name, f"activation {seed}")
    for tokens, sequences in ((61, 1), (300, 3)):
        try:
            bound = upper(prefill(config, tokens, sequences), cuda=False)
            traced = trace(config, tokens, sequences).activation_bytes
        except (UnprovenError, TraceError):
            continue
        assert traced <= bound, config


@pytest.mark.parametrize("file", FILES[TODAY % 45 :: 45])
def test_every_size_that_matters_is_a_name_in_the_formulas(file: str) -> None:
    """One that the recording could not change would be a constant in them, or have another size in its place."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from vramguard.trace.forward import trace
    from vramguard.trace.record import TraceError

    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    from recorder.samples import resized

    for _, config in resized(config_of(file, 4)):
        try:
            bound = upper(prefill(config, 61), cuda=False)
            traced = trace(config, 61, implementation=default_implementation(architecture(config))).activation_bytes
        except (UnprovenError, TraceError):
            continue
        assert traced <= bound, config
