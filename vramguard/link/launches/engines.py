"""Which engine a program is, and the deployment that its words, its environment and its image describe."""

from __future__ import annotations

import posixpath
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from vramguard.facts import Deployment, Unknown, Word
from vramguard.link.launches import files, hardware, images, values
from vramguard.link.launches.flags import Arguments, Said, arguments, find
from vramguard.link.launches.meaning import Reading, dated, finish
from vramguard.link.launches.tables import Engine, engines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.facts import Facts, Launch
    from vramguard.link.launches.scripts import Program

_FIELDS: Final = frozenset(each.name for each in fields(Deployment))
_DEVICES: Final = re.compile(r"[0-9]{1,3}(?:,[0-9]{1,3}){0,63}")
_MOUNTED: Final = "/mnt/models"  # where KServe puts the model that a service names
# Paths of what is meant for processors alone: `cpu-values.yaml`, `intel/cpu/xeon/compose.yaml`.
_FOR_CPUS: Final = re.compile(r"(?:^|[/_.-])(?:cpu|xeon)(?=[/_.-])")
_CARRIER: Final = "triton"  # `triton:vllm`: vLLM's own arguments, inside of a server of another's
_NOTHING: Final = ("", "false", "null", "[]")
# Engines as custom resources and tools spell them.
_ALIASES: Final = {
    "tensorrt_llm": "tensorrt-llm", "trtllm": "tensorrt-llm", "trt-llm": "tensorrt-llm", "tensorrtllm": "tensorrt-llm",
    "text-generation-inference": "tgi", "llamacpp": "llama.cpp", "llama-cpp": "llama.cpp", "llama_cpp": "llama.cpp",
    "vllm-engine": "vllm", "hf-tgi": "tgi", "textgenerationinference": "tgi", "sgl": "sglang", "huggingface": "kserve",
    "vllm_engine": "vllm", "olllama": "ollama",
}  # fmt: skip


def read(program: Program, launch: Launch, facts: Facts) -> Deployment | None:
    """The deployment that a program is; None where it is no engine that loads a model."""
    image = images.found(program.image)
    engine, words = _engine(program, launch, image)
    if engine is None:
        return None
    if words and words[0].text in engine.others:
        return None
    said = arguments(words, engine)
    reading = Reading(engine)
    _given(reading, launch)
    _options(reading, said, launch, facts)
    _environment(reading, program)
    _command(reading, said)
    finish(reading)
    _mounted(reading, launch)
    if "model" not in reading.fields and image.model is not None and program.image is not None:
        reading.set("model", image.model if program.image.known else Unknown(image.model), program.image.at)
        reading.fields["holds"] = ""  # its maker's name of it, which the hub does not know
    if launch.runtime:
        _fill_in(reading, launch)
    if "model" not in reading.fields and "config" not in reading.fields:
        return None
    return _deployment(reading, program, launch, image)


def _fill_in(reading: Reading, launch: Launch) -> None:
    """A pattern's model is that of the service which uses it, but for an image that is made for one model."""
    model = reading.fields.get("model")
    if isinstance(model, Unknown):
        return
    if isinstance(model, str) and not model.startswith(_MOUNTED):
        if launch.hardware.gpus is None:
            reading.set("gpus", Unknown("of the service that uses it"), launch.at)
        return
    reading.set("model", Unknown(model or _MOUNTED), reading.places.get("model", launch.at))


def _mounted(reading: Reading, launch: Launch) -> None:
    """KServe's controller mounts the model that a resource names at `/mnt/models`, and its commands say only that."""
    model = launch.given.get("model")
    if model is not None and str(reading.fields.get("model", "")).rstrip("/") == "/mnt/models":
        reading.given("model", model)


def stated(launch: Launch) -> Deployment | None:
    """The deployment of a launch that states one and starts no program that is known; None where it states none."""
    name = launch.given.get("engine")
    if name is None and "model" not in launch.given:
        return None
    engine = named(name.text) if name is not None and name.known else None
    reading = Reading(engine or Engine("", "own", (), {}, {}, (), (), {}))
    _given(reading, launch)
    if engine is None and name is not None:
        reading.set("engine", name.value if not name.known else name.text.lower(), name.at)
    if "model" not in reading.fields:
        return None
    image = images.found(launch.image)
    return _deployment(reading, launch, launch, image)


def named(name: str) -> Engine | None:
    """The engine of that name, as somebody spells it."""
    plain = name.strip().lower()
    plain = _ALIASES.get(plain, plain)
    carrier, _, inside = plain.partition(":")
    own = engines().get(_ALIASES.get(inside, inside)) if carrier == _CARRIER else None
    return engines().get(plain) or own or engines().get(carrier)


def _engine(program: Program, launch: Launch, image: images.Found) -> tuple[Engine | None, Sequence[Word]]:
    """The engine that a program is, and its arguments."""
    words = program.words
    for engine in engines().values():
        for start in engine.programs:
            if len(words) >= len(start) and _starts(words, start):
                return engine, words[len(start) :]
    name = launch.given.get("engine")
    inside = named(name.text) if name is not None and name.known else None
    if inside is not None and (not program.entrypoint or not words):
        return inside, words
    if not program.entrypoint and image.engine is not None and image.serves:
        return engines().get(image.engine), words
    return None, ()


def _starts(words: Sequence[Word], start: Sequence[str]) -> bool:
    """Whether a command begins with these words: the first by its last part, unless a folder is asked for."""
    first = words[0].text if "/" in start[0] else posixpath.basename(words[0].text)
    if first.removesuffix(".exe") != start[0]:
        return False
    return all(word.text == wanted for word, wanted in zip(words[1:], start[1:], strict=False))


def _given(reading: Reading, launch: Launch) -> None:
    for name, word in launch.given.items():
        if name == "unread":
            reading.leave(word.text, word.text)
        elif name == "engine" and word.known and word.text.startswith(f"{_CARRIER}:"):
            reading.set("engine", word.text, word.at)
        elif name in _FIELDS and name != "engine":
            reading.given(name, word)


def _command(reading: Reading, said: Arguments) -> None:
    for each in said.said:
        reading.apply(each)
    positional = reading.engine.positional
    if positional is not None and said.positional:
        word = said.positional[0]
        reading.set(positional, values.value(positional, word), word.at)
    for number, text in enumerate(said.strange):
        reading.leave(f"strange {number}", text[:200])
    for text in dict.fromkeys(said.blank):
        reading.assumed.append(f"`{text[:80]}` adds no flags")


def _environment(reading: Reading, program: Program) -> None:
    """Variables that the engine reads."""
    engine = reading.engine
    for name, word in program.env.items():
        spelled = engine.variables.get(name) or _spelled(name, engine)
        flag = find(spelled, engine)[0] if spelled else None
        if flag is not None and (word.text.strip() or not word.known):
            reading.apply(Said(flag, name, word, word.at))
        elif name in engine.harmful and not (word.known and word.text.strip() in (*engine.unless.get(name, ()), "")):
            reading.leave(name, f"{name}={word.text}"[:200])


def _spelled(name: str, engine: Engine) -> str | None:
    """The flag that a variable spells: SM_VLLM_MAX_MODEL_LEN is --max-model-len."""
    prefix = next((prefix for prefix in engine.prefixes if name.startswith(prefix) and name != prefix), None)
    return None if prefix is None else "--" + name.removeprefix(prefix).lower().replace("_", "-")


def _options(reading: Reading, said: Arguments, launch: Launch, facts: Facts) -> None:
    """Flags of the file that `--config` names; one that is not found leaves the flag unread."""
    for each in said.said:
        if each.flag.special != "config":
            continue
        found = None if each.value is None or not each.value.known else files.named(each.value.text, launch, facts)
        if found is None:
            reading.leave("config", f"{each.spelled} {each.value.text if each.value else ''}".strip()[:200])
            continue
        for key, word in found.items():
            _option(reading, key, word)


def _option(reading: Reading, key: str, word: Word) -> None:
    """One key of a file of options: a flag's name, or one of the engine's own keys."""
    engine = reading.engine
    field = engine.nested.get(key)
    if field is not None:
        reading.given(field, word)
    elif engine.nested:
        whole = word.text.startswith("{") or word.text in _NOTHING  # its parts come by themselves
        if not whole and key not in engine.ignored and (key, word.text) != ("backend", "pytorch"):
            reading.leave(key, f"{key}: {word.text}"[:200])
    elif "." not in key:
        flag, negated = find("--" + key.lstrip("-"), engine)
        if flag is None:
            reading.leave(key, f"{key}: {word.text}"[:200])
        else:
            reading.apply(Said(flag, "--" + key, word, word.at, negated))


def _deployment(reading: Reading, program: Program | Launch, launch: Launch, image: images.Found) -> Deployment:
    stated, places = reading.fields, reading.places
    stated.setdefault("engine", reading.engine.name.removeprefix("dynamo:") or _unnamed(program))
    if image.version is not None and image.engine == reading.engine.name and "engine_version" not in stated:
        stated["engine_version"] = image.version
        if program.image is not None:
            places.setdefault("engine_version", program.image.at)
    dated(reading)
    _place_on(reading, program, image)
    found: dict[str, Any] = {name: value for name, value in stated.items() if name in _FIELDS}
    return Deployment(
        at=program.at,
        declared=False,
        form=program.form,
        name=program.name or launch.name,
        pattern=launch.runtime,
        assumed=tuple(dict.fromkeys([*launch.assumed, *reading.assumed])),
        unread=reading.unread if reading.engine.proved else (),
        places={name: at for name, at in places.items() if name in found or name == "gpus"},  # asked for, uncounted
        **found,
    )


def _unnamed(program: Program | Launch) -> Unknown:
    """The engine of a place that states none: whatever its image has."""
    return Unknown(program.image.text if program.image is not None else "not stated")


def _place_on(reading: Reading, program: Program | Launch, image: images.Found) -> None:
    """Add the cards: those that the place asks for, of all machines that serve the model together."""
    held, cards = reading.fields, hardware.cards(program.hardware)
    if cards.nodes is not None:
        reading.set("nodes", cards.nodes, cards.places.get("nodes"))
    kind = cards.accelerator or held.get("accelerator") or (image.accelerator if not cards.gpus else None)
    if kind is None and not cards.places and _FOR_CPUS.search(program.at.path):
        kind = "cpu"
    if kind is not None:
        reading.set("accelerator", kind, cards.places.get("gpu") or cards.places.get("gpus"))
        return
    if "gpu" not in held:
        reading.set("gpu", cards.gpu, cards.places.get("gpu"))
    elif isinstance(held["gpu"], str):
        held["gpu"] = hardware.named(held["gpu"]) or held["gpu"]
    if "gpus" not in held:
        reading.set("gpus", _together(cards.gpus, held.get("nodes")), cards.places.get("gpus"))
    if "gpus" in cards.places:
        reading.places.setdefault("gpus", cards.places["gpus"])
    _visible(reading, program)
    if "gpu" not in held and image.vendor is not None and program.image is not None:
        reading.leave("vendor", f"{program.image.text} (for cards of {image.vendor})"[:200])
    if cards.share is not None:
        reading.leave("share", f"a share of a card ({cards.share})")


def _visible(reading: Reading, program: Program | Launch) -> None:
    """CUDA_VISIBLE_DEVICES leaves a program some of the cards of one machine."""
    word = program.env.get("CUDA_VISIBLE_DEVICES")
    if not isinstance(word, Word) or not word.known or not _DEVICES.fullmatch(word.text.strip()):
        return
    count, asked = len(set(word.text.split(","))), reading.fields.get("gpus")
    if not isinstance(asked, int) or count < asked:
        reading.set("gpus", count, word.at)


def _together(gpus: int | Unknown | None, nodes: object) -> int | Unknown | None:
    if nodes is None or gpus is None or isinstance(gpus, Unknown):
        return gpus
    return gpus * nodes if isinstance(nodes, int) else Unknown(f"{gpus} x {getattr(nodes, 'text', nodes)}")


def every(programs: Iterator[Program], launch: Launch, facts: Facts) -> Iterator[Deployment]:
    """The deployments of a launch's programs; of one that starts none, the one that it states."""
    found = [each for each in (read(program, launch, facts) for program in programs) if each is not None]
    if not found:
        only = stated(launch)
        found = [only] if only is not None else []
    yield from found
