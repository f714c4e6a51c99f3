"""Write vramguard/memory/families/modules.json: the tree of modules of every class, as far as a placement splits it.

    python scripts/record_modules.py [MODEL_TYPE ...] [--samples 5] [--part 0/1 --rows FILE]

Run it where torch and transformers are installed; a newer transformers is one run and one diff to review. Each class is
built as `from_pretrained` builds it, untied and on the meta device, in several configs:

    no_split     what its `_no_split_modules` names, parts included
    modules      by path, with * for numbers: whether it is kept whole, its children and parameters in order, and
                 children that hold nothing ("bare"); nothing inside a module that is kept whole
    ties         names of one weight: the one that is shared, and the one that it is shared with
    buffers      tables: the deepest module around each that has weights, elements as a formula of the config's sizes
                 (null where none holds), bytes of an element in a half-precision network and in a float32 one
    wide         weights that are built in float32 whatever the network's dtype
    numbers      full names of weights whose numbers follow no layer
    parts        configs inside that may be of another type: the type that was built, where its model stands (null
                 where that is not one place), and whether that is a model with a head
    base         where the base model stands in the class

A class for which our own tree is not that of transformers, in any of its configs, is written as refused, with why.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "memory")]
import torch  # noqa: E402
import transformers  # noqa: E402
from memory import perturb  # noqa: E402
from memory.scoreboard import class_and_config  # noqa: E402
from memory.scores import pairs  # noqa: E402
from transformers.modeling_utils import ContextManagers  # noqa: E402
from transformers.models.auto import modeling_auto  # noqa: E402

from vramguard.memory.architecture import Architecture, UnprovenError  # noqa: E402
from vramguard.memory.expression import evaluate  # noqa: E402
from vramguard.memory.families import MODULES, architecture, recorded  # noqa: E402
from vramguard.memory.modules import Item, starred, tree_of, weights_of, without_shares  # noqa: E402

TABLE = Path(__file__).parents[1] / "vramguard" / "memory" / "families" / "modules.json"
Config = dict[str, Any]
Sample = tuple[Config, Architecture, Any, Any]  # ours of a config, theirs in bfloat16 and in float32


def build(config: Config, dtype: torch.dtype) -> Any:  # noqa: ANN401 - a model of transformers
    """The class that a config names, as from_pretrained has it when it places modules: on meta, nothing tied yet."""
    cls, made = class_and_config(config)
    _set_dtype(made, dtype)
    with ContextManagers(cls.get_init_context(dtype, False, False, None)):
        return cls(made)


def _set_dtype(config: Any, dtype: torch.dtype) -> None:  # noqa: ANN401
    config.dtype = dtype
    for key in config.sub_configs or ():
        inner = getattr(config, key, None)
        if inner is not None and not isinstance(inner, dict):
            _set_dtype(inner, dtype)


def samples(model_type: str, name: str, count: int) -> list[Sample]:
    """Networks of the class: its default config, tied and untied, and changed ones that both of us build."""
    found: list[Sample] = []
    default = perturb.base(model_type, name)
    tied = [{**default, "tie_word_embeddings": value} for value in (True, False)]
    changed = (perturb.perturbed(model_type, name, f"modules-{seed}") for seed in range(4 * count))
    for config in (default, *tied, *changed):
        if len(found) == count + len(tied):
            break
        try:
            network = architecture(config)
            found.append((config, network, build(config, torch.bfloat16), build(config, torch.float32)))
        except UnprovenError:
            pass
        except Exception:  # noqa: BLE001, S110 - transformers refuses many a config, in as many ways
            pass
    return found


def record(model_type: str, name: str, count: int) -> dict[str, Any]:
    """The row of one class."""
    found = samples(model_type, name, count)
    if not found:
        return {"refused": "is built from none of the configs that were tried"}
    try:
        row = _row(model_type, name, found)
    except _UnlikeError as error:
        return {"refused": str(error)}
    # Where a formula does not hold for every config, the tables' sizes are left open.
    loose = {**row, "buffers": {name: [one[0], None, *one[2:]] for name, one in row["buffers"].items()}}
    reasons = []
    for tried in (row, loose):
        try:
            _compare_all(found, tried)
        except (UnprovenError, _UnlikeError) as error:
            reasons.append(str(error).removeprefix("device_map: "))
        else:
            return tried
    return {"refused": reasons[0]}


def _compare_all(found: list[Sample], row: dict[str, Any]) -> None:
    for config, network, half, full in found:
        opened = dict(without_shares(row, config))
        for model, element_bytes in ((half, 2), (full, 4)):
            compare(network, opened, model, element_bytes)


class _UnlikeError(Exception):
    """Something that a row cannot say."""


def _row(model_type: str, name: str, found: list[Sample]) -> dict[str, Any]:
    models = [half for _, _, half, _ in found]
    if any(getattr(model, "_no_placement_params", None) for model in models):
        raise _UnlikeError("has weights that are placed apart (_no_placement_params)")
    no_split = set().union(*(model._no_split_modules or () for model in models))  # noqa: SLF001
    return {
        "no_split": sorted(no_split),
        "modules": modules(models, no_split),
        "ties": ties(models),
        "buffers": buffers(found),
        **_given("wide", wide(found)),
        **_given("numbers", numbers(found)),
        **_given("parts", parts(model_type, name, models[0])),
        **_given("base", base(models[0])),
    }


def _given(key: str, value: Any) -> dict[str, Any]:  # noqa: ANN401
    return {key: value} if value else {}


def modules(models: list[Any], no_split: set[str]) -> dict[str, Any]:
    """What lies in what, merged over all configs."""
    kept: dict[str, set[str]] = {}
    children: dict[str, list[list[str]]] = {}
    parameters: dict[str, list[list[str]]] = {}
    bare: dict[str, list[set[str]]] = {}
    for model in models:
        whole: tuple[str, ...] = ()
        for path, module in model.named_modules():
            if path.startswith(whole):
                continue
            key, is_whole = starred(path), type(module).__name__ in no_split
            kept.setdefault(key, set()).add("whole" if is_whole else "split")
            if is_whole:
                whole = (*whole, f"{path}.")
                continue
            named = dict(module.named_children())
            children.setdefault(key, []).append(_starred_once(named))
            parameters.setdefault(key, []).append(_starred_once(n for n, _ in module.named_parameters(recurse=False)))
            empty = {n for n, child in named.items() if not any(True for _ in (*child.parameters(), *child.buffers()))}
            bare.setdefault(key, []).append({n for n in empty if not dict(named[n].named_children())})
    return {
        key: {"kept": "whole"}
        if kinds == {"whole"}
        else {
            **({} if kinds == {"split"} else {"kept": "varies"}),
            **_given("children", merged(children[key], key)),
            **_given("parameters", merged(parameters[key], key)),
            **_given("bare", sorted(set.intersection(*bare[key]))),
        }
        for key, kinds in kept.items()
    }


def _starred_once(names: Any) -> list[str]:  # noqa: ANN401 - of names
    return list(dict.fromkeys("*" if name.isdigit() else name for name in names))


def merged(orders: list[list[str]], what: str) -> list[str]:
    """One order that all of these are parts of."""
    before: dict[str, set[str]] = {name: set() for order in orders for name in order}
    for order in orders:
        for one, other in pairwise(order):
            before[other].add(one)
    found: list[str] = []
    while len(found) < len(before):
        free = [name for name in before if name not in found and before[name] <= {*found}]
        if not free:
            raise _UnlikeError(f"orders the children of {what or 'the model'} in more than one way")
        found.append(free[0])
    return found


def ties(models: list[Any]) -> list[list[str]]:
    """Names of one weight."""
    found: dict[tuple[str, str], None] = {}
    for model in models:
        found |= dict.fromkeys(model.all_tied_weights_keys.items())
    if any(re.search(r"\.\d+\.", name) for pair in found for name in pair):
        raise _UnlikeError("shares weights between layers")
    return [list(pair) for pair in found]


def buffers(found: list[Sample]) -> dict[str, list[Any]]:
    """Tables by name: a formula of their elements, and bytes of one in either kind of network."""
    seen: dict[str, list[tuple[Architecture, int]]] = {}
    items: dict[str, list[set[int]]] = {}
    for _, network, *models in found:
        for number, model in enumerate(models):
            for name, table in model.named_buffers():
                items.setdefault(starred(name), [set(), set()])[number].add(table.itemsize)
                if number == 0:
                    seen.setdefault(starred(name), []).append((network, table.numel()))
    rows: dict[str, list[Any]] = {}
    anchors = {starred(n): anchor(model, n) for _, _, model, _ in found for n, _ in model.named_buffers()}
    for name, (half, full) in items.items():
        if len(half) != 1 or len(full) != 1:
            raise _UnlikeError(f"has tables {name} of several types")
        rows[name] = [anchors[name], formula(seen[name]), half.pop(), full.pop()]
    return rows


def anchor(model: Any, name: str) -> str:  # noqa: ANN401
    """Path of the deepest module around a table that has weights, with * for numbers."""
    path = name.rpartition(".")[0]
    while path and not any(True for _ in model.get_submodule(path).parameters()):
        path = path.rpartition(".")[0]
    return starred(path)


def formula(seen: list[tuple[Architecture, int]]) -> str | None:
    """Elements of a table as a formula of the config's sizes, None where none holds."""
    values = {elements for _, elements in seen}
    if values == {1}:
        return "1"
    names = sorted(set.intersection(*({*network.sizes} for network, _ in seen)), key=lambda n: (len(n), n))
    forms = [f"{n}{tail}" for tail in ("", " // 2", " // 4", " // 8", " * 2", " + 1", " + 2") for n in names]
    forms += [f"{a} * {b}" for a in names for b in names if a <= b]
    namespace = [(dict(network.sizes), elements) for network, elements in seen]
    for form in forms:
        if all(_value(form, sizes) == elements for sizes, elements in namespace):
            return form
    enough = len({id(network) for network, _ in seen}) > 3  # noqa: PLR2004 - configs, two of which tie or do not
    return str(values.pop()) if len(values) == 1 and enough else None


def _value(form: str, sizes: dict[str, int]) -> int:
    return evaluate(form, sizes)


def wide(found: list[Sample]) -> list[str]:
    """Weights that a half-precision network is built with in float32."""
    widths: dict[str, set[int]] = {}
    for _, _, half, full in found:
        for name, weight in half.named_parameters():
            widths.setdefault(starred(name), set()).add(weight.itemsize)
        if any(weight.itemsize != torch.float32.itemsize for weight in full.parameters()):
            raise _UnlikeError("has weights that are no floats")
    mixed = [name for name, sizes in widths.items() if sizes not in ({2}, {4})]
    if mixed:
        raise _UnlikeError(f"has weights {mixed[0]} of several types")
    return sorted(name for name, sizes in widths.items() if sizes == {4})


def numbers(found: list[Sample]) -> dict[str, list[str]]:
    """Full names behind a name whose numbers follow no layer, where they are always the same."""
    names: dict[str, set[tuple[str, ...]]] = {}
    for _, network, half, _ in found:
        loose = {t.name for t in network.tensors if "*" in t.name and (not t.layers or t.name.count("*") > 2)}  # noqa: PLR2004
        groups: dict[str, list[str]] = {name: [] for name in loose}
        for name, _ in half.named_parameters():
            if starred(name) in groups:
                groups[starred(name)].append(name)
        for name, group in groups.items():
            names.setdefault(name, set()).add(tuple(group))
    return {name: list(groups.pop()) for name, groups in names.items() if len(groups) == 1}


def parts(model_type: str, name: str, model: Any) -> dict[str, list[Any]]:  # noqa: ANN401
    """Types of the configs inside that may be others, by path, and where their models stand."""
    found: dict[str, list[Any]] = {}

    def walk(kind: str, config: Config, path: str) -> None:
        for key, spec in recorded()["configs"].get(kind, {}).get("parts", {}).items():
            given = config.get(key)
            inner = dict(given) if isinstance(given, dict) else dict(spec.get("defaults", {}))
            part = inner.get("model_type", spec["type"]) if spec["open"] else spec["type"]
            if spec["open"]:
                found[path + key] = [part, *place_of(model, part)]
            walk(part, inner, f"{path}{key}.")

    walk(model_type, perturb.base(model_type, name), "")
    return found


def place_of(model: Any, kind: str) -> tuple[str | None, bool]:  # noqa: ANN401
    """Path of the one model inside whose config is of a type, and whether it has a head."""
    of_kind = [
        path
        for path, module in model.named_modules()
        if path and isinstance(module, transformers.PreTrainedModel) and module.config.model_type == kind
    ]
    outer = [path for path in of_kind if not any(path.startswith(f"{other}.") for other in of_kind)]
    if len(outer) != 1:
        return None, False
    named = type(model.get_submodule(outer[0])).__name__
    if named == modeling_auto.MODEL_MAPPING_NAMES.get(kind):
        return outer[0], False
    return (outer[0], True) if named == modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind) else (None, False)


def base(model: Any) -> str | None:  # noqa: ANN401
    """Path of the base model of its config in a model with a head."""
    prefix = model.base_model_prefix
    inner = getattr(model, prefix, None) if prefix else None
    known = modeling_auto.MODEL_MAPPING_NAMES.get(model.config.model_type)
    return prefix if inner is not None and type(inner).__name__ == known else None


def compare(network: Architecture, row: dict[str, Any], model: Any, element_bytes: int) -> None:  # noqa: ANN401
    """Raise _UnlikeError where the tree that we build of the row is not the model's."""
    four = {*row.get("wide", ())}
    sizes = [
        (w.name, w.tensor.elements // w.tensor.copies * (4 if starred(w.name) in four else element_bytes))
        for w in weights_of(network, row)
    ]
    tree = tree_of(network, row, sizes, element_bytes)
    theirs = module_sizes(model)
    for item in tree.root.all():
        if not 0 <= theirs[item.name] - item.size <= tree.uncertain:
            raise _UnlikeError(f"has {theirs[item.name]} bytes in {item.name or 'all'}, not {item.size}")
        if not item.whole:
            _compare_order(item, model.get_submodule(item.name))
    if {*map(str, tree.shared.items())} != {*map(str, model.all_tied_weights_keys.items())}:
        raise _UnlikeError("ties weights by a rule of its own")


def _compare_order(item: Item, module: Any) -> None:  # noqa: ANN401
    prefix = f"{item.name}." if item.name else ""
    own = [name for name, _ in module.named_parameters(recurse=False)]
    if [one.name.removeprefix(prefix) for one in item.own] != own:
        raise _UnlikeError(f"has other parameters in {item.name or 'the model'}")
    if not item.name and [one.name for one in item.tables] != [name for name, _ in module.named_buffers(recurse=False)]:
        raise _UnlikeError("has other tables of its own")
    mine = [one.name.removeprefix(prefix) for one in item.children]
    there = [name for name, _ in module.named_children()]
    full = [name for name, one in module.named_children() if any(True for _ in (*one.parameters(), *one.buffers()))]
    if [name for name in there if name in mine] != mine or not {*full} <= {*mine} or bool(there) != bool(mine):
        raise _UnlikeError(f"has other children in {item.name or 'the model'}")
    if there and mine and there[0] != mine[0]:
        raise _UnlikeError(f"begins {item.name or 'the model'} with a module that is not always there")


def module_sizes(model: Any) -> Counter[str]:  # noqa: ANN401
    """Bytes of every module, tied weights once, as transformers' own compute_module_sizes counts them."""
    from transformers.integrations.accelerate import compute_module_sizes

    return Counter(compute_module_sizes(model)[0])


def main() -> None:
    """Ask transformers and write the table, one class a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*")
    parser.add_argument("--samples", type=int, default=5, help="changed configs of each class")
    parser.add_argument("--part", default="0/1", help="one of several processes: its number, and how many there are")
    parser.add_argument("--rows", type=Path, help="write rows there instead, to be joined by --join")
    parser.add_argument("--join", type=Path, nargs="*", default=[], help="files of rows to write the table from")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {"classes": {}}
    rows: dict[str, Any] = dict(table["classes"])
    for path in options.join:
        rows |= dict(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    number, of = map(int, options.part.split("/"))
    wanted = {} if options.join else {n: t for t, n in pairs() if t in MODULES and t in (options.types or MODULES)}
    for name, model_type in list(wanted.items())[number::of]:
        rows[name] = record(model_type, name, options.samples)
        print(f"{model_type} {name}: {rows[name].get('refused', 'recorded')}", flush=True)
        if options.rows:
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, rows[name]]) + "\n")
    if not options.rows:
        write(rows)


def write(rows: dict[str, Any]) -> None:
    """Write the table."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(rows[name])}" for name in sorted(rows))
    head = f'{{\n"transformers": "{transformers.__version__}",\n"classes": {{\n'
    TABLE.write_text(f"{head}{lines}\n}}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
