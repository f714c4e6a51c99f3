"""Ray Serve: applications whose `llm_configs` name models, and files that hold one model's configuration.

Read in Ray 2.49 to 2.56, llm/_internal/serve/core/configs/llm_config.py: `LLMConfig`. Ray gives each worker of the
engine one card, so the cards are the product of its degrees. The older RayLLM nests the same under `engine_config`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.extract.tools.values import flags
from vramguard.facts import Hardware, Launch, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.extract.tools.values import Node
    from vramguard.source import Location

_MODELS = ("llm_configs", "llm_config", "prefill_config", "decode_config")  # arguments of Ray's own applications
_OWN = frozenset({"model"})  # of `engine_kwargs`: what `model_loading_config` says


def config(document: Node) -> Iterator[Launch]:
    """The models of a Serve config file, or the one of a model's own file."""
    value = document.value
    if not isinstance(value, dict) or "apiVersion" in value:
        return
    if isinstance(value.get("model_loading_config"), dict):
        yield from llm(document)
    elif isinstance(value.get("engine_config"), dict) and "engine_kwargs" in value["engine_config"]:
        yield from _rayllm(document)
    else:
        yield from serve_applications(document)


def serve_applications(config: Node) -> Iterator[Launch]:
    """Every launch of a Serve config, the mapping that holds `applications`."""
    for application in config.get("applications") if isinstance(config.get("applications").value, list) else ():
        if not isinstance(application.get("import_path").value, str):
            continue
        name = application.get("name").text or ""
        env = application.get("runtime_env", "env_vars").variables()
        for key in _MODELS:
            for model in application.get("args", key):
                yield from llm(model, name, env)
        for deployment in application.get("deployments"):
            yield from _module(application, deployment, env)


def llm(model: Node, name: str = "", env: dict[str, Word] | None = None) -> Iterator[Launch]:
    """The launch of one `LLMConfig`; of one that is only a path, nothing: the file it names is read by itself."""
    loading = model.get("model_loading_config")
    source = loading.get("model_source")
    bucket = source.get("bucket_uri") if isinstance(source.value, dict) else source
    named = bucket.word() or loading.get("model_id").word()
    if named is None:
        return
    engine = model.get("llm_engine")
    yield Launch(
        at=loading.key_at,
        form="ray",
        name=name or loading.get("model_id").text or "",
        command=_arguments(model.get("engine_kwargs"), ((_FLAGS[keys], model.get(*keys)) for keys in _FLAGS)),
        entrypoint=False,
        env={**(env or {}), **model.get("runtime_env", "env_vars").variables()},
        hardware=_hardware(model.get("accelerator_type"), [_degree(model, kind) for kind in ("tensor", "pipeline")]),
        given={"engine": Word(_name(engine), (engine if engine.text else loading).at), "model": named},
    )


# What Anyscale's RayLLM says outside of `engine_kwargs`.
_FLAGS = {
    ("tensor_parallelism", "degree"): "--tensor-parallel-size",
    ("pipeline_parallelism", "degree"): "--pipeline-parallel-size",
    ("max_request_context_length",): "--max-model-len",
}


def _name(engine: Node) -> str:
    """The engine, which is vLLM unless another is said: Ray Serve itself takes nothing of a card."""
    return (engine.text or "vllm").lower().removesuffix("engine")


def _arguments(kwargs: Node, others: Iterable[tuple[str, Node]]) -> tuple[Word, ...]:
    """The engine's arguments, and those that the file says elsewhere and not there."""
    command = flags(kwargs, _OWN)
    said = {flag.text.partition("=")[0] for flag in command}
    more = ((flag, node.word()) for flag, node in others if flag not in said)
    return (*command, *(Word(f"{flag}={word.text}", word.at, word.known) for flag, word in more if word is not None))


def _degree(model: Node, kind: str) -> Node:
    own = model.get("engine_kwargs", f"{kind}_parallel_size")
    return own if own.value is not None else model.get(f"{kind}_parallelism", "degree")


def _hardware(card: Node, degrees: list[Node]) -> Hardware:
    counts = [node.integer for node in degrees]
    known = [count for count in counts if isinstance(count, int)]
    gpus = Unknown("*".join(node.text or "1" for node in degrees)) if any(map(_open, counts)) else _product(known)
    at = next((node.at for node in degrees if node.value is not None), None)
    word = card.word()
    places = {"gpu": card.at} if word else {}
    return Hardware(word.value if word else None, gpus, places={**places, **({"gpus": at} if at else {})})


def _open(count: int | Unknown | None) -> bool:
    return isinstance(count, Unknown)


def _product(counts: list[int]) -> int:
    result = 1
    for count in counts:
        result *= count
    return result


def _rayllm(document: Node) -> Iterator[Launch]:
    """A model's file of RayLLM, before Ray 2.40: `scaling_config` counts the workers, which share the model."""
    engine, scaling = document.get("engine_config"), document.get("scaling_config")
    model = engine.get("hf_model_id").word() or engine.get("model_id").word()
    if model is None:
        return
    workers, each = scaling.get("num_workers"), scaling.get("num_gpus_per_worker")
    others = (("--tensor-parallel-size", workers), ("--max-model-len", engine.get("max_total_tokens")))
    command = _arguments(engine.get("engine_kwargs"), others)
    cards = workers.integer if each.integer in (1, None) else Unknown(f"{workers.text} * {each.text}")
    card = document.get("accelerator_type").word()
    places = {"gpus": workers.at} if workers.value is not None else {}
    yield Launch(
        at=engine.key_at,
        form="ray",
        name=engine.get("model_id").text or "",
        command=command,
        entrypoint=False,
        hardware=Hardware(card.value if card else None, cards, places={**places, **({"gpu": card.at} if card else {})}),
        given={"engine": Word(_name(engine.get("type")), engine.key_at), "model": model},
    )


def _module(application: Node, deployment: Node, env: dict[str, Word]) -> Iterator[Launch]:
    """A deployment that Python describes: what its file says of cards and variables, for whoever reads the module."""
    actor = deployment.get("ray_actor_options")
    cards = actor.get("num_gpus")
    if cards.value in (None, 0):
        return
    kind = actor.get("accelerator_type").word()
    whole = isinstance(cards.value, int) and not isinstance(cards.value, bool)
    places: dict[str, Location] = {"gpus": cards.at, **({"gpu": kind.at} if kind else {})}
    yield Launch(
        at=deployment.at,
        form="ray",
        name=deployment.get("name").text or "",
        env={**env, **actor.get("runtime_env", "env_vars").variables()},
        hardware=Hardware(
            kind.value if kind else None,
            cards.value if whole else None,
            share=None if whole else cards.text,
            places=places,
        ),
        joins={"module": application.get("import_path").text or "", "actor": deployment.get("name").text or ""},
    )
