"""The programs that a launch starts: shells, wrappers and `docker run` taken off, variables filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from vramguard.facts import Hardware, Launch, Reference, Unknown, Word
from vramguard.link.launches import containers, starters
from vramguard.link.launches.tables import engines, images
from vramguard.shell import Command, commands, effective
from vramguard.shell.prefixes import unwrapped
from vramguard.source import Location
from vramguard.source.filling import filled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts

_MAX_DEPTH = 12  # of commands that start commands
_MAX_SCRIPTS = 100  # within one launch
_MAX_WORD = 1 << 13  # characters without a blank
_SPACE = re.compile(r"\s")
_MAX_KEPT = 100  # variables with which a reading of a script is kept for the next
_MAX_CHARACTERS = 8 << 20  # of these together
_LITERAL = {"compose", "dockerfile", "shell", "makefile", "workflow"}  # forms in which `$(NAME)` is nothing of ours
_KUBERNETES = re.compile(r"\$(\$)?\(([A-Za-z_][\w.-]{0,200})\)")
_WHOLE = re.compile(r"(?:-[\w.-]+=)?\$\([\w.-]+\)")
_SHELL_OPTION = re.compile(r"-[a-z]*c")
_SCRIPT = re.compile(r"[\w.-]+\.(?:sh|bash)")
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_STATED = re.compile(r"\d{1,2}(?:,\d{1,2})*")


@dataclass(frozen=True, slots=True)
class Program:
    """One program that a launch starts.

    `words`: the program, then its arguments, nothing before it: `bash -lc`, `uv run`, `exec`, `torchrun`, `env A=b` are
    gone. `python -m vllm.entrypoints.openai.api_server --port 80` is `vllm.entrypoints.openai.api_server --port 80`,
    and `python3 -u serve.py x` is `serve.py x`; a program's folder stays as written (`/opt/venv/bin/vllm`).
    Where `entrypoint` is False, nothing replaces the image's own entry point: `words` are only the arguments that it
    gets (none, perhaps), and the image, the environment or `Launch.given` says what the program is.
    `env`: what the program sees, a value from elsewhere (`valueFrom`) as a Word that is not known.
    `processes`: what starts it says how many of it there are (`torchrun --nproc-per-node 2`, `mpirun -n 8`).
    """

    words: tuple[Word, ...]
    env: Mapping[str, Word]
    image: Word | None
    hardware: Hardware
    at: Location
    entrypoint: bool
    form: str
    name: str = ""
    processes: Word | None = None


def programs(launch: Launch, facts: Facts) -> Iterator[Program]:
    """Every program of a launch that could be an engine, in order; what only tells, fetches or kills is left out.

    Of a launch without a command or a script: the image's own program, with no arguments. A script of the repository
    that a container starts is read there, with the container's variables, and not once more by itself.
    """
    if launch.form in {"shell", "makefile"} and launch.script and not _names_engine(launch.script.text):
        return
    if launch.form == "shell" and launch.name in _started_elsewhere(facts):
        return
    seen: set[tuple[object, ...]] = set()  # a function that is called twice alike
    for program in _Unwrapping(facts, _scripts(facts)).launch(launch):
        key = (program.at, *(word.text for word in program.words), *(word.text for word in program.env.values()))
        if key not in seen:
            seen.add(key)
            yield program


@lru_cache(maxsize=512)
def _names_engine(text: str) -> bool:
    """Whether a script has all the words that start some engine, or a part of the name of its image: cheap to ask."""
    return any(all(word in text for word in needed) for needed in _needed())


def may_start(launch: Launch) -> bool:
    """Whether a launch could start an engine: asked of a script before it is interpreted.

    A script that nothing is known beside starts one by its own words, or by the image of a container.
    """
    if launch.form not in {"shell", "makefile"} or launch.script is None or launch.image or launch.given:
        return True
    if not _names_engine(launch.script.text):
        return False
    text = effective(launch.script.text)
    return containers.mentioned(text) or any(all(word in text for word in start) for start in _starts())


@cache
def _starts() -> frozenset[tuple[str, ...]]:
    return frozenset(start for engine in engines().values() for start in engine.programs)


@cache
def _needed() -> frozenset[tuple[str, ...]]:
    names = {(name.rpartition("/")[2].strip("*"),) for image in images() for name in image.names}
    return _starts() | names


def _scripts(facts: Facts) -> Mapping[str, Word]:
    """The shell scripts of a repository by their names, those of which there are several left out."""
    return facts.once("scripts", _scripts_of)


def _scripts_of(facts: Facts) -> Mapping[str, Word]:
    found: dict[str, Word | None] = {}
    for launch in facts.of(Launch):
        if launch.form == "shell" and launch.script is not None:
            found[launch.name] = None if launch.name in found else launch.script
    return {name: script for name, script in found.items() if script is not None}


_ELSEWHERE: WeakKeyDictionary[Facts, frozenset[str]] = WeakKeyDictionary()


def _started_elsewhere(facts: Facts) -> frozenset[str]:
    """Names of the scripts that containers start."""
    known = _ELSEWHERE.get(facts)
    if known is None:
        scripts = _scripts(facts)
        unwrapping = _Unwrapping(facts, scripts)
        for launch in facts.of(Launch):
            if launch.form not in {"shell", "makefile"} and _names_one(launch, scripts):
                for _ in unwrapping.launch(launch):
                    pass
        known = _ELSEWHERE[facts] = frozenset(unwrapping.joined)
    return known


def _names_one(launch: Launch, scripts: Mapping[str, Word]) -> bool:
    words = [*launch.command, *([launch.script] if launch.script else [])]
    return any(name in scripts for word in words for name in _SCRIPT.findall(word.text))


class _Unwrapping:
    """The way from a launch to its programs; `joined` gathers the scripts of the repository that it went through."""

    def __init__(self, facts: Facts, scripts: Mapping[str, Word]) -> None:
        self.joined: set[str] = set()
        self._facts = facts
        self._scripts = scripts
        self._open: list[str] = []
        self._read, self._characters = 0, 0

    def launch(self, launch: Launch) -> Iterator[Program]:
        self._read, self._characters = 0, 0
        env = {name: _plain(value) for name, value in launch.env.items()}
        start = Program((), env, launch.image, launch.hardware, launch.at, launch.entrypoint, launch.form, launch.name)
        if launch.script is not None:
            yield from self._script(launch.script, start, 0)
        elif launch.command:
            said = tuple(map(_cut, launch.command))
            words = said if launch.form in _LITERAL else _expanded(said, env)
            yield from self._command(replace(start, words=tuple(words)), 0)
        else:
            yield _with_cards(replace(start, entrypoint=False))

    def _script(self, script: Word, outer: Program, depth: int) -> Iterator[Program]:
        self._read += 1
        self._characters += len(script.text)
        if depth > _MAX_DEPTH or self._read > _MAX_SCRIPTS or self._characters > _MAX_CHARACTERS:
            return
        few = len(outer.env) <= _MAX_KEPT
        for command in _commands(script, tuple(outer.env.items())) if few else commands(script, outer.env):
            words = command.words if script.known else tuple(map(_doubted, command.words))
            env = {**outer.env, **command.env}
            inner = replace(outer, words=words, env=env, at=command.at, entrypoint=True)
            text = _fed(command)
            if text is None:
                yield from self._command(inner, depth + 1)
            else:
                yield from self._script(text, inner, depth + 1)

    def _command(self, outer: Program, depth: int) -> Iterator[Program]:
        words, own = unwrapped(_meant(outer.words))
        if not words or depth > _MAX_DEPTH:
            return
        outer = replace(outer, words=words, env={**outer.env, **own})
        name = words[0].text.rpartition("/")[2]
        if not outer.entrypoint and not _is_start(words):
            yield _with_cards(outer)
        elif name not in starters.QUIET:
            yield from self._started(replace(outer, entrypoint=True), name, depth)

    def _started(self, outer: Program, name: str, depth: int) -> Iterator[Program]:
        words = outer.words
        container = containers.started(words, outer.env)
        inside = containers.inside(words)
        found = starters.started(words)
        if container is not None:
            yield from self._container(container, outer, depth)
        elif inside:
            yield from self._command(replace(outer, words=inside, env={}), depth + 1)
        elif found is not None:
            yield from self._next(found, outer, depth)
        elif name in self._scripts and outer.form not in {"shell", "makefile"} and name not in self._open:
            yield from self._joined(name, outer, depth)
        else:
            yield _with_cards(outer)

    def _next(self, found: starters.Started, outer: Program, depth: int) -> Iterator[Program]:
        hardware = _slurm(found.gpus, outer.hardware)
        outer = replace(
            outer,
            words=found.words,
            env={**outer.env, **found.env},
            image=found.image or outer.image,
            hardware=hardware,
            processes=found.processes or outer.processes,
        )
        if found.script is not None:
            yield from self._script(found.script, outer, depth + 1)
        elif found.final and found.words and not _SCRIPT.fullmatch(found.words[0].text.rpartition("/")[2]):
            yield _with_cards(outer)
        elif found.words:
            yield from self._command(outer, depth + 1)

    def _container(self, found: containers.Container, outer: Program, depth: int) -> Iterator[Program]:
        inner = replace(
            outer,
            words=found.words,
            env=found.env,
            image=found.image,
            hardware=found.hardware,
            entrypoint=found.entrypoint and bool(found.words),
            name=found.name or outer.name,
        )
        if not found.words:
            yield _with_cards(replace(inner, entrypoint=False))
        else:
            yield from self._command(inner, depth + 1)

    def _joined(self, name: str, outer: Program, depth: int) -> Iterator[Program]:
        """A script of the repository, with what its caller gives it."""
        self.joined.add(name)
        self._open.append(name)
        yield from self._script(self._scripts[name], outer, depth + 1)
        self._open.pop()


@lru_cache(maxsize=16)  # many services may start one script, and who runs some code is asked as well as what it loads
def _commands(script: Word, env: tuple[tuple[str, Word], ...]) -> tuple[Command, ...]:
    return tuple(commands(script, dict(env)))


def _cut(word: Word) -> Word:
    """A word; one that is too long for a name or a path, and no script either, is not known."""
    if len(word.text) <= _MAX_WORD or _SPACE.search(word.text, 0, _MAX_WORD):
        return word
    return replace(word, text=f"{word.text[:100]}…", known=False)


def _plain(value: Word | Reference) -> Word:
    """A variable's value; one that another object holds is not known."""
    if isinstance(value, Word):
        return value
    return Word(f"{value.kind} {value.name}" + (f"[{value.key}]" if value.key else ""), value.at, known=False)


def _expanded(words: tuple[Word, ...], env: Mapping[str, Word]) -> Iterator[Word]:
    """Words with `$(NAME)` filled in, as Kubernetes does it: what is not set stays, `$$(NAME)` is `$(NAME)`."""
    script = False  # in which `$(…)` is the shell's where nothing of that name is set
    for word in words:
        if "$(" in word.text:
            found = [env.get(match[2]) for match in _KUBERNETES.finditer(word.text) if not match[1]]
            text = filled(_KUBERNETES, lambda match: _filled(match, env), word.text)
            if text is None:
                yield replace(word, known=False)
                continue
            whole = _WHOLE.fullmatch(word.text) and found and found[0] and found[0].known
            at = found[0].at if whole and found[0] else word.at
            known = script or all(value is not None and value.known for value in found)
            yield Word(text, at, word.known and known, word.first)
        else:
            yield word
        script = _SHELL_OPTION.fullmatch(word.text) is not None


def _filled(match: re.Match[str], env: Mapping[str, Word]) -> str:
    value = env.get(match[2])
    if match[1]:
        return match[0][1:]
    return value.text if value is not None and value.known else match[0]


def _doubted(word: Word) -> Word:
    """A word of a script that is itself not all known: `'$X'` in it is what an outer shell has yet to fill in."""
    return replace(word, known=False) if "$" in word.text or "`" in word.text else word


def _fed(command: Command) -> Word | None:
    """The script that a command gets as a here-document, or writes to a file: `bash <<EOF`, `cat > run.sh <<EOF`."""
    if command.stdin is None:
        return None
    names = [word.text.rpartition("/")[2] for word in command.words]
    files = [*names[1:], command.into.text if command.into else ""]
    if names[0] in {"cat", "tee"}:
        return command.stdin if any(_SCRIPT.fullmatch(name.rpartition("/")[2]) for name in files) else None
    shell = {"bash", "sh", "zsh", "ssh"} & set(names)
    return command.stdin if shell and "-c" not in names else None


def _meant(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """A command without the unknown words before it: `$PREFIX vllm serve`, `$PYTHON -m vllm`."""
    number = 0
    while number + 1 < len(words) and not words[number].known and words[number].text.startswith("$"):
        number += 1
    rest = words[number:]
    module = number and (rest[0].text in {"-m", "-u"} or rest[0].text.endswith(".py"))
    return (Word("python", words[number - 1].at), *rest) if module else rest


def _is_start(words: tuple[Word, ...]) -> bool:
    """Whether arguments of an image are a command of their own, which an image without an entry point takes."""
    name = words[0].text.rpartition("/")[2]
    return starters.started(words) is not None or name in starters.QUIET or _SCRIPT.fullmatch(name) is not None


def _with_cards(program: Program) -> Program:
    """The program with the number of cards that it is shown, where nothing else says how many there are."""
    if program.hardware.gpus is not None:
        return program
    word = next((program.env[name] for name in _VISIBLE if name in program.env), None)
    if word is None or not word.known or not _STATED.fullmatch(word.text.replace(" ", "")):
        return program
    places = {**program.hardware.places, "gpus": word.at}
    return replace(program, hardware=replace(program.hardware, gpus=word.text.count(",") + 1, places=places))


def _slurm(word: Word | None, hardware: Hardware) -> Hardware:
    """The cards of `--gres=gpu:h100:8`, `--gpus-per-node=8`."""
    if word is None or hardware.gpus is not None:
        return hardware
    parts = word.text.removeprefix("gpu:").split(":")
    count: int | Unknown | None = int(parts[-1]) if re.fullmatch(r"\d{1,4}", parts[-1]) else None
    if not word.known:
        count = Unknown(word.text)
    kind = parts[0] if len(parts) > 1 and word.known else hardware.gpu
    return replace(hardware, gpu=kind, gpus=count, places={**hardware.places, "gpus": word.at, "gpu": word.at})
