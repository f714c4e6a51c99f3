"""Every architecture of transformers against ours: exact, UNKNOWN or wrong, by default config and by perturbed ones.

    python tests/memory/scoreboard.py [MODEL_TYPE ...] [--perturbed 10] [--seed 0] [--cache] [--verbose]
    python tests/memory/scoreboard.py --rows FOLDER --cache --part 0/2     one of two processes; may be interrupted
    python tests/memory/scoreboard.py --rows FOLDER --write                recorded_scoreboard.json, once they are done

Exact: every weight by name and shape, tied ones once, which of them stay float32, every large buffer, and with --cache
every byte of the cache after a prefill. UNKNOWN: we say so, with the reason. Wrong: anything else, of which there must
be none.
"""

# ruff: noqa: T201 - a command

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.core_model_loading import build_glob_alternation
from transformers.initialization import no_init_weights
from transformers.modeling_outputs import BaseModelOutput

sys.path.insert(0, str(Path(__file__).parents[1]))
from memory import perturb, scores, torchvision_stub
from memory.scores import pairs

from vramguard.memory import weights
from vramguard.memory.architecture import Architecture, UnprovenError
from vramguard.memory.cache import cache_bytes
from vramguard.memory.families import architecture, recorded

torchvision_stub.install()
Config = dict[str, Any]
SMALL_BUFFER = 4096  # elements; tables of a few numbers are counted as an allowance, not one by one
LENGTHS = (5, 37, 300)
CACHES = ("past_key_values", "cache_params", "state", "mems", "past_buckets_states")  # where an output keeps its cache
# Classes that ask for a picture, whatever the prompt: the part of them that reads and writes text.
WRITERS = {
    "blip": "text_decoder",
    **dict.fromkeys(("blip-2", "instructblip", "instructblipvideo"), "language_model"),
    "kosmos-2": "text_model",
}
# Models that fill a cache, which generate() gives them, but make or return none of their own.
UNRETURNED = (
    *("granite4_vision", "recurrent_gemma"),
    *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert"),
    *("roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)


@dataclass
class Score:
    """Outcomes of one class; scores.py says what they are."""

    model_type: str
    name: str
    instantiates: bool
    default: str
    parameters: int | None = None
    perturbed: Counter[str] = field(default_factory=Counter)
    built: list[list[int] | None] = field(default_factory=list)  # scores.built of each perturbed config that is exact
    cache: str | None = None
    reason: str = ""  # why the default config, or its cache, is not exact
    notes: list[str] = field(default_factory=list)

    @property
    def is_wrong(self) -> bool:
        """Whether anything that we claim is not so."""
        return "wrong" in (self.default, self.cache) or self.perturbed["wrong"] > 0

    @property
    def row(self) -> scores.Row:
        """The class as the table holds it."""
        return {
            "model_type": self.model_type,
            "class": self.name,
            "instantiates": self.instantiates,
            "default": self.default,
            "parameters": self.parameters,
            "reason": self.reason[:300] or None,
            "perturbed": dict(sorted(self.perturbed.items())),
            "built": self.built,
            "cache": self.cache,
        }

    @classmethod
    def of(cls, row: scores.Row) -> Score:
        """Read a score back from a row with its notes."""
        return cls(
            model_type=row["model_type"],
            name=row["class"],
            instantiates=row["instantiates"],
            default=row["default"],
            parameters=row["parameters"],
            perturbed=Counter(row["perturbed"]),
            built=row["built"],
            cache=row["cache"],
            reason=row["reason"] or "",
            notes=row["notes"],
        )


def class_and_config(config: Config) -> tuple[Any, Any]:
    """The class that `architectures` names, and the config that the auto classes give it: that of its part, if any."""
    cls = getattr(transformers, config["architectures"][0])
    made = transformers.AutoConfig.for_model(**config)
    of_a_part = cls.config_class is not None and cls.config_class is type(made).sub_configs.get("text_config")
    return cls, made.get_text_config() if of_a_part else made


def build(config: Config) -> Any:  # noqa: ANN401 - a model of transformers
    """The class that `architectures` names, on the meta device."""
    cls, made = class_and_config(config)
    with torch.device("meta"):
        return cls(made) if not hasattr(cls, "_from_config") else cls._from_config(made)


def starred(name: str) -> str:
    """A name with `*` for every number between dots."""
    return re.sub(r"\.\d+(?=\.|$)", ".*", name)


def theirs(model: Any) -> tuple[Counter[Any], Counter[Any]]:  # noqa: ANN401
    """Weights and large buffers of a model by name and shape."""
    params = Counter((starred(name), tuple(p.shape)) for name, p in model.named_parameters())
    buffers = Counter(
        (starred(name), tuple(b.shape), b.itemsize) for name, b in model.named_buffers() if b.numel() > SMALL_BUFFER
    )
    return params, buffers


def ours(network: Architecture) -> tuple[Counter[Any], Counter[Any]]:
    """Weights and large buffers as we count them."""
    params: Counter[Any] = Counter()
    for tensor in network.tensors:
        params[tensor.name, tensor.shape] += tensor.copies
    buffers: Counter[Any] = Counter()
    for tensor in network.buffers:
        if tensor.elements // tensor.copies > SMALL_BUFFER:
            buffers[tensor.name, tensor.shape, tensor.item] += tensor.copies
    return params, buffers


def wide(model: Any, dtype: torch.dtype) -> set[str]:  # noqa: ANN401
    """Weights that from_pretrained keeps in float32 although another dtype is asked for."""
    plan = model._get_dtype_plan(dtype)
    kept = build_glob_alternation(list(plan))[0] if plan else None
    return {starred(name) for name, _ in model.named_parameters() if kept is not None and kept.search(name)}


def our_wide(network: Architecture, dtype: str) -> set[str]:
    """The same as we count them."""
    rows = weights.weights(weights.Loaded(network, dtype))
    return {row.name.removeprefix("weights/") for row in rows if row.inputs["bytes"] == torch.float32.itemsize}


def difference(network: Architecture, model: Any) -> list[str]:  # noqa: ANN401
    """What differs, a line each; empty where all is equal."""
    lines = []
    for what, mine, real in zip(("weight", "buffer"), ours(network), theirs(model), strict=True):
        lines += [f"{what} {key} x{n} too many" for key, n in sorted((mine - real).items())]
        lines += [f"{what} {key} x{n} missing" for key, n in sorted((real - mine).items())]
    for dtype in ("float16", "bfloat16"):
        other = our_wide(network, dtype) ^ wide(model, getattr(torch, dtype))
        lines += [f"{name} beside {dtype}: float32 for one of us only" for name in sorted(other)]
    return lines


def cached_tensors(holder: Any, seen: set[int] | None = None) -> list[torch.Tensor]:  # noqa: ANN401
    """Every tensor that a cache object of transformers refers to."""
    seen = set() if seen is None else seen
    if id(holder) in seen or holder is None or isinstance(holder, str | int | float | bool | torch.dtype):
        return []
    seen.add(id(holder))
    if isinstance(holder, torch.Tensor):
        return [holder]
    if isinstance(holder, dict):
        return [t for value in holder.values() for t in cached_tensors(value, seen)]
    if isinstance(holder, list | tuple):
        return [t for value in holder for t in cached_tensors(value, seen)]
    if type(holder).__module__.startswith("transformers") and not isinstance(holder, transformers.PreTrainedConfig):
        return cached_tensors(vars(holder), seen)
    return []


def held(tensors: list[torch.Tensor]) -> tuple[int, int]:
    """Bytes of the tensors, and of the storages that they keep alive; tiny counters left out."""
    kept = [t for t in tensors if t.is_floating_point()]
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in kept}
    return sum(t.numel() * t.itemsize for t in kept), sum(storages.values())


def inputs_of(model: Any, sequences: int, tokens: int) -> Config:  # noqa: ANN401
    """A prompt of text: of the decoder, and of the encoder where there is one."""
    ids = torch.zeros(sequences, tokens, dtype=torch.long)
    if getattr(model.config, "is_encoder_decoder", False) and model.config.model_type == "whisper":
        frames = torch.zeros(sequences, model.config.num_mel_bins, 2 * model.config.max_source_positions)
        return {"input_features": frames.to(model.dtype), "decoder_input_ids": ids}
    if getattr(model.config, "is_encoder_decoder", False) and model.main_input_name != "input_ids":
        encoder = getattr(model.config, "encoder", getattr(model.config, "vision_config", model.config))
        if model.main_input_name == "pixel_values":
            side = encoder.image_size
            pixels = torch.zeros(sequences, encoder.num_channels, *([side] * 2 if isinstance(side, int) else side))
            return {"pixel_values": pixels.to(model.dtype), "decoder_input_ids": ids}
        encoder = getattr(model.config, "encoder_config", encoder)
        heard = torch.zeros(sequences, tokens, encoder.hidden_size, dtype=model.dtype)  # whatever its length was
        outputs = BaseModelOutput(last_hidden_state=heard)
        outputs.attention_mask = None  # Moonshine asks for it
        return {"encoder_outputs": outputs, "decoder_input_ids": ids}
    if model.config.model_type == "dia":
        codes = torch.zeros(sequences, tokens, model.config.decoder_config.num_channels, dtype=torch.long)
        return {"input_ids": ids, "decoder_input_ids": codes}
    if getattr(model.config, "is_encoder_decoder", False):
        return {"input_ids": ids, "decoder_input_ids": ids}
    return {"input_ids": ids}


def writer(model: Any) -> Any:  # noqa: ANN401
    """What writes inside a class that takes no prompt without a picture, else the model itself."""
    return getattr(model, WRITERS.get(model.config.model_type, ""), model)


def seen(model: Any, sequences: int, tokens: int) -> Config:  # noqa: ANN401
    """What a tower gave of one picture, where the prompt alone is not enough, and where words stand on a page."""
    config, kind = model.config, model.config.model_type
    if kind == "udop":
        return {"bbox": torch.zeros(sequences, tokens, 4)}
    if kind not in ("blip", "idefics"):
        return {}
    tower = model.vision_model if kind == "blip" else model.model.vision_model
    patches = torch.zeros(sequences, tower.embeddings.num_positions, config.vision_config.hidden_size).to(model.dtype)
    if kind == "blip":
        return {"encoder_hidden_states": patches}
    return {"image_encoder_embeddings": patches[:, None], "image_attention_mask": torch.ones(sequences, tokens, 1)}


def as_loaded(model: Any) -> Any:  # noqa: ANN401
    """Keep in float32 what from_pretrained keeps so although bfloat16 is asked for: it may widen what is cached."""
    if plan := model._get_dtype_plan(torch.bfloat16):
        kept = build_glob_alternation(list(plan))[0]
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if kept.search(name):
                tensor.data = tensor.data.float()
    return model


def kept_by_modules(model: Any) -> list[torch.Tensor]:  # noqa: ANN401
    """States that the modules of a recurrent model hold themselves, beside the cache (RecurrentGemma)."""
    if not getattr(model, "_is_stateful", False):
        return []
    attributes = (value for module in model.modules() for value in vars(module).values())
    return [value for value in attributes if isinstance(value, torch.Tensor)]


def caches(config: Config, network: Architecture) -> list[str]:
    """Where the bytes of our caches differ from transformers' after a prefill of LENGTHS tokens, 1 prompt or 3."""
    cls, made = class_and_config(config)
    lines = []
    for tokens in LENGTHS:
        if network.learned_positions and tokens > network.context:
            continue
        for sequences in (1, 3):
            # Some weights are drawn until they fit, which needs their values.
            with FakeTensorMode(allow_non_fake_inputs=True), torch.inference_mode(), no_init_weights():
                model = as_loaded(cls._from_config(made, dtype=torch.bfloat16).eval())
                unreturned = made.model_type in UNRETURNED and model.can_generate()
                given = transformers.DynamicCache(config=made) if unreturned else None
                inputs = inputs_of(writer(model), sequences, tokens) | seen(model, sequences, tokens)
                output = writer(model)(**inputs, **({"past_key_values": given} if given else {}), use_cache=True)
                found = next((output[name] for name in CACHES if name in output), None)
                real = held(cached_tensors([found, given]) + kept_by_modules(model))
            groups = cache_bytes(network, tokens, sequences, 16)
            mine = sum(g.tensor.bytes for g in groups), sum(g.storage.bytes for g in groups)
            if mine != real:
                lines.append(f"cache at {sequences} x {tokens}: ours (tensors, storage) {mine}, theirs {real}")
    return lines


def judge(config: Config) -> tuple[str, list[str]]:
    """Outcome of a config, refused being transformers' own, and what there is to say."""
    try:
        model = build(config)
    except Exception as error:  # noqa: BLE001 - whatever makes transformers refuse a config
        return "refused", [f"{type(error).__name__}: {str(error)[:200]}"]
    try:
        network = architecture(config)
    except UnprovenError as error:
        return "unknown", [str(error)]
    except Exception as error:  # noqa: BLE001 - a crash of ours is as bad as a wrong count
        return "wrong", [f"{type(error).__name__}: {error}"]
    lines = difference(network, model)
    return ("wrong", lines) if lines else ("exact", [])


def judge_cache(config: Config) -> tuple[str, list[str]]:
    """Outcome of a config's cache, none where neither side keeps one, and what there is to say."""
    try:
        network = architecture(config)
    except UnprovenError as error:
        return "not traced", [str(error)]
    try:
        lines = caches(config, network)
    except Exception as error:  # noqa: BLE001 - a pass that cannot be traced says nothing
        return "not traced", [f"{type(error).__name__}: {str(error)[:160]}"]
    if lines:
        return "wrong", lines
    return ("exact" if network.caches else "none"), []


def score(model_type: str, name: str, perturbed: int, seed: str, *, cache: bool) -> Score:
    """Judge the default config of a class, and perturbed ones if it is known."""
    config = perturb.base(model_type, name)
    outcome, lines = judge(config)
    result = Score(model_type, name, instantiates(model_type, name), outcome, reason="; ".join(lines), notes=lines)
    if outcome == "exact":
        result.parameters = architecture(config).parameters
        if cache:
            result.cache, lines = judge_cache(perturb.shallow(config))
            result.reason = "; ".join(lines)
            result.notes += lines
    for number in range(perturbed if outcome in ("exact", "wrong") else 0):
        changed = perturb.perturbed(model_type, name, f"{seed}-{number}")
        outcome, lines = judge(changed)
        result.perturbed[outcome] += 1
        result.built.append(scores.built(architecture(changed)) if outcome == "exact" else None)
        if outcome in ("wrong", "unknown"):
            result.notes += [f"{outcome}: {changed}", *lines[:12]]
    return result


def instantiates(model_type: str, name: str) -> bool:
    """Whether transformers builds the class from its default config alone."""
    try:
        build({"model_type": model_type, "architectures": [name]})
    except Exception:  # noqa: BLE001 - whatever makes transformers refuse a config
        return False
    return True


def judged(model_type: str, name: str, options: argparse.Namespace) -> Score:
    """Score of a class: what --rows has of it, else a new one, which is left there."""
    file = None if options.rows is None else options.rows / f"{model_type}.{name}.json"
    if file is not None and file.exists():
        return Score.of(json.loads(file.read_text(encoding="utf-8")))
    result = score(model_type, name, options.perturbed, options.seed, cache=options.cache or options.write)
    if file is not None:
        options.rows.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result.row | {"notes": result.notes}), encoding="utf-8")
    return result


def main() -> int:
    """Print one line a class and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*", help="model types or classes; all where none is given")
    parser.add_argument("--perturbed", type=int, default=10, help="changed configs of each class")
    parser.add_argument("--seed", default=scores.SEED)
    parser.add_argument("--cache", action="store_true", help="trace caches too; --write always does")
    parser.add_argument("--part", default="0/1", help="one of several processes: its number, and how many there are")
    parser.add_argument(
        "--rows", type=Path, help="folder that keeps what was judged: a class in it is not judged again"
    )
    parser.add_argument("--write", action="store_true", help=f"put the classes into {scores.TABLE.name}")
    parser.add_argument("--verbose", "-v", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    asked = [pair for pair in pairs() if not options.types or {*pair} & {*options.types}]
    part, parts = map(int, options.part.split("/"))
    found = []
    for model_type, name in asked[part::parts]:
        result = judged(model_type, name, options)
        found.append(result)
        counts = ", ".join(f"{n} {kind}" for kind, n in sorted(result.perturbed.items()))
        print(f"{model_type:28} {name:45} {result.default:8} cache {result.cache or '-':10} {counts}", flush=True)
        if options.verbose or result.is_wrong:
            print("".join(f"    {line}\n" for line in result.notes), end="", flush=True)
    rows = [result.row for result in found]
    if options.write:
        others = {*pairs()} - {(result.model_type, result.name) for result in found}
        rows += [row for row in scores.read() if (row["model_type"], row["class"]) in others]
        scores.write(rows, transformers.__version__, datetime.now(tz=UTC).date().isoformat())
    print(f"transformers {transformers.__version__} (recorded: {recorded()['transformers']})")
    print("\n".join(scores.summary(rows)))
    return 1 if any(result.is_wrong for result in found) else 0


if __name__ == "__main__":
    sys.exit(main())
