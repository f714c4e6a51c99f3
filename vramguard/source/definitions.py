"""The schemas of custom resources, in YAML and in scripts: they describe no workload, and are megabytes each."""

from __future__ import annotations

import re

KINDS = frozenset({"yaml", "shell"})
_KIND = b"kind: CustomResourceDefinition"
_MARK = re.compile(rb"\n---[ \t]*(?:#[^\n]*)?\r?(?=\n|\Z)")
_FIRST_LEVEL = re.compile(rb"\n([^ #\n\r-][^\n\r]*)")  # what begins at the beginning of a line
_OTHER_KEYS = (b"apiVersion:", b"metadata:", b"spec:", b"status:")


def without(data: bytes) -> bytes:
    """A file's bytes with each document that defines a resource made blank, line for line."""
    if _KIND not in data:
        return data
    framed = b"\n" + data
    parts, start = [], 0
    for mark in _MARK.finditer(framed):
        parts += [_unless_definition(framed[start : mark.start()]), mark[0]]
        start = mark.end()
    return b"".join([*parts, _unless_definition(framed[start:])])[1:]


def _unless_definition(part: bytes) -> bytes:
    """A document as it is, or as many blank lines if all its keys of the first level are a definition's."""
    if _KIND not in part:
        return part
    keys = set(_FIRST_LEVEL.findall(part))
    definition = _KIND in keys and all(key == _KIND or key.startswith(_OTHER_KEYS) for key in keys)
    return b"\n" * part.count(b"\n") if definition else part
