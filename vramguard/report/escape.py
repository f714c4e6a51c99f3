"""Text from a repository, made harmless: what a terminal or a runner could take for a command is spelt out."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from vramguard.facts import Unknown

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    """`text` with every character that is not printable written as an escape.

    That covers control characters and terminal sequences, bidirectional overrides, zero-width characters, line
    separators, odd spaces and the lone surrogates that stand for the undecodable bytes of a file name.
    """
    return text if text.isprintable() else "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - the surrogates by which PEP 383 carries the bytes 80 to FF
        return f"\\x{code - 0xDC00:02x}"
    if char in _SHORT:
        return _SHORT[char]
    form = "\\x{:02x}" if code <= 0x7F else "\\u{:04x}" if code <= 0xFFFF else "\\U{:08x}"  # noqa: PLR2004 - ASCII, BMP
    return form.format(code)


def to_json(value: object) -> str:
    """JSON that every parser takes, and a newline: ASCII, no lone surrogates, no NaN."""
    return json.dumps(plain(value), indent=2, allow_nan=False) + "\n"


def plain(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """`value` in JSON's own types; sets sorted, fractions and dates as text, an `Unknown` as {"unknown": its text}."""
    if isinstance(value, Unknown):
        return {"unknown": plain(value.text)}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str):
        return value if value.isascii() else "".join(_escape(char) if _is_lone(char) else char for char in value)
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _collection(value)


def _is_lone(char: str) -> bool:
    """Whether a character is a surrogate, which no encoding of Unicode can carry."""
    return "\ud800" <= char <= "\udfff"


def _collection(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return str(value)
