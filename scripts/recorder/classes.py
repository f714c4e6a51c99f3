"""One class from its config to its recorded moments: which configs are traced, in which regimes, and what they add."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import perturb

from recorder.loops import BLOCKS, SAME, over_blocks, over_tokens
from recorder.moments import Moment, StructureError, covers, moments, prune
from recorder.samples import (
    ELSEWHERE,
    SAMPLES,
    Config,
    Run,
    doubled,
    reduced,
    resized,
    run,
    runs,
    spelled,
    switched,
    varied,
    with_activation,
)
from recorder.symbols import Polynomial, Symbols, UnexpressedError
from vramguard.memory.activation import Prefill
from vramguard.memory.architecture import Architecture, UnprovenError
from vramguard.memory.families import architecture, recorded
from vramguard.memory.moments import WORST_ACTIVATION, rank, read, regimes

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDE: Final = (1009, 1201, 997, 1303)
NARROW: Final = (1153, 1181, 1201, 1213)  # of one structure where code loops over chunks of 64
# Their code loops over blocks of so many tokens.
BLOCK_SIZE: Final = {"minimax": "block_size"}
# Their code keeps an entry for every so many tokens; a prompt of whole entries leaves none over.
ENTRIES: Final = {"deepseek_v4": (4, 128)}
BATCH: Final = (2, 3, 5, 7)
WINDOW: Final = 512  # tokens: no sample fills it by accident, and `_lengths` goes to either side
# Their code loops over their experts.
FEWER: Final = {
    "longcat_flash": {"n_routed_experts": 11, "zero_expert_num": 6, "moe_topk": 3},
    "nllb-moe": {"num_experts": 11, "encoder_sparse_step": 2, "decoder_sparse_step": 2},
}
COVERED: Final = 64  # bytes a token that the row of the inputs counts: ids, masks and positions in int64, with copies
CHECKED: Final = ((61, 1), (300, 3))  # tokens and sequences of the configs that try the result

Regimes = dict[str, list[dict[str, Any]]]


@dataclass
class Recording:
    """What was recorded of one class."""

    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    thorough: bool = True  # flash_attention_2 and other activation functions too
    failures: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)  # what a size decides that the formulas do not know
    tried: int = 0
    added: int = 0

    @property
    def summary(self) -> str:
        """Moments of each variant and regime, and how the result was tried."""
        counts = {
            v or "default": {k: len(rows) for k, rows in row["regimes"].items()} for v, row in self.variants.items()
        }
        return f"{counts}, {self.tried} configs tried, {self.added} recorded too"


def record_class(model_type: str, name: str, check: int, *, own: bool, thorough: bool = True) -> Recording:
    """Record the default config, the variants that a switch leads to, and whatever another config adds."""
    recording = Recording(thorough=thorough)
    fewer = FEWER.get(model_type, {})
    base = reduced(perturb.base(model_type, name) | fewer)
    if architecture(base).language is not None and not own:
        return recording  # whose moments are those of the language model's own class
    mixed = reduced(_wider(base | perturb.MIXED.get(model_type, {})))  # it may have kinds of layers that base has not
    for config in (base, *((mixed,) if mixed != base else ()), *filter(None, (doubled(mixed),))):
        _record_variant(recording, config)
    if not any(variant["regimes"] for variant in recording.variants.values()):
        return recording
    random = [perturb.perturbed(model_type, name, f"r{n}") | fewer for n in range(check)]
    turned = [*switched(base), *(switched(mixed) if mixed != base else ())]
    for other, how in [*((one, CHECKED[:1]) for one in turned), *((one, CHECKED) for one in random)]:
        _try(recording, other, how)
    for change, config in resized(mixed):
        if exceeding(recording, config):
            recording.added += 1
            _record_variant(recording, config)
            recording.unsound += [f"{change}: {line}" for line in exceeding(recording, config)]
    return recording


def _try(recording: Recording, other: Config, how: tuple[tuple[int, int], ...]) -> None:
    """Record another config too where it is of another variant, or needs more than its own has."""
    try:
        config = reduced(other)
        variant = architecture(config).variant
    except UnprovenError:
        return
    if f"{variant} grouped".strip() in recording.variants:
        return  # whose keys are as many as its queries: it needs no more
    if variant not in recording.variants:
        if runs(config, Run(_kernels(config)[0], 301, 1)) is not None:
            _record_variant(recording, config)
    elif exceeding(recording, config, how):
        recording.added += 1
        _record_variant(recording, config)


def _wider(config: Config) -> Config:
    """The config with a window that a prompt does not fill at once, so that all samples fill it or none."""
    return {
        key: _wider(value) if isinstance(value, dict) else max(value, WINDOW) if key == "sliding_window" else value
        for key, value in config.items()
    }


def exceeding(recording: Recording, config: Config, how: tuple[tuple[int, int], ...] = CHECKED) -> list[str]:
    """Runs of a config that need more than was recorded of its class."""
    try:
        network = architecture(config)
        variant = recording.variants[network.variant]
    except (UnprovenError, KeyError):  # no config, or of another variant
        return []
    kernel, found, ran = _kernels(config)[0], [], False
    for tokens, sequences in how:
        if network.learned_positions and tokens > network.context:
            continue
        traced = runs(config, Run(kernel, tokens, sequences))
        if traced is None:
            continue
        ran = True
        try:
            bound = _bound(variant, Prefill(network, tokens, sequences, 2, kernel))
        except UnprovenError:
            return []  # a size that this config does not have: UNKNOWN, not too little
        if traced.activation_bytes > bound:
            found.append(f"{kernel} {sequences} x {tokens}: traced {traced.activation_bytes}, recorded {bound}")
    recording.tried += ran
    return found


def _bound(variant: dict[str, Any], run: Prefill) -> int:
    """Bytes that the moments recorded so far allow a pass, and its inputs."""
    names = regimes(run.implementation, window=run.slides, batch=run.pads)
    network = run.architecture
    tables = [variant["regimes"]]
    if rank(network.activation) > rank(variant["act"]):
        tables.append(variant.get("activation", {}))
    rows = [read(row) for table in tables for regime in names for row in table.get(regime, ())]
    inputs = {**network.sizes, "tokens": run.tokens, "sequences": run.sequences, "bytes": run.element_bytes}
    return max((moment.bytes(inputs) for moment in rows), default=0) + COVERED * run.tokens * run.sequences


def _record_variant(recording: Recording, base: Config) -> None:
    """Add what a config needs in every regime to its variant."""
    network = architecture(base)
    act = _act(base)
    row = recording.variants.setdefault(network.variant, {"act": act, "regimes": {}})
    kernels = _kernels(base)
    samples = _samples(base, kernels[0])
    if not samples:
        recording.failures.append(f"{network.variant}: {_reason(base, kernels[0])}")
        return
    plain = "regimes" if rank(act) <= rank(row["act"]) else "activation"
    _merge(row, plain, _all_regimes(recording, samples))
    if recording.thorough and act is not None and rank(act) < rank(WORST_ACTIVATION):
        _merge(
            row,
            "activation",
            _all_regimes(recording, [with_activation(c, WORST_ACTIVATION) for c in samples], "activation"),
        )


def _merge(row: dict[str, Any], table: str, found: dict[str, list[Moment]]) -> None:
    """Lay moments over those that the table has; in a further table only what the first does not cover."""
    for regime, given in found.items():
        new = given
        known = [_polynomial(r) for r in row["regimes"].get(regime, ())]
        if table == "regimes":
            old = [Moment(r["at"], _polynomial(r)) for r in row[table].get(regime, ())]
        else:
            old = [Moment(r["at"], _polynomial(r)) for r in row.get(table, {}).get(regime, ())]
            new = [m for m in given if not any(covers(k, m.bytes) for k in known)]
        if old or new:
            row.setdefault(table, {})[regime] = _plain(prune([*old, *new]))


def _all_regimes(recording: Recording, samples: list[Config], table: str = "") -> dict[str, list[Moment]]:
    found: dict[str, list[Moment]] = {}
    by_kernel: dict[str, list[Config]] = {}
    modes = _modes(samples)
    for regime, kernel, batch, long in _regimes(samples[0]):
        if not recording.thorough and kernel == "flash_attention_2":
            continue
        if table and (kernel == "flash_attention_2" or regime.endswith("window")):  # whose MLP is that of the others
            continue
        if kernel not in by_kernel:
            by_kernel[kernel] = _running(samples, kernel)
        try:
            # A later regime adds to the earlier ones of its kernel.
            known = [m.bytes for name, held in found.items() if name.split()[0] == kernel for m in held]
            new = _record(by_kernel[kernel], kernel, modes, batch=batch, long=long)
            found[regime] = [m for m in new if not any(covers(k, m.bytes) for k in known)]
        except (StructureError, UnexpressedError) as error:
            failure = f"{table} {regime}: {type(error).__name__} {str(error)[:300]}"
            recording.failures += [] if failure in recording.failures else [failure]
    return found


def _modes(samples: list[Config]) -> tuple[tuple[int, ...], ...]:
    """Lengths of the samples' prompts at which all of them run the same operations, to be tried in this order."""
    block = BLOCK_SIZE.get(samples[0]["model_type"])
    if block is not None:
        return (tuple(BLOCKS * architecture(config).sizes[block] for config in samples),)
    return (SAME,) if _reads_tokens_one_by_one(samples[0], _kernels(samples[0])[0]) else (WIDE, NARROW)


def _record(
    samples: list[Config], kernel: str, modes: tuple[tuple[int, ...], ...], *, batch: bool, long: bool
) -> list[Moment]:
    failure = StructureError("not tried")
    for tokens in modes:
        try:
            return _recorded(samples, kernel, tokens, batch=batch, long=long)
        except StructureError as error:
            failure = error
    raise failure


def _recorded(samples: list[Config], kernel: str, tokens: tuple[int, ...], *, batch: bool, long: bool) -> list[Moment]:
    networks = [architecture(config) for config in samples]
    sizes = [key for key in networks[0].sizes if not ELSEWHERE.match(key)]  # a tower's decides nothing of a text
    names = {key: tuple(n.sizes.get(key, 0) for n in networks) for key in sizes}
    sequences = BATCH if batch else (1,) * SAMPLES
    counts = _prompts(networks, tokens, long=long)
    traced = [runs(c, Run(kernel, n, b)) for c, n, b in zip(samples, counts, sequences, strict=True)]
    complete = [one for one in traced if one is not None]
    if len(complete) < SAMPLES:
        raise StructureError(f"a sample does not run: {_reason(samples[traced.index(None)], kernel)}")
    entries, block = ENTRIES.get(networks[0].model_type, ()), BLOCK_SIZE.get(networks[0].model_type)
    found = moments(complete, Symbols(names, counts, sequences, narrow=tokens is NARROW, chunks=entries))
    if block is not None:
        found = [m._replace(bytes=over_blocks(m.bytes, block)) for m in found]
    elif tokens is SAME:
        found = [m._replace(bytes=over_tokens(m.bytes)) for m in found]
    kept: list[Moment] = prune(m._replace(bytes=_trimmed(m.bytes)) for m in found)
    return kept


def _samples(base: Config, kernel: str) -> list[Config]:
    """The base and configs of the same structure in other sizes; empty where the base does not run."""
    first = runs(base, Run(kernel, SAME[0], 1))
    if first is None:
        return []
    signature = [(a.operator, a.module) for a in first.allocations]
    variant, whole = architecture(base).variant, architecture(base).sizes.get("head_dim", 0) % 8

    def accept(config: Config) -> bool:
        try:
            network = architecture(config)
        except UnprovenError:
            return False
        if network.variant != variant or network.sizes.get("head_dim", 0) % 8 != whole:
            return False  # a part of an odd head's width is rounded
        other = runs(config, Run(kernel, SAME[0], 1))
        return other is not None and [(a.operator, a.module) for a in other.allocations] == signature

    complete = spelled(base, accept)
    refused: Counter[tuple[str, ...]] = Counter()
    samples = [complete, *(varied(complete, seed, accept, refused) for seed in range(1, SAMPLES))]
    if _alike(samples):  # by chance, most often
        samples[1] = varied(complete, SAMPLES, accept, refused)
    return samples


def _alike(samples: list[Config]) -> bool:
    """Whether two sizes that grew are the same in all samples, so that one may be taken for the other."""
    networks = [architecture(config) for config in samples]
    vectors = Counter(tuple(n.sizes.get(name, 0) for n in networks) for name in networks[0].sizes)
    return any(count > 1 and len({*vector}) > 1 for vector, count in vectors.items())


def _running(samples: list[Config], kernel: str) -> list[Config]:
    """The samples, or others where the kernel refuses one of them (values wider than keys)."""
    if all(runs(config, Run(kernel, SAME[0], 1)) is not None for config in samples):
        return samples
    return _samples(samples[0], kernel) or samples


def _reads_tokens_one_by_one(config: Config, kernel: str) -> bool:
    short, longer = (runs(config, Run(kernel, tokens, 1)) for tokens in (SAME[0] - 2, SAME[0]))
    return short is not None and longer is not None and short.operations != longer.operations


def _regimes(config: Config) -> Iterator[tuple[str, str, bool, bool]]:
    """Name, kernel, whether a batch is padded, whether the prompt is longer than every window."""
    slides = bool(_windows(architecture(config)))
    for kernel in _kernels(config):
        yield kernel, kernel, False, False
        if slides:
            yield f"{kernel} window", kernel, False, True
        yield f"{kernel} batch", kernel, True, slides


def _kernels(config: Config) -> list[str]:
    row = recorded()["classes"][architecture(config).name]
    return [
        *(name for name in ("sdpa",) if row[name]),
        "eager",
        *(name for name in ("flash_attention_2",) if row[name]),
    ]


def _windows(network: Architecture) -> list[int]:
    return [window for window in network.windows if window]


def _prompts(networks: list[Architecture], tokens: tuple[int, ...], *, long: bool) -> tuple[int, ...]:
    """Tokens of each sample's prompt: whole blocks or entries where code counts in them."""
    kind = networks[0].model_type
    if tokens is SAME or kind in BLOCK_SIZE:
        return tokens
    if kind not in ENTRIES:
        return _lengths(networks, tokens, long=long)
    whole = max(ENTRIES[kind])  # longer than every window too, so that each sample has entries of every kind
    return tuple(n + -n % whole for n in _lengths(networks, tokens, long=True))


def _lengths(networks: list[Architecture], tokens: tuple[int, ...], *, long: bool) -> tuple[int, ...]:
    """Prompt lengths on one side of every window of each sample, and within learned positions."""
    counts = []
    for index, network in enumerate(networks):
        windows, wanted = _windows(network), tokens[index]
        if windows and long:
            wanted += 64 * -(-max(windows) // 64)
        elif windows:
            wanted = max(2, min(wanted, min(windows) - 1 - index))
        if network.learned_positions:
            wanted = min(wanted, network.context - index)
        counts.append(wanted)
    return tuple(counts)


def _act(config: Config) -> str | None:
    return architecture(config).activation


def _reason(config: Config, kernel: str) -> str:
    try:
        run(config, Run(kernel, 301, 1))
    except Exception as error:  # noqa: BLE001 - said, not handled
        return str(error)[:300]
    return "no reason"


def _trimmed(polynomial: Polynomial) -> Polynomial:
    """Without what the row of the inputs counts."""
    small = [names for names in polynomial if {*names} <= {"tokens", "sequences"} and len(names) == len({*names})]
    if sum(polynomial[names] for names in small) > COVERED:
        return polynomial
    return {names: c for names, c in polynomial.items() if names not in small}


def _polynomial(row: dict[str, Any]) -> Polynomial:
    return {tuple(sorted(names)): c for c, names in read(row).terms}


def _plain(found: list[Moment]) -> list[dict[str, Any]]:
    """Moments as JSON holds them."""
    rows = []
    for moment in sorted(found, key=lambda m: (m.where, sorted(m.bytes.items()))):
        terms = {" * ".join(names): c for names, c in sorted(moment.bytes.items())}
        numbers = {k: int(c) if c.denominator == 1 else str(c) for k, c in terms.items()}
        rows.append({"at": moment.where, "bytes": numbers})
    return rows
