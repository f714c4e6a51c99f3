"""What `vramguard lock` has to do: rows to keep, models to resolve, rows to drop; and the resolving itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard import data
from vramguard.facts import Deployment, LockedModel, PathClass
from vramguard.hub import cache
from vramguard.hub.found import CONFIG, MAX_CONFIG, MAX_INDEX, Asked, Found, HubError, found, is_commit
from vramguard.hub.lockfile import row_of
from vramguard.link.model_lock import LOCK, lock_above, locked, unused
from vramguard.link.models import has_own_config, is_language_model
from vramguard.link.names import on_hub
from vramguard.memory import FormulaError, UnprovenError
from vramguard.memory.families import architecture
from vramguard.schema import ConfigError, suggestion
from vramguard.source import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vramguard.facts import Facts

_UNLOCKED: Final = (PathClass.TEST, PathClass.DOCS, PathClass.VENDORED)  # what no rule asks to be locked


class Plan(NamedTuple):
    """Rows that stay as they are, what is to be resolved, the rows that it replaces, and those that go."""

    kept: tuple[Found, ...]
    wanted: tuple[Asked, ...]
    replaced: tuple[Found, ...]
    dropped: tuple[Found, ...]


class Outcome(NamedTuple):
    """All rows as they are to be written, those of them that are new, why others could not be resolved, and what is
    still missing of those that were.
    """

    rows: tuple[Found, ...]
    resolved: tuple[Found, ...]
    failed: tuple[HubError, ...]
    notes: tuple[str, ...] = ()


def asked_for(text: str) -> Asked:
    """`ID`, `ID@REVISION`, or the path of a folder, as the command line has it. Raises `ConfigError`."""
    model, at, revision = text.partition("@")
    if not model or (at and not revision):
        raise ConfigError(f"`{text}` is no model's id, nor ID@REVISION")
    return Asked(model, revision or None)


def plan(facts: Facts, given: Sequence[Asked] = (), upgrade: Sequence[str] = ()) -> Plan:
    """What the lock at the root needs, so that it holds every model that is deployed below it, and the `given` ones.

    `upgrade`: models whose branch is asked for again. Raises `ConfigError` for a lock that cannot be read.
    """
    rows = [row for row in facts.of(LockedModel) if row.at.path == LOCK]
    _refuse_broken(facts, rows)
    _refuse_strangers(upgrade, [*rows, *given])
    again = {name.casefold() for name in upgrade}
    named = {asked.key for asked in given}
    gone = [row for row in unused(LOCK, facts) if _asked(row).key not in named]
    moving = [row for row in rows if row not in gone and row.model.casefold() in again and not is_commit(row.revision)]
    staying = [row for row in rows if row not in gone and row not in moving]
    held = {_asked(row).key for row in staying}
    wanted: dict[tuple[str, str | None], Asked] = {}
    for asked in (*given, *map(_asked, moving), *_deployed(facts)):
        if asked.key not in held:
            wanted.setdefault(asked.key, asked)  # the first spelling stays
    return Plan(
        tuple(map(row_of, staying)), tuple(wanted.values()), tuple(map(row_of, moving)), tuple(map(row_of, gone))
    )


def _asked(row: LockedModel) -> Asked:
    return Asked(row.model, row.revision)


def _refuse_broken(facts: Facts, rows: list[LockedModel]) -> None:
    """A lock of which nothing can be read is not written over: it may be half of a merge, or a later version's."""
    broken = next((fact for fact in facts.of(Unreadable) if fact.at.path == LOCK), None)
    if broken is not None and not rows:
        raise ConfigError(f"{broken.reason}; mend it, or delete it and everything is resolved anew", broken.at)


def _refuse_strangers(upgrade: Sequence[str], known: Iterable[LockedModel | Asked]) -> None:
    names = {row.model.casefold(): row.model for row in known}
    for name in upgrade:
        if name.casefold() not in names:
            raise ConfigError(f"the lock has no `{name}` to upgrade{suggestion(name, names.values())}")


def _deployed(facts: Facts) -> Iterator[Asked]:
    """Models of the hub that a deployment names and that neither the repository nor the lock has."""
    for deployment in facts.of(Deployment):
        named = on_hub(deployment, facts)
        if named is None or facts.classify(deployment.at.path) in _UNLOCKED or has_own_config(deployment, facts):
            continue
        certain = "/" in named.model or data.model(named.model) is not None
        if certain and lock_above(deployment.at.path, facts) in (None, LOCK) and locked(deployment, facts) is None:
            yield Asked(named.model, named.revision)


def resolve(todo: Plan, *, offline: bool, jobs: int, done: Callable[[Asked], None] = lambda _: None) -> Outcome:
    """Resolve what the plan wants: from a folder of that name, else from the hub, or from the cache where `offline`.

    What cannot be resolved keeps the row that it had.
    """
    local = {asked: answer for asked in todo.wanted if (answer := _folder(asked)) is not None}
    others = [asked for asked in todo.wanted if asked not in local]
    answers = [*local.items(), *(_cached(others, done) if offline else _from_hub(others, jobs, done))]
    found_rows, notes = [answer for _, answer in answers if isinstance(answer, Found)], list[str]()
    fresh = tuple(_with_tensors(row, notes) for row in found_rows)
    failed = tuple(answer for _, answer in answers if isinstance(answer, HubError))
    renewed = {row.asked.key for row in fresh}
    old = [row for row in todo.replaced if row.asked.key not in renewed]
    return Outcome((*todo.kept, *old, *fresh), fresh, failed, tuple(notes))


def _with_tensors(row: Found, notes: list[str]) -> Found:
    """The row with the table of its tensors, where no family knows the network and transformers does."""
    if row.config is None or not is_language_model(row.config) or _is_known(row.config):
        return row
    try:
        from vramguard.trace.record import TraceError
        from vramguard.trace.shapes import table
    except ImportError:
        notes.append(f'`{row.asked}`: no family knows its network; `pip install "vramguard[trace]"` gives its tensors')
        return row
    try:
        return row._replace(tensors=table(row.config))
    except TraceError as error:
        notes.append(f"`{row.asked}`: its tensors are not known, as a model's own code is never run: {error}")
        return row


def _is_known(config: Mapping[str, object]) -> bool:
    try:
        architecture(config)
    except (UnprovenError, FormulaError):
        return False
    return True


def _from_hub(
    wanted: Sequence[Asked], jobs: int, done: Callable[[Asked], None]
) -> Iterator[tuple[Asked, Found | HubError]]:
    from vramguard.hub.client import resolve_all

    yield from resolve_all(wanted, jobs, done) if wanted else ()


def _cached(wanted: Iterable[Asked], done: Callable[[Asked], None]) -> Iterator[tuple[Asked, Found | HubError]]:
    for asked in wanted:
        try:
            answer: Found | HubError | None = cache.look_up(asked)
        except HubError as error:
            answer = error
        done(asked)
        yield asked, answer or HubError(f"`{asked}` is not in the cache at {cache.folder()}, and the hub is not asked")


def _folder(asked: Asked) -> Found | HubError | None:
    """A folder of this machine with a config.json; None where the name is no path."""
    path = Path(asked.model)
    if asked.revision is not None or not (asked.model.startswith((".", "~")) or path.is_absolute()):
        return None
    config, index = path.expanduser() / CONFIG, path.expanduser() / "model.safetensors.index.json"
    try:
        said = _read(config, MAX_CONFIG)
        return found(asked, None, "local", said, _read(index, MAX_INDEX) if index.is_file() else None)
    except OSError as error:
        return HubError(f"`{asked}`: {CONFIG} cannot be read: {error.strerror or error}")
    except HubError as error:
        return error


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise HubError(f"`{path}` is larger than {most >> 20} MiB")
    return data
