"""Models that transformers, and libraries around it, load: `from_pretrained`, `pipeline` and their like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from vramguard.facts import Deployment, Unknown
from vramguard.link.launches.hardware import cards
from vramguard.link.python.devices import Moves, accelerator_of, moves
from vramguard.link.python.fields import (
    TRANSFORMERS_HARMLESS,
    Arguments,
    Fields,
    device_map,
    dtype,
    flag,
    integer,
    shown,
    text,
)
from vramguard.link.python.hardware import hardware
from vramguard.link.python.names import Made, Options, text_of
from vramguard.link.python.quantized import quantization
from vramguard.source.expression import dotted, written

if TYPE_CHECKING:
    from vramguard.source.expression import Call
    from vramguard.source.program import PythonModule

# Classes of transformers that generate text; TF and Flax aside.
_GENERATES: Final = re.compile(
    r"(?!TF|Flax|ORT|Neuron|Gaudi|OV|IPEX)\w*(?:ForCausalLM|LMHeadModel|ForConditionalGeneration)\Z"
    r"|AutoModelFor(?:Seq2SeqLM|Vision2Seq|ImageTextToText|MultimodalLM)\Z|AutoModelWithLMHead\Z"
    r"|Fast(?:Language|Vision)?Model\Z"
)
_BARE: Final = ("AutoModel", "ChatGLMModel")  # a class without a head, or one that custom code gives
_TASKS: Final = frozenset({
    "text-generation", "text2text-generation", "summarization", "translation", "conversational", "image-text-to-text",
    "image-to-text", "visual-question-answering", "any-to-any",
})  # fmt: skip
_ROOTS: Final = frozenset({"transformers", "modelscope", "peft", "unsloth", "auto_gptq", "gptqmodel", "awq", "optimum"})
_ELSEWHERE: Final = {
    "intel_extension_for_transformers": "cpu", "optimum.intel": "cpu", "optimum.onnxruntime": "cpu",
    "optimum.neuron": "neuron", "optimum.habana": "gaudi", "optimum.tpu": "tpu", "ipex_llm": "xpu", "bigdl": "xpu",
}  # fmt: skip
_COMPUTED: Final = ("auto", "balanced", "balanced_low_0", "sequential")
_QUANTIZED: Final = {"auto_gptq": "gptq", "gptqmodel": "gptq", "awq": "awq"}
_PRETRAINED: Final = (
    "pretrained_model_name_or_path",
    "model_name",
    "model_name_or_path",
    "model_id_or_path",
    "model_id",
)


def loader(origin: str, arguments: Arguments) -> tuple[str, ...] | None:  # noqa: PLR0911 - a row each
    """Names of the arguments by position, where a call loads a model that generates text; None for any other."""
    owner, _, last = origin.rpartition(".")
    root, name = origin.partition(".")[0], owner.rpartition(".")[2]
    if last == "pipeline" and root in ("transformers", "modelscope", "optimum"):
        return ("task", "model")
    if last == "from_model_id" and name == "HuggingFacePipeline":
        return ("model_id", "task")
    if last == "HuggingFaceLLM" and root == "llama_index":
        return ("context_window",)
    known = root in _ROOTS or origin.startswith(tuple(_ELSEWHERE))
    if last == "from_quantized" and root in _QUANTIZED:
        return (_PRETRAINED[0],)
    if last != "from_pretrained" or not known or root == "awq":
        return None
    if _GENERATES.match(name) or (name in _BARE and arguments.once("generates", _generates)):
        return (_PRETRAINED[0], "max_seq_length", "dtype", "load_in_4bit") if root == "unsloth" else (_PRETRAINED[0],)
    return None


def _generates(module: PythonModule) -> bool:
    """Whether a module asks some model for text."""
    ends = (".generate", ".chat", ".stream_chat")
    return any(dotted(called.call.function).endswith(ends) for called in module.calls)


def deployment(origin: str, arguments: Arguments, name: str) -> Deployment | None:
    """The deployment that a loader's call is; None where it loads no language model of its own."""
    fields = Fields()
    _spread(arguments)
    task, _ = arguments.take("task")
    model, at = arguments.take("model", *_PRETRAINED)
    if origin.endswith("pipeline") and not _is_language(task, model):
        return None
    if model is None:
        if "**" not in arguments.values:
            return None
        model = arguments.values["**"]
    fields.put("model", _model(origin, model), at)
    _common(fields, arguments, origin)
    moved = moves(arguments)
    _moved(fields, arguments, moved)
    trained = arguments.once("trains", trains)
    if trained:
        from vramguard.link.python.trainings import training  # read only where a module trains

        training(fields, arguments)
    accelerator = _elsewhere(origin) or accelerator_of(arguments, fields, moved, origin)
    if accelerator is not None and arguments.reader.home is not None:  # it leaves the cards of its house alone
        for field in ("gpu", "gpus"):
            fields.values.pop(field, None)
            fields.places.pop(field, None)
    unread = [_unread(arguments, one) for one in arguments.unread if one not in TRANSFORMERS_HARMLESS and one != "**"]
    return Deployment(
        at=arguments.module.place(arguments.called.call),
        declared=False,
        form="python",
        name=name,
        engine="transformers",
        training=trained,
        accelerator=accelerator,
        unread=(*unread, *fields.unread, *_adapters(arguments, moved)),
        assumed=(*arguments.reader.assumed, *rest_of(arguments)),
        places=fields.places,
        **fields.values,
    )


def _is_language(task: object, model: object) -> bool:
    """Whether a pipeline's task is one of a language model, and the model named and not built elsewhere."""
    if isinstance(model, Made):
        return False
    if isinstance(task, str):
        return task in _TASKS or task.startswith("translation")
    return task is None and model is not None


def _spread(arguments: Arguments) -> None:
    """Take the items of `model_kwargs` for arguments, as `pipeline` does."""
    given = arguments.values.get("model_kwargs")
    if isinstance(given, dict):
        at = arguments.places.get("model_kwargs")
        for key, value in given.items():
            arguments.values.setdefault(str(key), value)
            if at is not None:
                arguments.places.setdefault(str(key), at)


def _model(origin: str, model: object) -> str | Unknown:
    """The model's name; an adapter's own is not that of the model."""
    if "AutoPeftModel" in origin:
        return Unknown(f"the base model of the adapter {text_of(model)}")
    if isinstance(model, Options) and None in model.values:  # `if model is None: model = …`
        rest = tuple(value for value in model.values if value is not None)
        model = rest[0] if len(rest) == 1 else Options(rest)
    return text(model) or Unknown(text_of(model))


def _common(fields: Fields, arguments: Arguments, origin: str) -> None:
    for own, names, kind in _NAMES:
        value, at = arguments.take(*names)
        fields.put(own, kind(value), at)
    quantization(fields, arguments)
    if origin.endswith("from_quantized"):
        fields.put("quantization", _QUANTIZED[origin.partition(".")[0]], None)
    if origin.startswith("unsloth."):  # unsloth 2025.x, models/loader.py: load_in_4bit = True, NF4 with nested scales
        four = arguments.values.get("load_in_4bit", True)
        if fields.values.get("quantization") == "bnb-fp4" or four is True:
            fields.values["quantization"] = "bnb-nf4-dq"
    flash, at = arguments.take("use_flash_attention_2")
    fields.put("attn_implementation", "flash_attention_2" if flash is True else None, at)


_NAMES: Final[tuple[tuple[str, tuple[str, ...], Any], ...]] = (
    ("revision", ("revision",), text),
    ("trust_remote_code", ("trust_remote_code",), flag),
    ("code_revision", ("code_revision",), text),
    ("dtype", ("dtype", "torch_dtype"), dtype),
    ("device_map", ("device_map",), device_map),
    ("max_memory", ("max_memory",), shown),
    ("attn_implementation", ("attn_implementation", "_attn_implementation"), text),
    ("max_model_len", ("max_seq_length", "model_max_length", "context_window"), integer),
)


def _moved(fields: Fields, arguments: Arguments, moved: Moves) -> None:
    """What happens to the model after it is loaded, and the machine it stands on."""
    if moved.dtype is not None:
        fields.put("dtype", moved.dtype, moved.at)
    if "cuda" in moved.devices and fields.values.get("device_map") in _COMPUTED:
        # accelerate 1.15.0, big_modeling.py (dispatch_model): a model of which any part is elsewhere refuses to move
        fields.values["device_map"] = "cuda"
    asked = cards(hardware(arguments.reader, arguments.module, arguments.called.scope))
    fields.put("gpu", asked.gpu, asked.places.get("gpu"))
    fields.put("gpus", asked.gpus, asked.places.get("gpus"))
    if asked.share is not None:
        fields.unread.append(f"a share of a card ({asked.share})")
    if asked.accelerator:
        moved.hosted = asked.accelerator


def _unread(arguments: Arguments, name: str) -> str:
    return f"{name}={text_of(arguments.values[name])}"


def rest_of(arguments: Arguments) -> list[str]:
    """What has to be supposed of arguments that somebody else adds."""
    return [f"`**{text_of(arguments.values['**'])}` adds nothing"] if "**" in arguments.values else []


def _adapters(arguments: Arguments, moved: Moves) -> list[str]:
    """Adapters that are put on top of the model, which no row of the proof counts."""
    own = arguments.called.call.span
    for call in arguments.once("adapters", _adapted):
        base = call.argument("model", 0)
        if base is not None and (dotted(base) in moved.names or base.span == own):
            return [written(call)]
    return []


def _adapted(module: PythonModule) -> list[Call]:
    ends = ("PeftModel.from_pretrained", "PeftModelForCausalLM.from_pretrained")
    return [called.call for called in module.calls if dotted(called.call.function).endswith(ends)]


def _elsewhere(origin: str) -> str | None:
    return next((kind for root, kind in _ELSEWHERE.items() if origin.startswith(f"{root}.")), None)


_TRAINERS: Final = re.compile(
    r"(?:\w*Trainer|\w*TrainingArguments|SFTConfig|backward|get_peft_model|prepare_model_for_kbit_training)\Z"
)


def trains(module: PythonModule) -> bool:
    """Whether a module trains something: a Trainer, its arguments, a backward pass."""
    return any(_TRAINERS.match(dotted(called.call.function).rpartition(".")[2]) for called in module.calls)
