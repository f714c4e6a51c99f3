"""Write tests/memory/recorded_parameters.json: the parameters that transformers counts for published models.

Run it where torch and transformers are installed. Models are built on the meta device: nothing is downloaded, no weight
is allocated. `MODELS` holds, for each hub id, the keys of its config.json that decide a shape or the cache.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

TABLE = Path(__file__).parents[1] / "tests" / "memory" / "recorded_parameters.json"

# What the numbers of a line below stand for, in this order; a line may leave the last ones to their defaults.
COLUMNS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)


def _config(model_type: str, numbers: tuple[int, ...], **more: object) -> dict[str, object]:
    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]
    return {"architectures": [name], "model_type": model_type, **dict(zip(COLUMNS, numbers, strict=False)), **more}


MODELS = {
    "meta-llama/Llama-2-7b-hf": _config("llama", (4096, 32, 32, 32, 11008, 32000, 4096)),
    "meta-llama/Llama-2-70b-hf": _config("llama", (8192, 80, 64, 8, 28672, 32000, 4096)),
    "meta-llama/Llama-3.1-8B": _config("llama", (4096, 32, 32, 8, 14336, 128256, 131072)),
    "meta-llama/Llama-3.1-70B": _config("llama", (8192, 80, 64, 8, 28672, 128256, 131072)),
    "meta-llama/Llama-3.1-405B": _config("llama", (16384, 126, 128, 8, 53248, 128256, 131072)),
    "meta-llama/Llama-3.2-1B": _config(
        "llama", (2048, 16, 32, 8, 8192, 128256, 131072), head_dim=64, tie_word_embeddings=True
    ),
    "mistralai/Mistral-7B-v0.1": _config("mistral", (4096, 32, 32, 8, 14336, 32000, 32768), sliding_window=4096),
    "mistralai/Mistral-7B-v0.3": _config("mistral", (4096, 32, 32, 8, 14336, 32768, 32768), sliding_window=None),
    "mistralai/Mistral-Nemo-Base-2407": _config(
        "mistral", (5120, 40, 32, 8, 14336, 131072), head_dim=128, sliding_window=None
    ),
    "mistralai/Mixtral-8x7B-v0.1": _config(
        "mixtral",
        (4096, 32, 32, 8, 14336, 32000, 32768),
        num_local_experts=8,
        num_experts_per_tok=2,
        sliding_window=None,
    ),
    "mistralai/Mixtral-8x22B-v0.1": _config(
        "mixtral",
        (6144, 56, 48, 8, 16384, 32000, 65536),
        num_local_experts=8,
        num_experts_per_tok=2,
        sliding_window=None,
    ),
    "Qwen/Qwen2-0.5B": _config(
        "qwen2", (896, 24, 14, 2, 4864, 151936, 131072), use_sliding_window=False, tie_word_embeddings=True
    ),
    "Qwen/Qwen2-7B": _config("qwen2", (3584, 28, 28, 4, 18944, 152064, 131072), use_sliding_window=False),
    "Qwen/Qwen1.5-MoE-A2.7B": _config(
        "qwen2_moe",
        (2048, 24, 16, 16, 5632, 151936, 8192),
        num_experts=60,
        num_experts_per_tok=4,
        moe_intermediate_size=1408,
        shared_expert_intermediate_size=5632,
        decoder_sparse_step=1,
    ),
    "Qwen/Qwen3-8B": _config("qwen3", (4096, 36, 32, 8, 12288, 151936, 40960), head_dim=128),
    "Qwen/Qwen3-30B-A3B": _config(
        "qwen3_moe",
        (2048, 48, 32, 4, 6144, 151936, 40960),
        head_dim=128,
        num_experts=128,
        num_experts_per_tok=8,
        moe_intermediate_size=768,
        decoder_sparse_step=1,
        mlp_only_layers=[],
    ),
    "google/gemma-2b": _config("gemma", (2048, 18, 8, 1, 16384, 256000, 8192), head_dim=256),
    "google/gemma-7b": _config("gemma", (3072, 28, 16, 16, 24576, 256000, 8192), head_dim=256),
    "google/gemma-2-2b": _config("gemma2", (2304, 26, 8, 4, 9216, 256000, 8192), head_dim=256, sliding_window=4096),
    "google/gemma-2-9b": _config("gemma2", (3584, 42, 16, 8, 14336, 256000, 8192), head_dim=256, sliding_window=4096),
    "google/gemma-2-27b": _config("gemma2", (4608, 46, 32, 16, 36864, 256000, 8192), head_dim=128, sliding_window=4096),
    "microsoft/Phi-3-mini-4k-instruct": _config("phi3", (3072, 32, 32, 32, 8192, 32064, 4096), sliding_window=2047),
    "microsoft/Phi-3-medium-4k-instruct": _config("phi3", (5120, 40, 40, 10, 17920, 32064, 4096), sliding_window=2047),
    "openai-community/gpt2": _config("gpt2", (), n_embd=768, n_layer=12, n_head=12, n_positions=1024, vocab_size=50257),
    "openai-community/gpt2-medium": _config(
        "gpt2", (), n_embd=1024, n_layer=24, n_head=16, n_positions=1024, vocab_size=50257
    ),
    "openai-community/gpt2-large": _config(
        "gpt2", (), n_embd=1280, n_layer=36, n_head=20, n_positions=1024, vocab_size=50257
    ),
    "openai-community/gpt2-xl": _config(
        "gpt2", (), n_embd=1600, n_layer=48, n_head=25, n_positions=1024, vocab_size=50257
    ),
    "EleutherAI/pythia-6.9b": _config(
        "gpt_neox",
        (),
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        intermediate_size=16384,
        vocab_size=50432,
        max_position_embeddings=2048,
    ),
    "EleutherAI/gpt-neox-20b": _config(
        "gpt_neox",
        (),
        hidden_size=6144,
        num_hidden_layers=44,
        num_attention_heads=64,
        intermediate_size=24576,
        vocab_size=50432,
        max_position_embeddings=2048,
    ),
    "tiiuae/falcon-7b": _config(
        "falcon",
        (),
        hidden_size=4544,
        num_hidden_layers=32,
        num_attention_heads=71,
        vocab_size=65024,
        alibi=False,
        bias=False,
        parallel_attn=True,
        multi_query=True,
        new_decoder_architecture=False,
        num_kv_heads=71,
    ),
    "tiiuae/falcon-40b": _config(
        "falcon",
        (),
        hidden_size=8192,
        num_hidden_layers=60,
        num_attention_heads=128,
        vocab_size=65024,
        alibi=False,
        bias=False,
        parallel_attn=True,
        multi_query=True,
        new_decoder_architecture=True,
        num_kv_heads=8,
    ),
}


def count(config: dict[str, object]) -> int:
    """Parameters of the config's causal class, tied ones once."""
    settings = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(settings)
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    """Ask transformers and write the table."""
    models = [{"id": name, "parameters": count(config), "config": config} for name, config in MODELS.items()]
    table = {
        "transformers": transformers.__version__,
        "date": datetime.now(tz=UTC).date().isoformat(),
        "models": models,
    }
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(f"{len(models)} models written to {TABLE}")


if __name__ == "__main__":
    main()
