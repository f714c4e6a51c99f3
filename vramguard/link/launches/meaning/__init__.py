"""What the flags of each engine mean for a deployment: those that a field holds, and those that mean it together."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from vramguard.facts import Unknown
from vramguard.link.launches import values
from vramguard.link.launches.flags import Said
from vramguard.link.launches.tables import Engine
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vramguard.facts import Word

# vLLM, engine/arg_utils.py (human_readable_int_args): what may be written as 32k.
_HUMAN: Final = ("max_model_len", "max_num_batched_tokens", "kv_cache_memory_bytes")
_AUTO: Final = ("auto", "-1")


@dataclass
class Reading:
    """What was read so far of one start of an engine."""

    engine: Engine
    fields: dict[str, Any] = field(default_factory=dict)
    places: dict[str, Location] = field(default_factory=dict)
    special: dict[str, list[Said]] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    _unread: dict[str, str | None] = field(default_factory=dict)

    @property
    def unread(self) -> tuple[str, ...]:
        """Flags that no field holds and that may change the peak, as written."""
        return tuple(text for text in self._unread.values() if text is not None)

    def apply(self, said: Said) -> None:
        """Take one flag; one of the same meaning that came before no longer counts."""
        if said.flag.field is not None:
            self._field(said.flag.field, said)
        elif said.flag.special is not None:
            self.special.setdefault(said.flag.special, []).append(said)
        elif said.flag.unread:
            self._unread[said.flag.names[0]] = None if is_harmless(said) else written(said)

    def _field(self, name: str, said: Said) -> None:
        if said.value is None:
            known: object = not said.negated if name in values.SWITCHES else Unknown(said.spelled)
            self.set(name, known, said.at)
            return
        human = name in _HUMAN and self.engine.flags.get("--max-model-len") is not None
        self.set(name, values.value(name, said.value, human=human), said.value.at)

    def set(self, name: str, value: object, at: Location | None) -> None:
        """Give a field its value, in the place of an earlier one; None takes it away."""
        if value is None:
            self.fields.pop(name, None)
            self.places.pop(name, None)
            return
        self.fields[name] = values.model(value) if name == "model" and isinstance(value, str) else value
        if at is not None:
            self.places[name] = at

    def given(self, name: str, word: Word) -> None:
        """What the place states by a field's name."""
        self.set(name, values.value(name, word, human=True), word.at)

    def leave(self, key: str, text: str) -> None:
        """Note what no field holds."""
        self._unread[key] = text

    def last(self, special: str) -> Said | None:
        """The flag that counts of several alike."""
        found = self.special.get(special)
        return found[-1] if found else None

    def text(self, special: str) -> str | None:
        """Its value; None where it was not given, or has none that is known."""
        said = self.last(special)
        return said.value.text.strip() if said is not None and said.value is not None and said.value.known else None

    def number(self, special: str) -> int | None:
        """Its value as a whole number; None where it is none."""
        text = self.text(special)
        return None if text is None else values.count(text)

    def leave_said(self, said: Said) -> None:
        """Note a flag that no field holds."""
        self._unread[said.flag.names[0]] = written(said)


def written(said: Said) -> str:
    """A flag as it stands."""
    return said.spelled if said.value is None else f"{said.spelled} {said.value.text}"[:200]


def is_on(said: Said) -> bool | None:
    """Whether a switch is on; None where that is not known."""
    if said.value is None:
        return not said.negated
    return values.truth(said.value.text) if said.value.known else None


def is_harmless(said: Said) -> bool:
    """Whether a flag that may change the peak was given a value that does not."""
    if said.flag.takes in ("none", "switch"):
        on = is_on(said)
        if not said.flag.unless:
            return on is False
        return on is not None and str(on).lower() in said.flag.unless
    text = said.value.text.strip() if said.value is not None and said.value.known else None
    return text is not None and text.lower() in [each.lower() for each in said.flag.unless]


_MODULES: Final[Mapping[str, str]] = {
    "vllm": "vllm",
    "kserve": "vllm",
    "nim": "vllm",
    "dynamo:vllm": "vllm",
    "sglang": "sglang",
    "dynamo:sglang": "sglang",
    "tgi": "tgi",
    "tensorrt-llm": "trtllm",
    "dynamo:tensorrt-llm": "trtllm",
    "llama.cpp": "llama_cpp",
}


def finish(reading: Reading) -> None:
    """Make fields of flags that mean something only together."""
    module = _MODULES.get(reading.engine.name)
    if module is not None:
        end: Callable[[Reading], None] = import_module(f"{__name__}.{module}").finish
        end(reading)


def dated(reading: Reading) -> None:
    """Note flags that the stated release treats otherwise than newer ones."""
    version = reading.fields.get("engine_version")
    if reading.engine.name == "vllm" and isinstance(version, str):
        from vramguard.link.launches.meaning import vllm

        vllm.falls_back(reading, version)


def device(reading: Reading) -> None:
    """What the model runs on, where that is no GPU: `--device cpu`."""
    said, text = reading.last("device"), reading.text("device")
    if said is None or text in ("cuda", "auto", "gpu"):
        return
    kind = {"cpu": "cpu", "tpu": "tpu", "neuron": "neuron", "hpu": "gaudi", "none": "cpu"}.get(text or "")
    if kind is None:
        reading.leave_said(said)
    else:
        reading.set("accelerator", kind, said.at)


def nodes(reading: Reading) -> None:
    """Machines that serve one model together."""
    said = reading.last("nodes")
    if said is not None and said.value is not None:
        reading.set("nodes", values.value("nodes", said.value), said.value.at)


def experts(reading: Reading) -> None:
    """A number of cards that experts are dealt to: more than one deals whole experts, to the cards of a layer."""
    said, number = reading.last("experts"), reading.number("experts")
    if said is None or number == 1:
        return
    if number is None or number != reading.fields.get("tensor_parallel_size", 1):
        reading.leave_said(said)
    else:
        reading.set("enable_expert_parallel", True, said.at)
