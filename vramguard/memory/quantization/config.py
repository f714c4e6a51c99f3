"""A config's quantization_config read strictly: a key that is not known may change bytes, so it is UNKNOWN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vramguard.memory.architecture import UnprovenError

DTYPE_BYTES: Final = {
    "uint8": 1, "int8": 1, "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e8m0fnu": 1, "float16": 2, "bfloat16": 2,
    "float32": 4, "int32": 4, "float64": 8, "int64": 8,
}  # fmt: skip


class Options:
    """One mapping of a config; every value that is read is checked, and `close` refuses what was not read."""

    def __init__(self, values: Mapping[str, Any], path: str = "quantization_config") -> None:
        self._values = values
        self._path = path
        self._read: set[str] = set()

    def raw(self, key: str) -> Any:  # noqa: ANN401 - a value of JSON
        """Value as it stands, None where it is absent or null."""
        self._read.add(key)
        return self._values.get(key)

    def has(self, key: str) -> bool:
        """Whether the key is written, be it null."""
        self._read.add(key)
        return key in self._values

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Truth value of `key`."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.unknown(key)
        return value

    def integer(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """Whole number of `key`, not below `least`."""
        value = self.raw(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.unknown(key)
        return value

    def choice(self, key: str, known: Mapping[str, Any] | tuple[str, ...], default: str | None = None) -> str:
        """Text of `key`, one of `known`."""
        value = self.raw(key)
        value = default if value is None else value
        if not isinstance(value, str) or value not in known:
            raise self.unknown(key)
        return value

    def dtype(self, key: str, default: str | None = None) -> int | None:
        """Bytes of one element of the dtype that `key` names; those of `default` where it names none."""
        value = self.raw(key)
        value = default if value is None else value
        if value is None:
            return None
        name = value.removeprefix("torch.") if isinstance(value, str) else ""
        if name not in DTYPE_BYTES:
            raise self.unknown(key)
        return DTYPE_BYTES[name]

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Texts that `key` lists, None where it is absent or null."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self.unknown(key)
        return tuple(value)

    def inner(self, key: str) -> Options | None:
        """Return the mapping under `key`, None where it is absent or null."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.unknown(key)
        return Options(value, f"{self._path}.{key}")

    def forbid(self, *keys: str) -> None:
        """Refuse keys that change bytes in a way that is not modelled, unless they are absent, null, false or empty."""
        for key in keys:
            if self.raw(key):
                raise self.unknown(key)

    def ignore(self, *keys: str) -> None:
        """Keys that change no byte of a weight, whatever they say."""
        self._read.update(keys)

    def close(self) -> None:
        """Raise UnprovenError where a key is written that nothing has read."""
        for key in self._values:
            if key not in self._read:
                raise self.unknown(key)

    def unknown(self, key: str) -> UnprovenError:
        """Error that names the key and what is written there."""
        return UnprovenError(f"{self._path}.{key} {self._values.get(key)!r:.80} is not known")
