"""Launches with what stands elsewhere filled in: texts of ConfigMaps, runtimes, models' storage, claims."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from vramguard.data import load
from vramguard.facts import Facts, Hardware, Launch, Reference, Texts, Unknown, Word
from vramguard.link.folders import tiers
from vramguard.source.filling import MAX_FILLED, filled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vramguard.source import Location

_MODELS = "/mnt/models"  # where KServe's storage initializer puts what `storageUri` names
_CONTAINER = "kserve-container"  # of a runtime's containers the one that a service's model is merged into
F = TypeVar("F", Launch, Texts)
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ash"})


def joined(facts: Facts) -> Iterator[Launch]:
    """Every launch that runs, with whatever the repository knows of it; those of no cluster as they are."""
    held = Held(facts)
    for launch in facts.of(Launch):
        if launch.runtime:
            continue
        yield _complete(launch, held) if _concerns(launch) else launch


def _concerns(launch: Launch) -> bool:
    return bool(
        launch.joins
        or launch.references
        or launch.mounts
        or isinstance(launch.hardware.gpus, Unknown)
        or any(isinstance(value, Reference) or "$" in value.text for value in launch.env.values())
        or any("$" in word.text for word in launch.command)
    )


def _complete(launch: Launch, held: Held) -> Launch:
    launch = _with_runtime(launch, held)
    launch = _with_objects(launch, held)
    env = variables(launch, held)
    words = tuple(expanded(word, env) for word in launch.command)
    return _with_script(replace(launch, command=words, env=env, references=()), held)


@dataclass(frozen=True)
class Held:
    """What objects hold for others, found by name as a person would: in the file itself, its folder, the repository."""

    facts: Facts
    _values: dict[tuple[str, str, str], Any] = field(default_factory=dict)

    @cached_property
    def texts(self) -> Mapping[tuple[str, str], list[Texts]]:
        """Every object that holds values, by form and name."""
        found: dict[tuple[str, str], list[Texts]] = defaultdict(list)
        for fact in self.facts.of(Texts):
            found[fact.form, fact.name].append(fact)
        return found

    @cached_property
    def patterns(self) -> Mapping[tuple[str, str], list[Launch]]:
        """Every pattern that launches fill in, by what it can be named by: a runtime by each format that it chooses."""
        found: dict[tuple[str, str], list[Launch]] = defaultdict(list)
        for launch in self.facts.of(Launch):
            if launch.runtime:
                for key in ("runtime", "config", "ome-runtime"):
                    found[key, launch.joins.get(key, "")].append(launch)
                for name in launch.joins.get("formats", "").split():
                    found["format", name].append(launch)
        return found

    def value(self, path: str, form: str, name: str, key: str) -> Word | None:
        """The value that the object of this name holds; None where it is not there, or several differ."""
        for tier in tiers(path, self.texts.get((form, name), [])):
            values = {word.text: word for fact in tier if (word := fact.values.get(key))}
            return next(iter(values.values())) if len(values) == 1 else None
        return None

    def values(self, path: str, form: str, name: str) -> Mapping[str, Word]:
        """All values of the object of this name; none where several could be meant."""
        key = (path, form, name)
        if key not in self._values:
            tier = next(tiers(path, self.texts.get((form, name), [])), [])
            alike = bool(tier) and all(_same(fact.values, tier[0].values) for fact in tier)
            self._values[key] = tier[0].values if alike else {}
        found: Mapping[str, Word] = self._values[key]
        return found

    def mounted(self, launch: Launch, path: str) -> Word | None:
        """The text of a file in the container, where it is a ConfigMap's."""
        reference, key = _mounted_as(launch, path)
        if reference is None or reference.kind != "ConfigMap":
            return None
        return self.value(reference.at.path, "configmap", reference.name, key)


def _same(one: Mapping[str, Word], other: Mapping[str, Word]) -> bool:
    return {key: word.text for key, word in one.items()} == {key: word.text for key, word in other.items()}


def _mounted_as(launch: Launch, path: str) -> tuple[Reference | None, str]:
    """What is mounted at a path, and the key that it is of it."""
    reference = launch.mounts.get(path)
    if reference and reference.key is not None:
        return reference, reference.key
    folder, _, name = path.rpartition("/")
    reference = launch.mounts.get(folder)
    return (reference, name) if reference and reference.key is None else (None, "")


def variables(launch: Launch, held: Held) -> dict[str, Word]:
    """The container's variables: references looked up, then `$(OTHER)` in them replaced by those before."""
    result: dict[str, Word] = {}
    for reference in launch.references:
        if reference.kind == "ConfigMap":
            result.update(held.values(reference.at.path, "configmap", reference.name))
    for name, value in launch.env.items():
        found = _looked_up(value, held) if isinstance(value, Reference) else value
        result[name] = expanded(found, result)
    return result


def _looked_up(reference: Reference, held: Held) -> Word:
    if reference.kind == "ConfigMap" and reference.key is not None:
        word = held.value(reference.at.path, "configmap", reference.name, reference.key)
        if word is not None:
            return word
    text = f"{reference.kind} {reference.name}" + (f", {reference.key}" if reference.key else "")
    return Word(text, reference.at, known=False)


_VARIABLE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_LEFT = re.compile(r"\$\{|\$\(?[A-Za-z_]|\{\{|\{%|<%")  # what is still to be filled in, by somebody else
_SOLE = re.compile(r"(?:--?[A-Za-z0-9_-]+=)?\$\([A-Za-z_][A-Za-z0-9_.-]*\)\Z")


def expanded(word: Word, values: Mapping[str, Word]) -> Word:
    """A word as Kubernetes hands it on: `$(NAME)` is the container's variable, `$$` a dollar, anything else stays.

    A word that is one variable stands where the variable's value does: a change there would mend it.
    """
    used: list[Word] = []

    def fill(match: re.Match[str]) -> str:
        value = values.get(match[1]) if match[1] else None
        if value is None:
            return "$" if match[1] is None else match[0]
        used.append(value)
        return value.text

    names = [match[1] for match in _VARIABLE.finditer(word.text)] if "$" in word.text else []
    if not names:
        return word
    text = filled(_VARIABLE, fill, word.text)
    if text is None:
        return replace(word, known=False)
    if text == word.text:
        return word
    script = " " in word.text.strip()
    known = all(value.known for value in used) and (word.known if script else _LEFT.search(text) is None)
    if _SOLE.match(word.text):
        return Word(text, used[0].at, known)
    return replace(word, text=text, known=known, first=word.first if "\n" in word.text else None)


def _with_script(launch: Launch, held: Held) -> Launch:
    """The launch with its script, where its command runs a file that a ConfigMap holds."""
    words = launch.command
    if not words or launch.script or not launch.entrypoint or not launch.mounts:
        return launch
    shell = words[0].text.rpartition("/")[2] in _SHELLS
    for word in words[1:] if shell else words[:1]:
        if word.text.startswith("-"):  # behind `-c` stands a text, which may be no more than the file's path
            continue
        text = held.mounted(launch, _file(word.text))
        if text and _is_shell(text.text):
            return replace(launch, script=text, command=())
        break
    return launch


def _is_shell(text: str) -> bool:
    """Whether a script names a shell as what reads it, or nothing."""
    return not text.startswith("#!") or "sh" in text.partition("\n")[0].rpartition("/")[2]


def _file(text: str) -> str:
    """The path that a short shell text runs: `bash /scripts/start.sh`, `exec /scripts/start.sh a`."""
    parts = text.split(maxsplit=8)
    while parts and (parts[0] in ("exec", "source", ".") or parts[0].rpartition("/")[2] in _SHELLS):
        parts = parts[1:]
    return parts[0] if parts else ""


def _with_runtime(launch: Launch, held: Held) -> Launch:
    if "runtime" in launch.joins or "format" in launch.joins:
        return _kserve(launch, held)
    if "configs" in launch.joins:
        return _llm_configs(launch, held)
    if "ome-runtime" in launch.joins:
        return _ome(launch, held)
    return launch


def _kserve(launch: Launch, held: Held) -> Launch:
    """A service of KServe with its runtime, that of the repository before the one that comes with KServe."""
    runtime = _chosen(launch, held)
    if runtime is None:
        return launch
    merged = merge(runtime, launch, append=True)
    if (
        merged.image and "/nim/" in merged.image.text
    ):  # an image of NVIDIA's that brings its model; the volume is a cache
        merged = replace(merged, given={key: word for key, word in merged.given.items() if key != "model"})
    return _stored(_named(merged, launch.joins))


def _chosen(launch: Launch, held: Held) -> Launch | None:
    name, wanted = launch.joins.get("runtime"), launch.joins.get("format", "")
    named = held.patterns.get(("runtime", name) if name else ("format", wanted), [])
    fitting = [one for one in named if one.joins.get("container") == _CONTAINER]
    for tier in tiers(launch.at.path, fitting):
        names = {one.joins["runtime"] for one in tier}
        starts = {tuple(word.text for word in one.command) for one in tier}
        if len(names) == 1 and len(starts) == 1:
            return tier[0]
        break
    for row in load("kserve")["runtime"]:
        if row["name"] == name or (not name and wanted in row["formats"]):
            return _builtin(row, launch.at)
    return None


def _builtin(row: Mapping[str, Sequence[str] | str], at: Location) -> Launch:
    words = tuple(Word(text, at) for text in (*row["command"], *row["arguments"]))
    return Launch(at, "kserve", command=words, image=Word(str(row["image"]), at), runtime=True)


def merge(base: Launch, over: Launch, *, append: bool) -> Launch:
    """A launch laid over the pattern that it completes, as a strategic merge does: what it says itself wins.

    `append`: its arguments follow those of the pattern (KServe's runtimes); else they replace the whole command.
    """
    command, entrypoint = base.command, base.entrypoint
    if append and not over.entrypoint:
        command = (*base.command, *over.command)
    elif over.command:
        command, entrypoint = over.command, over.entrypoint
    return replace(
        over,
        command=command,
        entrypoint=entrypoint,
        script=over.script or base.script,
        env={**base.env, **over.env},
        references=(*base.references, *over.references),
        mounts={**base.mounts, **over.mounts},
        image=over.image or base.image,
        hardware=cards(base.hardware, over.hardware),
        given={**base.given, **over.given},
    )


def cards(base: Hardware, over: Hardware) -> Hardware:
    """Hardware of two that say it of one pod: field by field the second's, where it has it."""
    if over.accelerator and not over.gpus:
        base = replace(base, gpus=None, gpu=None)
    names = ("gpu", "gpus", "nodes", "share", "accelerator")
    chosen = {name: over if getattr(over, name) is not None else base for name in names}
    places = {name: place for name, one in chosen.items() if (place := one.places.get(name))}
    return Hardware(
        gpu=chosen["gpu"].gpu,
        gpus=chosen["gpus"].gpus,
        nodes=chosen["nodes"].nodes,
        share=chosen["share"].share,
        accelerator=chosen["accelerator"].accelerator,
        places=places,
    )


_PLACEHOLDER = re.compile(r"\{\{\s*\.(Name|Namespace)\s*\}\}")  # KServe v0.20, isvc utils: ReplacePlaceholders


def _named(launch: Launch, names: Mapping[str, str]) -> Launch:
    """The runtime's `{{.Name}}` is the service's: KServe fills it in, no renderer."""

    def fill(word: Word) -> Word:
        text = filled(_PLACEHOLDER, lambda match: names.get(match[1].lower()) or match[0], word.text) or word.text
        if text == word.text:
            return word
        return replace(word, text=text, known=_LEFT.search(text) is None, first=word.first if "\n" in text else None)

    env = {name: fill(value) if isinstance(value, Word) else value for name, value in launch.env.items()}
    return replace(launch, command=tuple(map(fill, launch.command)), env=env)


def _stored(launch: Launch) -> Launch:
    """The launch with its model named where its arguments name the folder that the model is put into."""
    model = launch.given.get("model")
    if model is None:
        return launch

    def fill(word: Word) -> Word:
        flag, equals, path = word.text.rpartition("=")
        if path.rstrip("/") != _MODELS or " " in word.text or len(model.text) > MAX_FILLED:
            return word
        return replace(model, text=f"{flag}{equals}{model.text}", first=None if equals else model.first)

    return replace(launch, command=tuple(map(fill, launch.command)))


def _llm_configs(launch: Launch, held: Held) -> Launch:
    """A service of a language model over the configurations that it names, the later over the earlier."""
    from vramguard.extract.kubernetes.kserve import served

    role = "prefill" if launch.name.endswith("/prefill") else "main"
    base: Launch | None = None
    for name in launch.joins["configs"].split():
        fitting = [one for one in held.patterns.get(("config", name), []) if one.joins.get("role") == role]
        found = next(tiers(launch.at.path, fitting), [])
        if len(found) == 1:
            base = merge(base, found[0], append=False) if base else found[0]
    merged = merge(base, launch, append=False) if base else launch
    return merged if merged.entrypoint else served(merged)


def _ome(launch: Launch, held: Held) -> Launch:
    """A service of OME with its runtime, and with its model where the runtime's arguments ask for it."""
    name, role = launch.joins["ome-runtime"], launch.joins.get("role")
    fitting = [one for one in held.patterns.get(("ome-runtime", name), []) if one.joins.get("role") == role]
    found = next(tiers(launch.at.path, fitting), [])
    if len(found) != 1:
        return launch
    merged = merge(found[0], launch, append=False)
    model = held.value(launch.at.path, "ome-model", launch.joins["ome-model"], "model")
    if model is None:
        return merged
    revision = held.value(launch.at.path, "ome-model", launch.joins["ome-model"], "revision")
    given = {"model": model, **({"revision": revision} if revision else {}), **merged.given}
    return replace(merged, env={"MODEL_PATH": model, **merged.env}, given=given)


def _with_objects(launch: Launch, held: Held) -> Launch:
    """A cache's model, a workspace's settings, a claim's cards."""
    path = launch.at.path
    if cache := launch.joins.get("nim-cache"):
        stored = held.values(path, "nim-cache", cache)
        launch = replace(launch, given={**{key: stored[key] for key in stored if key != "image"}, **launch.given})
    if launch.form == "kaito" and (config := launch.joins.get("config")):
        launch = _settings(launch, held.value(path, "configmap", config, "inference_config.yaml"))
    gpus = launch.hardware.gpus
    if isinstance(gpus, Unknown) and (claim := held.values(path, "claim", gpus.text)):
        launch = replace(launch, hardware=_claimed(launch.hardware, claim))
    return launch


def _claimed(hardware: Hardware, claim: Mapping[str, Word]) -> Hardware:
    count = claim["gpus"]
    number = int(count.text) if count.text.isdecimal() and len(count.text) < 10 else Unknown(count.text)  # noqa: PLR2004
    places = {**hardware.places, "gpus": count.at}
    chosen = claim.get("gpu")
    if chosen and hardware.gpu is None:
        return replace(hardware, gpus=number, gpu=chosen.value, places={**places, "gpu": chosen.at})
    return replace(hardware, gpus=number, places=places)


def _settings(launch: Launch, text: Word | None) -> Launch:
    """KAITO: the flags of vLLM that stand in a ConfigMap's text."""
    from vramguard.extract.kubernetes.workloads import flag
    from vramguard.facts.nodes import within

    settings = [] if text is None else list(within(text))
    flags = (word for held in settings for key, node in held.get("vllm").items() for word in flag(key, node))
    return replace(launch, command=(*launch.command, *flags))
