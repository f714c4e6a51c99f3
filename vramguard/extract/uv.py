"""Where uv takes a declared name from: `[tool.uv.sources]` in a pyproject.toml or a script's own block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from vramguard.extract import declaration
from vramguard.extract.tables import mapping

if TYPE_CHECKING:
    from vramguard.extract.declaration import Declaration

Sources = Mapping[str, tuple[Mapping[str, object], ...]]


def sources(table: object) -> Sources:
    """The sources of each name; several where they differ by marker, extra or group."""
    found: dict[str, tuple[Mapping[str, object], ...]] = {}
    for name, value in mapping(table, "tool", "uv", "sources").items():
        several = value if isinstance(value, list) else [value]
        found[canonicalize_name(name)] = tuple(item for item in several if isinstance(item, Mapping))
    return found


def sourced(said: Declaration, known: Sources) -> Declaration:
    """The declaration with its source in the place of its version; of several the one that fixes least."""
    given = known.get(canonicalize_name(said.name), ())
    found = [taken for source in given for taken in [_from(said, source)] if taken is not None]
    if not found:
        return said
    if len(found) < len(given):
        found.append(said)
    loose = [taken for taken in found if taken.pinned not in (True, None)]
    return (loose or [taken for taken in found if taken.pinned] or found)[0]


def _from(said: Declaration, source: Mapping[str, object]) -> Declaration | None:
    """What a source makes of a declaration; None where it only names an index."""
    if "git" in source:
        reference = source.get("rev") or source.get("tag") or source.get("branch")
        taken = declaration.repository(said.name, str(source["git"]), reference)
    elif "url" in source:
        taken = declaration.read(f"{said.name} @ {source['url']}")
    elif "path" in source or source.get("workspace"):
        taken = said._replace(specifier=str(source.get("path", "")), pinned=None, hashed=False, reason="")
    else:
        return None
    return taken._replace(extras=said.extras, marker=said.marker)
