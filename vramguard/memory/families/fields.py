"""The keys of one config, each read as what it must be: hides defaults, spellings and all that a value can be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import isnan
from reprlib import Repr
from typing import Any, Final

from vramguard.memory.architecture import UnprovenError

# No real network comes near either; the bounds keep an absurd config from costing time or outgrowing a formula.
MAX_SIZE: Final = 10**9
MAX_LAYERS: Final = 1_024
_LAYERS: Final = re.compile(r"(.*_)?(layers?|depths?|blocks|block_sizes|block_repeats)")  # keys that count layers

_REPR: Final = Repr()
_REPR.maxstring = 80
shown: Final = _REPR.repr  # a value as a message shows it: never long, whatever stands in the config

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Fields:
    """A config laid over the defaults of its class; every reader raises UnprovenError that names the key.

    Types are as strict as those of transformers' config classes: no text, no float and no boolean is a size. A key may
    be read by any of its names; where a config spells it twice, the other name wins over the field's own, as it does in
    transformers (attribute_map). `table` holds the config classes by name (configs.json), for the configs inside.
    """

    kind: str  # the config class's name in the table: a model type
    config: Mapping[str, Any]
    table: Mapping[str, Any]
    path: str = ""  # of a part: "text_config."
    read: set[str] = field(default_factory=set)  # keys that a builder has asked for
    parts: dict[str, Fields] = field(default_factory=dict)
    derived: dict[str, int] = field(default_factory=dict)  # sizes that the config leaves to its class

    # One key

    def size(self, key: str, limit: int = MAX_SIZE) -> int:
        """Read a positive integer."""
        return self._integer(key, self._present(key), 1, limit)

    def count(self, key: str) -> int:
        """Read an integer that may be zero."""
        return self._integer(key, self._present(key), 0, MAX_SIZE)

    def optional(self, key: str) -> int | None:
        """Read a positive integer or null; a key that the class does not declare may be absent."""
        return None if self.is_null(key) else self.size(key)

    def flag(self, key: str) -> bool:
        """Read a boolean; null, where the class allows it, is false."""
        value = False if self.is_null(key) else self._value(key)
        if not isinstance(value, bool):
            raise UnprovenError(f"config: {self.path}{key} is {shown(value)}, not a boolean")
        return value

    def number(self, key: str) -> Fraction:
        """Read a number that need not be whole, exactly as Python reads its float."""
        value = self._present(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > MAX_SIZE or isnan(value):
            raise UnprovenError(f"config: {self.path}{key} is {shown(value)}, not a number")
        return Fraction(value)

    def ratio(self, key: str) -> float:
        """Read a number above zero, for a class that computes with floats."""
        value = self.number(key)
        if value * MAX_SIZE < 1:
            raise UnprovenError(f"config: {self.path}{key} is {shown(self.raw(key))}, not above zero")
        return float(value)

    def text(self, key: str) -> str:
        """Read a string."""
        value = self._present(key)
        if not isinstance(value, str):
            raise UnprovenError(f"config: {self.path}{key} is {shown(value)}, not a string")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Read a list of strings or null."""
        value = None if self.is_null(key) else self._value(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UnprovenError(f"config: {self.path}{key} is {shown(value)}, not a list of strings")
        return tuple(value)

    def integers(self, key: str) -> tuple[int, ...]:
        """Read a list of integers; null is the empty list."""
        value = [] if self.is_null(key) else self._value(key)
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise UnprovenError(f"config: {self.path}{key} is {shown(value)}, not a list of integers")
        most = MAX_LAYERS if _LAYERS.fullmatch(key) else MAX_SIZE
        if any(abs(item) > most for item in value):
            raise UnprovenError(f"config: {self.path}{key} is {shown(value)}, not all between {-most} and {most}")
        return tuple(value)

    def raw(self, key: str) -> Any:  # noqa: ANN401 - JSON
        """Read a value as it stands, for a builder that tells its forms apart itself."""
        return self._value(key)

    def given(self, key: str) -> bool:
        """Whether the config itself has the key (by any of its names), null or not."""
        return any(name in self.config for name in self._names(key))

    def is_null(self, key: str) -> bool:
        """Whether the key is null, which must be one of the values that its class allows."""
        value = self._value(key)
        canonical = self._canonical(key)
        if value is None and canonical in self._fields and canonical not in self._row["null"]:
            raise UnprovenError(f"config: {self.path}{key} is null")
        return value is None

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.size("num_hidden_layers", MAX_LAYERS)

    def derive(self, key: str, value: int) -> int:
        """Note what the class makes of a key that is null or a word; formulas then know it by its name."""
        self.derived[key] = value
        return value

    # The whole

    def part(self, key: str) -> Fields:
        """Read a config inside this one; absent or null, it is what its class, or this one for it, defaults to."""
        if key in self.parts:
            return self.parts[key]
        spec = self._row.get("parts", {}).get(key)
        if spec is None:
            raise UnprovenError(f"config: {self.path}{key} is not known for {self.kind}")
        given = self._value(key)
        if given is not None and not isinstance(given, Mapping):
            raise UnprovenError(f"config: {self.path}{key} is {shown(given)}, not an object")
        config: Mapping[str, Any] = spec.get("defaults", {}) if given is None else given
        kind = config.get("model_type", spec["type"]) if spec["open"] else spec["type"]
        if not isinstance(kind, str) or kind not in self.table:
            raise UnprovenError(f"config: {self.path}{key}.model_type {shown(kind)} is not supported")
        self.parts[key] = Fields(kind, config, self.table, f"{self.path}{key}.")
        return self.parts[key]

    def has_part(self, key: str) -> bool:
        """Whether there is a config under the key: given, or built from defaults because it is not optional."""
        spec = self._row.get("parts", {}).get(key)
        return spec is not None and (self._value(key) is not None or not spec.get("optional", False))

    def all(self) -> Iterator[Fields]:
        """Yield the config itself and every part that was read, outermost first."""
        yield self
        for part in self.parts.values():
            yield from part.all()

    def sizes(self) -> dict[str, int]:
        """Every positive integer of the config and its parts by name, as text_hidden_size in a part."""
        prefix = self.path.replace("_config.", "_").replace(".", "_")
        values = {key: self._value(key, note=False) for key in self._fields} | self.derived
        own = {f"{prefix}{key}".lower(): value for key, value in values.items()}
        mine = {key: value for key, value in own.items() if type(value) is int and 0 < value <= MAX_SIZE}
        for part in self.parts.values():
            mine |= part.sizes()
        return mine

    @property
    def _row(self) -> Mapping[str, Any]:
        row: Mapping[str, Any] = self.table[self.kind]
        return row

    @property
    def _fields(self) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = self._row["fields"]
        return fields

    def _canonical(self, key: str) -> str:
        """The name by which the class declares a key, whichever of its names is given; the key itself if by none."""
        return self._names(key)[-1]

    def _names(self, key: str) -> list[str]:
        """All names of a key, the one that wins first: the class sets its own fields first, and others over them."""
        names: Mapping[str, str] = self._row.get("names", {})
        slot = names.get(key, key)
        same = [*(name for name, meant in names.items() if meant == slot), slot]
        return sorted(dict.fromkeys(same), key=lambda name: name in self._fields)

    def _value(self, key: str, *, note: bool = True) -> Any:  # noqa: ANN401 - JSON
        names = self._names(key)
        if note:
            self.read.update(names)
        given = next((self.config[name] for name in names if name in self.config), _ABSENT)
        return self._fields.get(names[-1]) if given is _ABSENT else given

    def _present(self, key: str) -> Any:  # noqa: ANN401 - JSON
        value = self._value(key)
        if value is None:
            raise UnprovenError(f"config: {self.path}{key} is null")
        return value

    def _integer(self, key: str, value: object, least: int, most: int) -> int:
        if type(value) is not int:  # a bool is an int to isinstance
            raise UnprovenError(f"config: {self.path}{key} is {shown(value)}, not an integer")
        most = min(most, MAX_LAYERS) if _LAYERS.fullmatch(key) else most
        if not least <= value <= most:
            raise UnprovenError(f"config: {self.path}{key} is {shown(value)}, not between {least} and {most}")
        return value
