"""The recorded scoreboard: what scoreboard.py found for every class, and the counts that are reported."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vramguard.memory.cache import cache_bytes
from vramguard.memory.families import recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.memory.architecture import Architecture

TABLE = Path(__file__).with_name("recorded_scoreboard.json")
# One class: model_type, class, instantiates (by its default config alone), default (exact, unknown, wrong or refused by
# transformers), parameters (ours, where exact), reason (where not exact), perturbed (counts by outcome), built (of each
# perturbed config what `built` says, null where it is not exact) and cache (exact, none, wrong, not traced; null where
# the weights are not exact). A reason is also that of an untraced cache.
Row = dict[str, Any]
SEED = "0"  # of the perturbed configs in the table

MAPPINGS = {"causal-lm": "causal LM", "seq2seq-lm": "seq2seq", "image-text-to-text": "image-text-to-text"}
OTHERS = {"masked-lm": "masked LM", "speech-seq2seq": "speech seq2seq"}
OUTCOMES = ("exact", "unknown", "wrong", "refused")
# What the issue asks for by name. Pixtral is a tower: of llava with that vision_config.
_NAMED = """
llama llama4 llama4_text mllama mistral ministral3 mistral3 mixtral qwen2 qwen2_moe qwen2_vl qwen2_5_vl qwen3
qwen3_moe qwen3_vl qwen3_vl_moe qwen3_next qwen3_5 qwen3_5_moe gemma gemma2 gemma3 gemma3n gemma4 phi phi3 phimoe
phi4_multimodal gpt2 gpt_neo gpt_neox gptj gpt_bigcode starcoder2 codegen opt bloom falcon mpt stablelm cohere cohere2
deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v4 glm glm4 glm4_moe glm_moe_dsa glm4v gpt_oss granite granitemoe
granitemoeshared granitemoehybrid jamba bamba mamba mamba2 falcon_mamba falcon_h1 zamba2 nemotron nemotron_h olmo
olmo2 olmo3 olmoe exaone4 internlm3 smollm3 lfm2 lfm2_moe minimax minimax_m2 kimi_linear ernie4_5 ernie4_5_moe
hunyuan_v1_dense hunyuan_v1_moe dots1 seed_oss apertus arcee bitnet helium recurrent_gemma minicpm3 longcat_flash
mimo_v2_flash bailing_hybrid t5 mt5 umt5 bart mbart pegasus m2m_100 nllb-moe whisper llava llava_next llava_onevision
idefics3 smolvlm paligemma internvl aya_vision bert roberta xlm-roberta modernbert distilbert deberta-v2
"""
NAMED = tuple(_NAMED.split())


def pairs() -> list[tuple[str, str]]:
    """(model type, class) of every mapping, each once."""
    return [(model_type, name) for name, row in recorded()["classes"].items() for model_type in row["types"]]


# Of each mechanism one or two: full, sliding, chunked and latent attention, learned and biased positions, experts, an
# encoder, states.
_SAMPLE = (
    *("LlamaForCausalLM", "MistralForCausalLM", "Gemma2ForCausalLM", "Phi3ForCausalLM", "GPT2LMHeadModel"),
    *("GPTJForCausalLM", "BloomForCausalLM", "FalconForCausalLM", "MixtralForCausalLM", "Qwen3MoeForCausalLM"),
    *("DeepseekV2ForCausalLM", "Llama4ForCausalLM", "T5ForConditionalGeneration"),
    *("WhisperForConditionalGeneration", "MambaForCausalLM", "Mamba2ForCausalLM", "FalconH1ForCausalLM"),
    *("Qwen3NextForCausalLM", "Lfm2ForCausalLM"),
)
_ALIASES = ("gpt-sw3", "llama4", "internlm3", "iquestcoder")  # other model types of those classes
SAMPLE = [(kind, name) for kind, name in pairs() if name in _SAMPLE and kind not in _ALIASES]


def mapped(row: Row) -> list[str]:
    """Mappings that name the class for the model type."""
    tasks: list[str] = recorded()["classes"][row["class"]]["types"][row["model_type"]]
    return tasks


def built(network: Architecture) -> list[int]:
    """Parameters of a network, and bytes of its cache after a prompt of three sequences: it is what it was."""
    return [network.parameters, sum(group.storage.bytes for group in cache_bytes(network, 300, 3, 16))]


def read() -> list[Row]:
    """Rows of the table; none where it was never written."""
    if not TABLE.exists():
        return []
    rows: list[Row] = json.loads(TABLE.read_text(encoding="utf-8"))["classes"]
    return rows


def write(rows: Iterable[Row], transformers: str, date: str) -> None:
    """Write the table, a class a line."""
    lines = ",\n".join(json.dumps(row) for row in sorted(rows, key=lambda row: (row["model_type"], row["class"])))
    head = f'{{\n"transformers": "{transformers}",\n"date": "{date}",\n"classes": [\n'
    TABLE.write_text(f"{head}{lines}\n]\n}}\n", encoding="utf-8")


def summary(rows: list[Row]) -> Iterator[str]:
    """Counts that are reported, a line each."""
    entries = [row for row in rows for task in mapped(row) if task in MAPPINGS]
    made = [row for row in entries if row["instantiates"]]
    types = {row["model_type"] for row in made}
    yield (
        f"the mappings of {', '.join(MAPPINGS.values())}: {len(entries)} entries, "
        f"{len(made)} instantiate by default, {len(types)} distinct types"
    )
    for task, title in (MAPPINGS | OTHERS).items():
        yield f"{title}: {_counted(row['default'] for row in rows if task in mapped(row))}"
    exact = {row["model_type"] for row in entries if row["default"] == "exact"}
    yield f"model types of the first three with an exact class: {len(exact)}"
    perturbed: Counter[str] = Counter()
    for row in rows:
        perturbed.update(row["perturbed"])
    accepted = sum(perturbed[outcome] for outcome in OUTCOMES[:3])
    yield f"perturbed: {_counted(perturbed.elements())} ({share_exact(perturbed):.1%} exact of {accepted} accepted)"
    yield f"caches: {_counted(str(row['cache']) for row in rows if row['cache'])}"
    short, judged = not_exact(rows), {row["model_type"] for row in rows}
    yield f"named in the issue: {len(NAMED) - len(short)} of {len(NAMED)} exact"
    for kind in short:
        if kind in judged:
            yield f"    not exact: {kind}"
    if missing := {*short} - judged:
        yield f"    not judged: {len(missing)}"


def share_exact(perturbed: Counter[str]) -> float:
    """Share of the perturbed configs that transformers accepts which are exact."""
    accepted = sum(perturbed[outcome] for outcome in OUTCOMES[:3])
    return perturbed["exact"] / accepted if accepted else 1.0


def not_exact(rows: list[Row]) -> list[str]:
    """Named types of which a class that was judged is not exact, or none was judged."""
    outcomes = {kind: {row["default"] for row in rows if row["model_type"] == kind} for kind in NAMED}
    return [kind for kind, found in outcomes.items() if found != {"exact"}]


def _counted(outcomes: Iterable[str]) -> str:
    counts = Counter(outcomes)
    known = (*OUTCOMES, *sorted({*counts} - {*OUTCOMES}))
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in known if counts[outcome]) or "none"
