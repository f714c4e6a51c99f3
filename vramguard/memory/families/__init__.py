"""From a Hugging Face config to the network that transformers would build: which class, and whether we know it.

A module of this folder has up to two tables: `CLASSES`, from the name of a class to the builder of its network, and
`BODIES`, from a model type to the builder of its base model, for those that serve as a part of others (the text model
or the tower of a vision-language model). What a module holds is listed here, so that only the one asked for is loaded.

Nothing may stand in the config that changes any network and that no builder has read: what transformers knows and we do
not is UNKNOWN, by its key.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import Architecture, Attention, Cache, UnprovenError
from vramguard.memory.families.fields import Fields, shown
from vramguard.memory.families.refusals import refuse, refuse_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vramguard.memory.families.blocks import Body, Network

__all__ = [
    "ACTIVATION_KEYS",
    "MODULES",
    "architecture",
    "body_of",
    "classes_of",
    "network_of",
    "recorded",
    "tasks_of",
]

# Module -> the model types that it knows.
_HOLDS: Final = {
    "t5gemma2": "t5gemma2",
    "nemotron_audio": "nemo_speechlm",
    "composed": "encoder-decoder vision-encoder-decoder speech-encoder-decoder",
    "dots3_towers": "dots3_note dots3_note_vision_encoder dots3_note_audio_encoder",
    "moshi": "moshi",
    "dbrx": "dbrx",
    "seamless": "seamless_m4t seamless_m4t_v2",
    "wav2vec2": "wav2vec2 speecht5",
    "xlm": "xlm flaubert xlnet funnel",
    "reformer": "reformer perceiver",
    "git": "git git_vision_model",
    "blt": "blt",
    "efficient": "roformer big_bird nystromformer yoso mra fnet squeezebert convbert mobilebert",
    "audio_language": "qwen2_audio voxtral voxtral_realtime audioflamingo3 musicflamingo granite_speech "
    "granite_speech_plus vibevoice_asr glmasr qwen3_asr moss_transcribe_diarize",
    "audio": "qwen2_audio_encoder voxtral_encoder audioflamingo3_encoder moss_transcribe_diarize_audio glmasr_encoder "
    "qwen3_asr_encoder granite_speech_encoder granite_speech_plus_encoder vibevoice_acoustic_tokenizer_encoder "
    "blip_2_qformer",
    "deepseek_v4": "deepseek_v4",
    "deberta": "deberta deberta-v2",
    "modernbert": "modernbert eurobert ultrabert esmc nomic_bert gte jina_embeddings_v3 neomme modernvbert ultravbert",
    "whisper": "whisper speech_to_text moonshine moonshine_streaming",
    "prophetnet": "prophetnet",
    "inkling": "inkling_text inkling2_text",
    "zaya": "zaya",
    "dots3": "dots3_note_text",
    "minimax_m3": "minimax_m3_vl_text",
    "translation": "m2m_100 nllb-moe marian fsmt",
    "hyper": "hy_v4",
    "jetmoe": "jetmoe",
    "longcat": "longcat_flash",
    "bert": "bert ernie roc_bert layoutlm tapas bert-generation megatron-bert electra rembert distilbert mpnet albert",
    "roberta": "roberta xlm-roberta camembert data2vec-text roberta-prelayernorm xlm-roberta-xl xmod longformer luke "
    "ibert esm",
    "llama4": "llama4 llama4_text llama4_vision_model",
    "granite_moe": "granitemoe granitemoeshared granitemoe_swa",
    "moe": "olmoe flex_olmo minimax_m2 phimoe ernie4_5_moe hunyuan_v1_moe cohere2_moe",
    "bart": "bart mbart pegasus blenderbot blenderbot-small mvp plbart bigbird_pegasus led pegasus_x",
    "bloom": "bloom mpt",
    "cohere": "cohere cohere2 cohere_compass_text",
    "deepseek": "deepseek_v2 deepseek_v3 deepseek_v32 glm4_moe_lite glm_moe_dsa axk1 axk2",
    "dense": "apertus arcee bitnet cwm ernie4_5 glm glm4 granite granite_swa helium hunyuan_v1_dense hyperclovax "
    "internlm3 iquestcoder jais2 ministral ministral3 nanochat seed_oss smollm3",
    "glm_moe": "glm4_moe solar_open dots1 exaone_moe hy_v3 afmoe laguna",
    "gemma": "gemma3_text gemma3n_text gemma4_text gemma4_unified_text vaultgemma",
    "gpt": "gpt2 gpt_neox falcon",
    "gpt_oss": "gpt_oss mimo_v2_flash",
    "gptj": "gpt_neo gptj codegen gpt_bigcode gpt_neox_japanese openai-gpt ctrl cpmant",
    "hybrid": "bamba falcon_h1 granitemoehybrid jamba nemotron_h",
    "layer_norms": "modernbert-decoder nemotron persimmon phi stablelm starcoder2",
    "latent_dense": "minicpm3 youtu",
    "llama": "llama mistral mixtral gemma gemma2 phi3",
    "mamba": "mamba falcon_mamba mamba2",
    "olmo": "olmo olmo2 olmo3 exaone4",
    "opt": "opt xglm biogpt trocr",
    "qwen": "qwen2 qwen3 qwen2_moe qwen3_moe",
    "t5": "t5 mt5 umt5 longt5 switch_transformers",
    "zamba": "zamba zamba2",
    "windowed_mixtures": "aria_text flint kolibri1 mellum",
    "t5gemma": "t5gemma",
    "lfm3": "lfm3",
    "research": "diffllama doge hrm_text",
    "delta": "qwen3_next qwen3_5_text qwen3_5_moe_text olmo_hybrid",
    "lfm": "lfm2 lfm2_moe",
    "towers_qwen": "qwen3_5 qwen3_5_moe qwen4_exp qwen3_5_vision qwen3_5_moe_vision qwen4_exp_vision",
    "kimi": "kimi_linear bailing_hybrid",
    "recurrent": "recurrent_gemma rwkv xlstm minimax",
    "beam": "beam",
    "qwen4": "qwen4_exp_text",
    "glm5": "glm5_next glm5_next_text glm5_next_vision",
    "omni": "nemotron_h_omni radio",
    "llava": "llava llava_next llava_next_video llava_onevision video_llava vipllava paligemma internvl qianfan_ocr "
    "aya_vision cohere2_vision mistral3 lighton_ocr lfm2_vl lfm3_vl deepseek_vl video_llama_3 ovis2 shieldgemma2 "
    "fast_vlm perception_lm",
    "towers": "clip_vision_model kosmos_2_vision_model siglip_vision_model siglip2_vision_model idefics2_vision "
    "idefics3_vision smolvlm_vision blip_vision_model blip_2_vision_model instructblip_vision_model "
    "instructblipvideo_vision_model pixtral ovis2_vision janus_vision_model video_llama_3_vision",
    "towers_sam": "got_ocr2 pp_chart2table deepseek_vl_hybrid got_ocr2_vision pp_chart2table_vision sam_vision_model",
    "idefics3": "idefics3 smolvlm idefics2 aria",
    "granite_vision": "granite4_vision granite_docling granite4_vision_text granite_docling_text "
    "granite_docling_vision",
    "fuyu": "fuyu",
    "vqgan": "janus chameleon",
    "emu3": "emu3 emu3_text_model",
    "documents": "unlimited_ocr deepseek_ocr2 pp_formulanet unlimited_ocr_text unlimited_ocr_vision deepseek_ocr2_text "
    "deepseek_ocr2_vision pp_formulanet_vision",
    "blip": "blip blip-2 instructblip instructblipvideo",
    "kosmos": "kosmos-2 kosmos-2.5 kosmos_2_5_vision_model pix2struct pix2struct_vision_model",
    "florence": "florence2 florence_vision",
    "molmo2": "molmo2 molmo2_text molmo2_vision",
    "minicpm_v": "minicpm_ocr minicpmv4_6 minicpmv4_7 kimi_k25 hyperclovax_vision_v2 cohere_compass "
    "minicpm_ocr_vision minicpmv4_6_vision minicpmv4_7_vision kimi_k25_vision cohere_compass_vision",
    "idefics": "idefics idefics_vision",
    "udop": "udop",
    "evolla": "evolla",
    "towers_intern": "internvl_vision qianfan_ocr_vision lfm3_vl_vision",
    "qwen_vl": "qwen2_vl qwen2_5_vl qwen3_vl qwen3_vl_moe qwen2_vl_text qwen2_5_vl_text qwen3_vl_text "
    "qwen3_vl_moe_text qwen2_vl_vision qwen2_5_vl_vision qwen3_vl_vision qwen3_vl_moe_vision",
    "gemma_vl": "gemma3 gemma4 gemma4_unified gemma4_vision gemma4_audio diffusion_gemma diffusion_gemma_text",
    "gemma3n": "gemma3n gemma3n_audio",
    "towers_timm": "timm_wrapper gemma3n_vision",
    "mllama": "mllama mllama_text_model mllama_vision_model",
    "phi4_multimodal": "phi4_multimodal phi4_multimodal_vision phi4_multimodal_audio",
    "glm_v": "glm4v glm4v_moe glm46v glmga glm_ocr glm4v_text glm4v_moe_text glm_ocr_text glm4v_vision "
    "glm4v_moe_vision glm_ocr_vision",
    "mistral4": "mistral4 mistral_large4 mistral_large4_text",
    "qwen_omni": "qwen2_5_omni_thinker qwen3_omni_moe_thinker qwen2_5_omni_text qwen3_omni_moe_text "
    "qwen2_5_omni_vision_encoder qwen3_omni_moe_vision_encoder qwen2_5_omni_audio_encoder qwen3_omni_moe_audio_encoder",
    "exaone4_5": "exaone4_5 exaone4_5_vision",
    "ernie_vl": "ernie4_5_vl_moe ernie4_5_vl_moe_text ernie4_5_vl_moe_vision",
    "readers": "paddleocr_vl paddleocr_vl_text paddleocr_vl_vision hunyuan_vl hunyuan_vl_text hunyuan_vl_vision",
    "step3p7": "step3p7 step3p5 step3p5_vision",
    "muse": "muse_glimmer muse_spark muse_glimmer_text muse_spark_text muse_glimmer_vision muse_spark_vision "
    "muse_spark_audio",
    "minimax_vl": "minimax_m3_vl minimax_m3_vl_vision",
    "inkling_vl": "inkling2 inkling_mm_model inkling2_vision",
    "cosmos": "cosmos3_edge cosmos3_omni cosmos3_edge_text cosmos3_edge_vision",
    "fun_asr": "fun_asr_nano fun_asr_nano_encoder",
    "dia": "dia",
    "pop2piano": "pop2piano",
    "transcribers": "canary cohere_asr parakeet_encoder",
}
MODULES: Final = {model_type: module for module, types in _HOLDS.items() for model_type in types.split()}
_READ_AS: Final = {"gpt-sw3": "gpt2"}  # a model type that transformers reads as another: its config class is that one's

DTYPES: Final = ("float16", "bfloat16", "float32", "float64")

_TOWERS: Final = ("vision", "audio", "image", "speech", "sound")  # what a part's key begins with that reads no text
ACTIVATION_KEYS: Final = (
    "hidden_act", "hidden_activation", "activation_function", "activation", "mlp_hidden_act", "dense_act_fn"
)  # fmt: skip
_LANGUAGE: Final = ("text_config", "language_config", "llm_config")  # where a class keeps its language model


@cache
def recorded() -> Mapping[str, Any]:
    """What scripts/record_configs.py recorded: `configs` by model type and `classes` by name."""
    table: Mapping[str, Any] = json.loads(Path(__file__).with_name("configs.json").read_text(encoding="utf-8"))
    return table


def architecture(config: Mapping[str, Any]) -> Architecture:
    """Network of a config.json's content; raises UnprovenError, which names what is missing or not supported.

    `auto_map` is not looked at: where transformers has a class of its own it loads custom code only on request
    (trust_remote_code, off by default), and a class that is not transformers' own is refused by its name.
    """
    model_type, name, builder = _builder(config)
    fields = Fields(model_type, config, recorded()["configs"])
    network = builder(fields)
    for inner in fields.all():
        refuse(inner)
    body, language = network.body, _language(fields)
    tensors = (*body.tensors, *network.head)
    refuse_shapes((*tensors, *body.buffers))
    return Architecture(
        model_type=model_type,
        name=name,
        layers=body.layers,
        hidden=body.hidden,
        vocab=body.vocab,
        context=body.context,
        dtype=_dtype(config),
        tensors=tensors,
        attention=body.roles(Attention),
        caches=body.roles(Cache),
        buffers=body.buffers,
        attn_implementation=_attn_implementation(config),
        tied=network.tied,
        learned_positions=body.learned_positions,
        sizes=_sizes(fields, body),
        language=None if language is None else language.kind,
        activation=_activation(fields),
        variant=_variant(fields, body),
        float32=_kept(name, fields, "keep_in_fp32_modules_strict"),
        float32_beside_float16=_kept(name, fields, "keep_in_fp32_modules"),
    )


def _language(fields: Fields) -> Fields | None:
    """Config of a language model inside that has a class of its own: a prompt of text passes nothing else."""
    parts = (fields.parts[key] for key in _LANGUAGE if key in fields.parts)
    return next((part for part in parts if "causal-lm" in tasks_of(part.kind)), None)


def _activation(fields: Fields) -> str | None:
    """Name of the activation function of the MLPs that a token of the prompt passes."""
    texts = [part for key, part in fields.parts.items() if not key.startswith(_TOWERS)]
    for part in (fields, *(inner for text in texts for inner in text.all())):
        for key in ACTIVATION_KEYS:
            name = part.raw(key)
            if isinstance(name, str):
                return name
    return None


def _sizes(fields: Fields, body: Body) -> dict[str, int]:
    """The config's integers, those of a language model inside by its own names, and what follows from them."""
    language = _language(fields)
    inner = {} if language is None else replace(language, path="").sizes()
    widths = {role.head_dim for role in body.roles(Attention)}
    own = fields.sizes()
    # An older config has the language model's keys beside the others; recorded formulas name them as its part's.
    flat = {} if inner else {f"text_{key}": size for key, size in own.items()}
    return {**({"head_dim": widths.pop()} if len(widths) == 1 else {}), **flat, **own, **inner, **body.sizes}


def _kept(name: str, fields: Fields, key: str) -> tuple[str, ...]:
    """Patterns of weights that the class, or the class of a part, keeps in float32."""
    classes = [name, *(other for part in fields.parts.values() for one in part.all() for other in classes_of(one.kind))]
    rows = (recorded()["classes"][class_name] for class_name in classes)
    return tuple(dict.fromkeys(pattern for row in rows for pattern in row.get(key, ())))


def _variant(fields: Fields, body: Body) -> str:
    """Switches that change what a pass allocates: the builder's, how queries are made, and how much of them rotates."""
    direct = any("q_lora_rank" in part.read and part.raw("q_lora_rank") is None for part in fields.all())
    grouped = any(role.kv_heads < role.heads for role in body.roles(Attention))
    rotates = any(_rotates_more(part) for part in fields.all())
    traits = (body.variant, "direct" if direct else "", "rotary" if rotates else "", "grouped" if grouped else "")
    return " ".join(filter(None, traits))


def _rotates_more(fields: Fields) -> bool:
    """Whether a config states a larger share of its heads to rotate than its class does, which was traced."""
    stated = [fields.config]
    for holder in (fields.config.get("rope_parameters"), fields.config.get("rope_scaling")):
        if isinstance(holder, dict):
            stated += [holder, *(kind for kind in holder.values() if isinstance(kind, dict))]
    shares = (one.get(key) for one in stated for key in ("partial_rotary_factor", "rotary_pct"))
    usual = fields.table[fields.kind].get("rotary", 1)
    return any(share is not None and not (isinstance(share, int | float) and share <= usual) for share in shares)


def body_of(c: Fields) -> Body:
    """Base model of a config inside another one."""
    module = MODULES.get(c.kind)
    builder = None if module is None else getattr(_load(module), "BODIES", {}).get(c.kind)
    if builder is None:
        raise UnprovenError(f"config: {c.path}model_type {shown(c.kind)} is not supported as a part of another model")
    body: Body = builder(c)
    return body


def network_of(c: Fields) -> Network:
    """Language model, with its head, of a config inside another one: the causal one, where there is one."""
    named = recorded()["classes"].items()
    tasks = ("causal-lm", "seq2seq-lm")
    name = next((name for task in tasks for name, row in named if task in row["types"].get(c.kind, ())), None)
    builder = None if c.kind not in MODULES else getattr(_load(MODULES[c.kind]), "CLASSES", {}).get(name)
    if builder is None:
        raise UnprovenError(f"config: {c.path}model_type {shown(c.kind)} is not supported as a part of another model")
    network: Network = builder(c)
    return network


def classes_of(model_type: str) -> tuple[str, ...]:
    """Classes that transformers' mappings name for a model type, for any task."""
    return tuple(name for name, row in recorded()["classes"].items() if model_type in row["types"])


def tasks_of(model_type: str) -> set[str]:
    """Tasks for which transformers' mappings have a class of the model type."""
    return {task for row in recorded()["classes"].values() for task in row["types"].get(model_type, ())}


def _builder(config: Mapping[str, Any]) -> tuple[str, str, Callable[[Fields], Network]]:
    """Model type, class, and the builder of its network."""
    model_type = config.get("model_type")
    if model_type is None:
        raise UnprovenError("config: model_type is missing")
    model_type = _READ_AS.get(model_type, model_type) if isinstance(model_type, str) else model_type
    if not isinstance(model_type, str) or model_type not in MODULES:
        raise UnprovenError(f"config: model_type {shown(model_type)} is not supported")
    known: Mapping[str, Any] = getattr(_load(MODULES[model_type]), "CLASSES", {})
    name = _class_name(config, model_type)
    if name not in known:
        raise UnprovenError(f"config: architectures is {name}, which is not supported for model_type {model_type}")
    return model_type, name, known[name]


def _class_name(config: Mapping[str, Any], model_type: str) -> str:
    """The first of `architectures`; where there is none, the only class that the mappings have for the model type."""
    classes, mapped = config.get("architectures"), classes_of(model_type)
    if classes in (None, []):
        if len(mapped) != 1:
            raise UnprovenError(f"config: architectures is missing, and {model_type} may be {' or '.join(mapped)}")
        return mapped[0]
    # Case is no matter: configs written before Llama was merged say LLaMAForCausalLM, and transformers, which goes by
    # the model type, builds LlamaForCausalLM for them.
    named = str(classes[0]).lower() if isinstance(classes, list) else ""
    found = next((name for name in mapped if name.lower() == named), None)
    if found is None:
        known = ", ".join(mapped)
        raise UnprovenError(f"config: architectures is {shown(classes)}; of {model_type}, {known} is supported")
    return found


@cache
def _load(module: str) -> Any:  # noqa: ANN401 - a module with the tables that this package's docstring describes
    return import_module(f"vramguard.memory.families.{module}")


def _dtype(config: Mapping[str, Any]) -> str | None:
    """Type of the weights; `torch_dtype` is its older name."""
    value = config.get("dtype")
    key, value = ("dtype", value) if value is not None else ("torch_dtype", config.get("torch_dtype"))
    if value is None:
        return None
    if value not in DTYPES:
        raise UnprovenError(f"config: {key} is {shown(value)}, not one of {', '.join(DTYPES)}")
    return str(value)


def _attn_implementation(config: Mapping[str, Any]) -> str | None:
    """Attention kernel that the config asks for; transformers reads the underscored name last."""
    key = "_attn_implementation" if "_attn_implementation" in config else "attn_implementation"
    value = config.get(key)
    if value is not None and (not isinstance(value, str) or len(value) > 80):  # noqa: PLR2004 - no name is longer
        raise UnprovenError(f"config: {key} is {shown(value)}, not a name")
    return value
