"""The keys of one config, each read as what it must be: hides defaults, spellings and all that a value can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import Repr
from typing import Final, NamedTuple

from vramguard.memory.architecture import UnprovenError

# No real network comes near either; the bounds keep an absurd config from costing time or outgrowing a formula.
MAX_SIZE: Final = 10**9
MAX_LAYERS: Final = 10_000

_REPR: Final = Repr()
_REPR.maxstring = 80
shown: Final = _REPR.repr  # a value as a message shows it: never long, whatever stands in the config


class Nullable(NamedTuple):
    """Default of a key that may be null. Null is then a value of its own (no window, say), not the default."""

    default: int | bool | None = None


@dataclass(frozen=True, slots=True)
class Fields:
    """A config laid over the defaults of its class; every reader raises UnprovenError that names the key.

    Types are as strict as those of transformers' config classes: no text, no float and no boolean is a size.
    """

    values: Mapping[str, object]
    nullable: frozenset[str]

    @classmethod
    def of(
        cls,
        config: Mapping[str, object],
        defaults: Mapping[str, int | bool | Nullable],
        spellings: Mapping[str, tuple[str, ...]],
    ) -> Fields:
        """Lay `config` over `defaults`; `spellings` lists all names of a key, the one that wins first."""
        values: dict[str, object] = {}
        for key, default in defaults.items():
            given = next((name for name in spellings.get(key, (key,)) if name in config), None)
            plain = default.default if isinstance(default, Nullable) else default
            values[key] = plain if given is None else config[given]
        return cls(values, frozenset(key for key, default in defaults.items() if isinstance(default, Nullable)))

    def size(self, key: str, limit: int = MAX_SIZE) -> int:
        """Read a positive integer."""
        return self._integer(key, self._present(key), 1, limit)

    def count(self, key: str) -> int:
        """Read an integer that may be zero."""
        return self._integer(key, self._present(key), 0, MAX_SIZE)

    def optional(self, key: str) -> int | None:
        """Read a positive integer or null."""
        return None if self.is_null(key) else self.size(key)

    def flag(self, key: str) -> bool:
        """Read a boolean; null, where the class allows it, is false."""
        value = False if self.is_null(key) else self.values[key]
        if not isinstance(value, bool):
            raise UnprovenError(f"config: {key} is {shown(value)}, not a boolean")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Read a list of strings or null."""
        value = None if self.is_null(key) else self.values[key]
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UnprovenError(f"config: {key} is {shown(value)}, not a list of strings")
        return tuple(value)

    def integers(self, key: str) -> frozenset[int]:
        """Read a list of integers; null is the empty list."""
        value = [] if self.is_null(key) else self.values[key]
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise UnprovenError(f"config: {key} is {shown(value)}, not a list of integers")
        return frozenset(value)

    def is_null(self, key: str) -> bool:
        """Whether the key is null, which must be one of the values that its class allows."""
        if self.values[key] is None and key not in self.nullable:
            raise UnprovenError(f"config: {key} is null")
        return self.values[key] is None

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.size("num_hidden_layers", MAX_LAYERS)

    def _present(self, key: str) -> object:
        if self.values[key] is None:
            raise UnprovenError(f"config: {key} is null")
        return self.values[key]

    @staticmethod
    def _integer(key: str, value: object, least: int, most: int) -> int:
        if type(value) is not int:  # a bool is an int to isinstance
            raise UnprovenError(f"config: {key} is {shown(value)}, not an integer")
        if not least <= value <= most:
            raise UnprovenError(f"config: {key} is {shown(value)}, not between {least} and {most}")
        return value
