"""The tree of modules that transformers builds: what lies in what, in which order, and which parts stay together.

`Architecture` knows every weight by name and shape. What it does not know, scripts/record_modules.py asks transformers
for, class by class: the order of children, the modules that a placement never splits (`_no_split_modules`), the names
that share one weight, and the tables beside the weights. Inside a module that is never split nothing is recorded but
its tables: there, only the sum counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from vramguard.memory import families
from vramguard.memory.architecture import Architecture, Tensor, UnprovenError
from vramguard.memory.expression import FormulaError, evaluate

_TABLE: Final = 4096  # elements of a table whose shape no formula gives, see SMALL_BUFFER in weights.py
# Keys that say what share of a head rotates, and kinds of rotation whose tables are as long as the share says:
# transformers 5.23.0, modeling_rope_utils.py.
_SHARES: Final = frozenset({"partial_rotary_factor", "rotary_pct", "rotary_dim", "rotary_emb_fraction"})
_ROPE: Final = (None, "default", "linear", "dynamic", "yarn", "longrope", "llama3", "su", "mrope")
Row = Mapping[str, Any]


class Weight(NamedTuple):
    """One copy of one weight: its full name, and the tensor that it is a copy of."""

    name: str
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class Item:
    """A module, or (where not `module`) a parameter of one, with the bytes of everything in it."""

    name: str
    size: int = 0
    module: bool = True
    whole: bool = False  # never split between devices
    own: tuple[Item, ...] = ()  # parameters of the module itself
    children: tuple[Item, ...] = ()
    tables: tuple[Item, ...] = ()  # of the network itself: those of any other module are placed with it

    def all(self) -> Iterator[Item]:
        """Yield the item and every module in it, outermost first; nothing inside a whole one."""
        yield self
        for child in self.children:
            yield from child.all()


@dataclass(frozen=True, slots=True)
class Tree:
    """Modules of a network, and what a placement must know beside them."""

    root: Item
    ties: tuple[tuple[str, ...], ...]  # groups of parameters that are one weight
    shared: Mapping[str, str]  # a name that has no weight of its own: the name that has
    uncertain: int  # bytes by which tables of unknown shape may make any size larger
    kept_whole: bool  # whether its class names modules that stay whole


@dataclass
class _Branch:
    """A module while the tree is built."""

    tables: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    modules: dict[str, _Branch] = field(default_factory=dict)

    def at(self, path: str) -> _Branch:
        branch = self
        for part in path.split(".") if path else ():
            branch = branch.modules.setdefault(part, _Branch())
        return branch

    def add(self, name: str, size: int) -> None:
        """Add a parameter by its full name; inside a whole module two may share a name of which a number is open."""
        path, _, last = name.rpartition(".")
        held = self.at(path).parameters
        held[last] = held.get(last, 0) + size

    def parameter(self, name: str) -> int | None:
        """Bytes of a parameter by its full name, None where there is none."""
        branch: _Branch | None = self
        *path, last = name.split(".")
        for part in path:
            branch = None if branch is None else branch.modules.get(part)
        return None if branch is None else branch.parameters.get(last)

    @property
    def total(self) -> int:
        own = sum(self.tables.values()) + sum(self.parameters.values())
        return own + sum(one.total for one in self.modules.values())


@cache
def recorded() -> Mapping[str, Row]:
    """What scripts/record_modules.py recorded of each class, by the class's name."""
    table = json.loads(Path(__file__).with_name("families").joinpath("modules.json").read_text(encoding="utf-8"))
    rows: Mapping[str, Row] = table["classes"]
    return rows


def row_of(network: Architecture, config: Mapping[str, Any]) -> Row:
    """Record of the class of a network, its parts being what `config` says; raises UnprovenError."""
    row = _recorded(network.name)
    for key, (kind, path, headed) in row.get("parts", {}).items():
        asked = _part_type(config, key, kind)
        if asked == kind:
            continue
        inner = None if path is None else _language_model(asked)
        if inner is None or not (headed or "base" in inner):
            raise UnprovenError(f"device_map: {network.name} is recorded with {key} of {kind}, not of {asked!r:.40}")
        row = _replaced(row, path, inner, "" if headed else inner["base"])
    return without_shares(row, config)


def without_shares(row: Row, config: Mapping[str, Any]) -> Row:
    """Leave the sizes of rotary tables open where a config states a share of its heads to rotate, or an unusual kind.

    They were recorded of each class's default share.
    """
    if not _states_share(config):
        return row
    tables = {name: [one[0], None, *one[2:]] if "inv_freq" in name else one for name, one in row["buffers"].items()}
    return {**row, "buffers": tables}


def _states_share(config: object) -> bool:
    if isinstance(config, list):
        return any(map(_states_share, config))
    if not isinstance(config, Mapping):
        return False
    return any(
        key in _SHARES or (key in ("rope_type", "type") and value not in _ROPE) or _states_share(value)
        for key, value in config.items()
    )


def _recorded(name: str) -> Row:
    row = recorded().get(name)
    if row is None:
        raise UnprovenError(f"device_map: the modules of {name} are not recorded")
    if "refused" in row:
        raise UnprovenError(f"device_map: {name} {row['refused']}")
    return row


def _language_model(kind: object) -> Row | None:
    """Record of the causal language model of a type, None where there is none."""
    named = families.recorded()["classes"].items()
    name = next((name for name, row in named if "causal-lm" in row["types"].get(str(kind), ())), None)
    return None if name is None else _recorded(name)


def _replaced(row: Row, path: str, inner: Row, base: str) -> Row:
    """Put what `inner` has under `base` in the place of what `row` has under `path`."""

    def moved(name: str) -> str | None:
        return _join(path, name[len(base) :].strip(".")).strip(".") if _within(name, base) else None

    new: dict[str, Any] = dict(row)
    new["no_split"] = [*row["no_split"], *inner["no_split"]]
    for key in ("modules", "buffers", "numbers"):
        kept = {name: value for name, value in row.get(key, {}).items() if not _within(name, path)}
        new[key] = kept | {there: value for name, value in inner.get(key, {}).items() if (there := moved(name))}
    for name, one in inner["buffers"].items():
        if there := moved(name):
            new["buffers"][there] = [moved(one[0]) or path, *one[1:]]
    for name, names in inner.get("numbers", {}).items():
        if there := moved(name):
            new["numbers"][there] = [moved(one) for one in names]
    wide = (moved(name) for name in inner.get("wide", ()))
    new["wide"] = [*(name for name in row.get("wide", ()) if not _within(name, path)), *filter(None, wide)]
    pairs = ([moved(name) for name in pair] for pair in inner["ties"])
    new["ties"] = [*row["ties"], *(pair for pair in pairs if all(pair))]
    return new


def _within(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")


def starred(name: str) -> str:
    """Return a name with * for every number between dots."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)", "*", name)


def weights_of(network: Architecture, row: Row) -> list[Weight]:
    """Every copy of every weight by its full name; raises UnprovenError where numbers are not known.

    Inside a module that stays whole a number may be another than transformers': it decides nothing there.
    """
    whole = tuple(path for path, entry in row["modules"].items() if entry.get("kept") == "whole")
    found: list[Weight] = []
    later: dict[str, list[Tensor]] = {}
    for tensor in network.tensors:
        around = next((path for path in whole if tensor.name.startswith(f"{path}.")), None)
        names = _copies(tensor, around)
        if names is None:
            later.setdefault(tensor.name, []).append(tensor)
        else:
            found += [Weight(name, tensor) for name in names]
    for name, tensors in later.items():
        found += _numbered(name, tensors, row, found)
    return found


def tree_of(
    network: Architecture, row: Row, sizes: Iterable[tuple[str, int]], element_bytes: int, *, first: bool = False
) -> Tree:
    """Tree of a network whose weights have these bytes by full name; raises UnprovenError.

    A shared weight counts under the name that the class ties others to, or with `first` under the one that comes first
    in the network. `element_bytes` is that of the network's dtype: tables may follow it.
    """
    root = _Branch()
    for name, size in sizes:
        root.add(name, size)
    shared = _tie(root, row, first=first)
    if network.tied and not shared:
        raise UnprovenError(f"device_map: how {network.name} shares its head's weight is not recorded")
    uncertain = _add_tables(root, row, network, element_bytes)
    _add_bare(root, row, "")
    ties: dict[str, list[str]] = {}
    for name, holder in _ends(shared).items():
        ties.setdefault(holder, [holder]).append(name)
    groups = tuple(tuple(sorted(group)) for group in ties.values())
    return Tree(_item(root, row, "", ""), groups, shared, uncertain, bool(row["no_split"]))


def _part_type(config: Mapping[str, Any], key: str, kind: str) -> object:
    inner: object = config
    for part in key.split("."):
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    return inner.get("model_type", kind) if isinstance(inner, Mapping) else kind


def _copies(tensor: Tensor, around: str | None) -> list[str] | None:
    """Full name of each copy: layers' numbers in the place of the first *, experts' in the second's; None if open.

    `around` is the path of the module that stays whole around the tensor: what stands behind it may be any number.
    """
    stars = tensor.name.count("*")
    if not stars or (around is not None and "*" not in around):
        return [tensor.name.replace("*", "0")] * tensor.copies
    inner, rest = divmod(tensor.copies, len(tensor.layers) or 1)
    free = around is not None and around.count("*") == 1
    if not tensor.layers or rest or not (free or stars == (1 if inner == 1 else 2)):
        return None
    outer = [tensor.name.replace("*", str(layer), 1) for layer in tensor.layers]
    return [name.replace("*", str(number)) for name in outer for number in range(inner)]


def _numbered(name: str, tensors: list[Tensor], row: Row, found: list[Weight]) -> Iterator[Weight]:
    """Copies of tensors whose layers are not listed: as they were recorded, or one for each module around them."""
    names: list[str] = row.get("numbers", {}).get(name, [])
    wanted = sum(tensor.copies for tensor in tensors)
    if len(names) != wanted and name.count("*") == 1:
        before, _, after = name.partition("*")
        numbers = {one.name[len(before) :].partition(".")[0] for one in found if one.name.startswith(before)}
        names = [f"{before}{number}{after}" for number in sorted(numbers, key=int)]
    if len(names) != wanted:
        raise UnprovenError(f"device_map: the numbers in {name} are not known")
    copies = iter(names)
    for tensor in tensors:
        yield from (Weight(next(copies), tensor) for _ in range(tensor.copies))


def _tie(root: _Branch, row: Row, *, first: bool) -> dict[str, str]:
    """Add the names that share a weight: those of which only one is there. Returns each with the name that counts."""
    shared: dict[str, str] = {}
    for target, source in row["ties"]:
        there = {name: root.parameter(name) for name in (target, source)}
        given = [(name, size) for name, size in there.items() if size is not None]
        if len(given) != 1:
            continue
        holder = given[0][0] if first else source
        other = source if holder == target else target
        for name, size in ((holder, given[0][1]), (other, 0)):
            path, _, last = name.rpartition(".")
            root.at(path).parameters[last] = size
        shared[other] = holder
    return shared


def _ends(shared: Mapping[str, str]) -> Mapping[str, str]:
    """Each shared name with the one that stands for its group: chains of ties are one group."""

    def end(name: str) -> str:
        return end(shared[name]) if name in shared else name

    return {name: end(holder) for name, holder in shared.items()}


def _add_tables(root: _Branch, row: Row, network: Architecture, element_bytes: int) -> int:
    """Add the tables beside the weights; returns bytes of those whose shape is not known."""
    large = {table.name: str(table.elements // table.copies) for table in network.buffers}
    unknown = 0
    for name, (anchor, formula, half, full) in row["buffers"].items():
        path, _, last = name.rpartition(".")
        item, rest = full if element_bytes == full else half, path[len(anchor) :].strip(".")
        holders = _instances(root, anchor)
        elements = _elements(large.get(name, formula), network.sizes)
        if "*" in rest or (elements is None and not path):
            raise UnprovenError(f"device_map: where the tables {name} stand is not known")
        if elements is None:
            unknown += len(holders) * _TABLE * item
        for holder in holders:
            holder.at(rest).tables[last] = (elements or 0) * item
    return unknown


def _elements(formula: str | None, sizes: Mapping[str, int]) -> int | None:
    try:
        return None if formula is None else evaluate(formula, sizes)
    except FormulaError:
        return None


def _instances(root: _Branch, path: str) -> list[_Branch]:
    """Every module at a path with stars."""
    found = [root]
    for part in path.split(".") if path else ():
        found = [
            child
            for branch in found
            for name, child in branch.modules.items()
            if name == part or (part == "*" and name.isdigit())
        ]
    return found


def _add_bare(root: _Branch, row: Row, known: str) -> None:
    """Add children that hold nothing at all: they decide whether a module can be split, and nothing else."""
    entry = row["modules"].get(known)
    if entry is None or entry.get("kept") == "whole":
        return
    for name in entry.get("bare", ()):
        root.modules.setdefault(name, _Branch())
    for name, child in root.modules.items():
        _add_bare(child, row, _join(known, "*" if name.isdigit() else name))


def _item(branch: _Branch, row: Row, name: str, known: str) -> Item:
    """Order what a module holds as transformers does."""
    entry = row["modules"].get(known)
    if entry is None:
        if branch.total == 0 and not branch.modules:
            return Item(name)
        raise UnprovenError(f"device_map: the module {name[:80]} is not recorded")
    if entry.get("kept") == "whole":
        return Item(name, branch.total, whole=True)
    if "kept" in entry:
        raise UnprovenError(f"device_map: whether {name[:80]} may be split is the config's choice")
    own = tuple(
        Item(_join(name, last), branch.parameters[last], module=False)
        for last in _ordered(branch.parameters, entry.get("parameters", []), name)
    )
    children = tuple(
        _item(branch.modules[last], row, _join(name, last), _join(known, "*" if last.isdigit() else last))
        for last in _ordered(branch.modules, entry.get("children", []), name)
    )
    tables = [Item(last, branch.tables[last], module=False) for last in branch.tables] if not name else []
    return Item(name, branch.total, own=own, children=children, tables=tuple(tables))


def _ordered(names: Iterable[str], order: list[str], module: str) -> list[str]:
    """Names in the recorded order, numbers by their value."""
    place = {name: number for number, name in enumerate(order)}
    keys = {}
    for name in names:
        known = name if name in place else ("*" if name.isdigit() else name)
        if known not in place:
            raise UnprovenError(f"device_map: {_join(module, name)[:80]} is not recorded")
        keys[name] = (place[known], int(name) if name.isdigit() else 0)
    return sorted(keys, key=keys.__getitem__)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
