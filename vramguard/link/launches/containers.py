"""`docker run` and its kin: the image, the cards, the environment and the words that a container starts with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from vramguard.facts import Hardware, Unknown, Word
from vramguard.link.launches.options import options, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vramguard.link.launches.options import Read

# Options that take no value: docker 28 (docs.docker.com/reference/cli/docker/container/run), podman 5
# (docs.podman.io, podman-run) and nerdctl 2 (docs/command-reference.md), read 2026-11-28. All others take one.
_FLAGS = (
    "--detach --disable-content-trust --help --init --interactive --no-healthcheck --no-hosts --no-hostname"
    " --oom-kill-disable --passwd --privileged --publish-all --quiet --read-only --read-only-tmpfs --replace --rm --rmi"
    " --rootfs --sig-proxy --tls-verify --tty --use-api-socket --http-proxy --unsetenv-all --all"
)
_RUN = options(flags=_FLAGS, short="acehlmpuvw", open_ended=True)
_EXEC = options("--env --env-file --user --workdir --detach-keys", short="euw")
_GLOBAL = options(
    "--config --context --host --log-level --namespace --address --url --connection --root", short="cHlna"
)
_APPTAINER = options(
    "--bind --env --env-file --home --overlay --pwd --workdir --app --scratch --network --mount --cwd", short="BHoSW"
)
_RUNTIMES = {"docker", "podman", "nerdctl", "finch", "docker.io"}
_APPTAINERS = {"apptainer", "singularity"}
_MENTIONED = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(_RUNTIMES | _APPTAINERS)))})(?![\w./-])")
_IMAGES = re.compile(r"ima?ge?|container|tag|repo|docker_name", re.IGNORECASE)
_DEVICES = re.compile(r"device=([^\"';]*)")
_COUNT = re.compile(r"(?:count=)?(\d{1,3})(?:,.*)?")
_OTHERS = {"/dev/neuron": "neuron", "/dev/accel": "tpu", "/dev/vfio": "tpu", "habana": "gaudi"}


class Container(NamedTuple):
    """A container that a command starts; `words` replace the image's entry point, or (`entrypoint` False) follow it."""

    image: Word | None
    words: tuple[Word, ...]
    entrypoint: bool
    env: Mapping[str, Word]
    hardware: Hardware
    name: str = ""


def started(words: Sequence[Word], env: Mapping[str, Word]) -> Container | None:
    """The container of `docker run …`, `podman run …`, `apptainer exec …`; None for any other command."""
    name = words[0].text.rpartition("/")[2]
    if name in _APPTAINERS:
        return _apptainer(words, env)
    rest = _subcommand(words)
    if name not in _RUNTIMES or not rest or rest[0].text not in {"run", "create"}:
        return None
    found = read(rest[1:], _RUN, {word.text: _is_options(word) for word in rest[1:]})
    if not found.rest:
        return None
    image, arguments = found.rest[0], found.rest[1:]
    entry = found.last("--entrypoint")
    variables = _environment(found, env)
    title = found.last("--name")
    return Container(
        image,
        (entry, *arguments) if entry and entry.text else arguments,
        entry is not None,
        variables,
        _hardware(found, variables),
        title.text if title and title.known else "",
    )


def mentioned(text: str) -> bool:
    """Whether a word that starts a container stands in a text."""
    return _MENTIONED.search(text) is not None


def inside(words: Sequence[Word]) -> tuple[Word, ...]:
    """The command of `docker exec NAME …`, nothing for any other command."""
    rest = _subcommand(words) if words[0].text.rpartition("/")[2] in _RUNTIMES else ()
    return read(rest[1:], _EXEC).rest[1:] if rest and rest[0].text == "exec" else ()


def _subcommand(words: Sequence[Word]) -> tuple[Word, ...]:
    rest = read(words[1:], _GLOBAL).rest
    return rest[1:] if rest and rest[0].text == "container" else rest


def _is_options(word: Word) -> bool:
    """Whether an unknown word holds further options (`$DOCKER_ARGS`), not the image (`$IMAGE`)."""
    return word.text.startswith("$") and "/" not in word.text and _IMAGES.search(word.text) is None


def _environment(found: Read, outer: Mapping[str, Word]) -> dict[str, Word]:
    """What `-e NAME=value` sets, and `-e NAME` takes along."""
    env: dict[str, Word] = {}
    for word in found.every("-e", "--env"):
        name, equals, value = word.text.partition("=")
        if equals:
            shown = word.at.end_column - word.at.column == len(word.text) and word.at.line == word.at.end_line
            at = word.at._replace(column=word.at.column + len(name) + 1) if shown else word.at
            env[name] = Word(value, at, word.known)
        elif name in outer:
            env[name] = outer[name]
        elif name.isidentifier():
            env[name] = Word(f"${name}", word.at, known=False)
    return env


def _hardware(found: Read, env: Mapping[str, Word]) -> Hardware:
    """The cards that a container is given; of `all` there is no count."""
    devices = found.every("--device")
    other = next((kind for word in devices for path, kind in _OTHERS.items() if word.text.startswith(path)), None)
    runtime = found.last("--runtime")
    if other is None and runtime and runtime.text == "habana":
        other = "gaudi"
    word = found.last("--gpus")
    if word is not None:
        return Hardware(gpus=_gpus(word), accelerator=other, places={"gpus": word.at})
    named = [word for word in devices if word.text.startswith("nvidia.com/gpu=")]
    if named:
        every = any(word.text.endswith("=all") for word in named)
        return Hardware(gpus=None if every else len(named), accelerator=other, places={"gpus": named[0].at})
    visible = env.get("NVIDIA_VISIBLE_DEVICES")
    if visible and visible.known and re.fullmatch(r"\d+(?:,\d+)*", visible.text):
        return Hardware(gpus=visible.text.count(",") + 1, accelerator=other, places={"gpus": visible.at})
    return Hardware(accelerator=other)


def _gpus(word: Word) -> int | Unknown | None:
    """`--gpus 2`, `all`, `device=0,1`, `"device=0,1"`, `count=2`."""
    text = word.text.strip("\"'")
    if not word.known:
        return Unknown(word.text)
    devices = _DEVICES.search(text)
    if devices:
        return len([name for name in devices[1].split(",") if name and "=" not in name]) or None
    count = _COUNT.fullmatch(text)
    return int(count[1]) if count else None


def _apptainer(words: Sequence[Word], env: Mapping[str, Word]) -> Container | None:
    found = read(words[2:], _APPTAINER)
    if len(words) < 3 or words[1].text not in {"exec", "run"} or not found.rest:  # noqa: PLR2004
        return None
    image, arguments = found.rest[0], found.rest[1:]
    variables = {**env, **_environment(found, env)}
    return Container(image, arguments, words[1].text == "exec", variables, Hardware())
