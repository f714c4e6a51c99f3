"""Commands whose words end in another command: interpreters, environments, launchers of processes, remote shells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from vramguard.facts import Word
from vramguard.link.launches.options import Options, options, read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PYTHON = re.compile(r"python(?:\d(?:\.\d+)?)?t?|pypy3?")
_SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh", "busybox"}
# What only tells, fetches, installs, waits or kills: its words may name an engine and start none.
QUIET = frozenset(
    [
        "echo",
        "printf",
        "cat",
        "grep",
        "egrep",
        "rg",
        "sed",
        "awk",
        "pkill",
        "pgrep",
        "kill",
        "killall",
        "ps",
        "pip",
        "pip3",
        "curl",
        "wget",
        "git",
        "cd",
        "mkdir",
        "rm",
        "cp",
        "mv",
        "ls",
        "ln",
        "chmod",
        "chown",
        "touch",
        "test",
        "[",
        "[[",
        "sleep",
        "wait",
        "trap",
        "exit",
        "return",
        "which",
        "type",
        "apt",
        "apt-get",
        "yum",
        "dnf",
        "apk",
        "conda-install",
        "export",
        "tee",
        "head",
        "tail",
        "jq",
        "yq",
        "helm",
        "kustomize",
        "terraform",
        "huggingface-cli",
        "hf",
        "tar",
        "unzip",
        "find",
        "xargs",
        "nvidia-smi",
        "pytest",
        "lsof",
        "nc",
        "set",
        "unset",
        "alias",
        "source",
        ".",
        "read",
        "diff",
        "rsync",
        "scp",
        "aws",
        "gsutil",
        "gcloud",
        "az",
        "brew",
        "npm",
        "make",
        "cmake",
    ]
)


class Started(NamedTuple):
    """What a command starts: the words of another, or a script for a shell; and what it says of it."""

    words: tuple[Word, ...] = ()
    script: Word | None = None
    env: Mapping[str, Word] = {}
    processes: Word | None = None
    image: Word | None = None
    gpus: Word | None = None
    final: bool = False  # the words are the program: nothing more is taken off


def started(words: tuple[Word, ...]) -> Started | None:
    """What a command starts; None where it is the program itself."""
    name = words[0].text.rpartition("/")[2]
    if _PYTHON.fullmatch(name):
        return _python(words[1:])
    if name in _SHELLS:
        return _shell(words[1:] if name != "busybox" else words[2:])
    reader = _READERS.get(name)
    return reader(words[1:]) if reader else None


def _python(words: tuple[Word, ...]) -> Started:
    """`python -m module …` and `python script.py …`."""
    for number, word in enumerate(words):
        text = word.text
        if re.fullmatch(r"-[A-Za-z]*m", text):
            return Started(_resolved(words[number + 1 :]), final=number + 1 < len(words))
        if text.startswith("-m") and len(text) > 2:  # noqa: PLR2004
            module = Word(text[2:], word.at, word.known)
            return Started(_resolved((module, *words[number + 1 :])), final=True)
        if not text.startswith("-") and (number == 0 or words[number - 1].text not in {"-W", "-X"}):
            return Started(words[number:], final=True)
        if text.startswith("-c") or text == "-":
            break
    return Started()


_MODULES = {
    "torch.distributed.run": "torchrun",
    "torch.distributed.launch": "torchrun",
    "accelerate.commands.launch": "",
}


def _resolved(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """A module that starts another, as its command does."""
    runner = _MODULES.get(words[0].text) if words else None
    if not runner:
        return words
    found = _torchrun(words[1:])
    return found.words


def _shell(words: tuple[Word, ...]) -> Started:
    """`bash -lc 'script'`, `sh script.sh arguments`."""
    asked = False
    number = 0
    while number < len(words) and words[number].text[:1] in {"-", "+"} and len(words[number].text) > 1:
        text = words[number].text
        number += 1
        if text == "--":
            break
        if not text.startswith("--"):
            asked = asked or ("c" in text and text[0] == "-")
            number += text[-1] in "oO"
        elif text in {"--rcfile", "--init-file"}:
            number += 1
    rest = words[number:]
    if asked:
        return Started(script=rest[0]) if rest else Started()
    return Started(rest, final=True)


def _after(table: Options, skip: int = 0) -> Callable[[tuple[Word, ...]], Started]:
    """A reader of commands that begin behind options, and `skip` words of their own."""
    return lambda words: Started(read(words, table).rest[skip:])


def _subcommand(names: set[str], table: Options) -> Callable[[tuple[Word, ...]], Started | None]:
    """A reader of `uv run [options] command`."""

    def reader(words: tuple[Word, ...]) -> Started | None:
        if words and words[0].text in names:
            return _module_or_words(words[1:], table)
        return None

    return reader


def _module_or_words(words: tuple[Word, ...], table: Options) -> Started:
    found = read(words, table)
    module = found.last("-m", "--module")
    return Started((module, *found.rest), final=True) if module else Started(found.rest)


_UV = options(
    "--with --with-editable --with-requirements --python --package --project --directory --env-file --extra --group"
    " --only-group --no-group --index --index-url --default-index --extra-index-url --find-links --from --cache-dir"
    " --config-file --constraints --overrides --torch-backend --prerelease --resolution --index-strategy --module",
    short="mpwifcC",
)
_CONDA = options("--name --prefix --cwd", short="np")
_ACCELERATE_FLAGS = (
    "--multi_gpu --cpu --mps --use_deepspeed --use_fsdp --use_megatron_lm --use_xpu --tpu --module --no_python --quiet"
    " --debug --same_network --multi-gpu --use-deepspeed --use-fsdp --no-python --dynamo_use_dynamic"
)
_ACCELERATE = options(flags=_ACCELERATE_FLAGS, open_ended=True)
_TORCHRUN = options(flags="--standalone --no-python --no_python --module --run-path --run_path --help", open_ended=True)
_DEEPSPEED = options(flags="--module --no_python --no_local_rank --save_pid --enable_each_rank_log", open_ended=True)
_MPI = options(
    "-n -np --np -c -H -host --host -hostfile --hostfile -machinefile --machinefile -x --bind-to -bind-to --map-by"
    " -map-by --rank-by -rank-by --wdir -wdir -wd -env -genv --prefix --report-state-on-timeout --timeout -ppn",
    flags="--allow-run-as-root -allow-run-as-root --oversubscribe -oversubscribe --tag-output -q -v",
)
_SRUN = options(
    flags="--pty --overlap --label --unbuffered --no-kill --exclusive --container-mount-home --immediate --verbose"
    " --no-container-mount-home --container-writable --container-readonly --container-remap-root --oversubscribe"
    " --quiet --multi-prog --spread-job --wait-all-nodes --disable-status --preserve-env --kill-on-bad-exit",
    short="AaBCcdDeEFGiIJLmMnNopPqrStTUwxW",
    open_ended=True,
)
_SSH = options(short="bcDEeFIiJLlmOopQRSWw")
_TMUX = options(short="scxytFen")


def _accelerate(words: tuple[Word, ...]) -> Started | None:
    if not words or words[0].text != "launch":
        return None
    found = read(words[1:], _ACCELERATE)
    return Started(found.rest, processes=found.last("--num_processes", "--num-processes"), final=bool(found.rest))


def _torchrun(words: tuple[Word, ...]) -> Started:
    found = read(words, _TORCHRUN)
    processes = found.last("--nproc-per-node", "--nproc_per_node")
    return Started(found.rest, processes=processes, final=bool(found.rest))


def _deepspeed(words: tuple[Word, ...]) -> Started:
    found = read(words, _DEEPSPEED)
    return Started(found.rest, processes=found.last("--num_gpus"), final=bool(found.rest))


def _mpirun(words: tuple[Word, ...]) -> Started:
    env: dict[str, Word] = {}
    spread: list[Word] = []
    number = 0
    while number < len(words):  # `--mca NAME VALUE` takes two words
        if words[number].text.lstrip("-") in {"mca", "gmca", "genv", "env"} and words[number].text.startswith("-"):
            number += 3
            continue
        spread.append(words[number])
        number += 1
        if not words[number - 1].text.startswith("-") and (number < 2 or words[number - 2].text not in _MPI.valued):  # noqa: PLR2004
            spread += words[number:]
            break
    found = read(spread, _MPI)
    for word in found.every("-x"):
        name, equals, value = word.text.partition("=")
        if equals:
            env[name] = Word(value, word.at, word.known)
    return Started(found.rest, env=env, processes=found.last("-n", "-np", "--np"))


def _srun(words: tuple[Word, ...]) -> Started:
    found = read(words, _SRUN)
    gpus = found.last("--gpus-per-node", "--gpus", "-G", "--gres")
    return Started(
        found.rest,
        processes=found.last("-n", "--ntasks", "--ntasks-per-node"),
        image=found.last("--container-image"),
        gpus=gpus,
    )


def _joined(words: Sequence[Word]) -> Word | None:
    """Words that a shell reads again, as one script."""
    if len(words) == 1:
        return words[0]
    return (
        Word(" ".join(word.text for word in words), words[0].at, all(word.known for word in words)) if words else None
    )


def _ssh(words: tuple[Word, ...]) -> Started:
    return Started(script=_joined(read(read(words, _SSH).rest[1:], _SSH).rest))


def _eval(words: tuple[Word, ...]) -> Started:
    return Started(script=_joined(words))


def _tmux(words: tuple[Word, ...]) -> Started | None:
    if not words:
        return None
    if words[0].text in {"new-session", "new", "new-window", "neww", "split-window", "respawn-pane"}:
        return Started(script=_joined(read(words[1:], _TMUX).rest))
    if words[0].text in {"send-keys", "send"}:
        keys = [
            word for word in read(words[1:], options(short="tN")).rest if word.text not in {"C-m", "Enter", "ENTER"}
        ]
        return Started(script=_joined(keys))
    return None


def _screen(words: tuple[Word, ...]) -> Started:
    """`screen -dmS name command …`."""
    number = 0
    while number < len(words) and words[number].text.startswith("-"):
        number += 1 + (words[number].text[-1:] in "SscehpLTt")
    return Started(words[number:])


def _after_dashes(names: set[str]) -> Callable[[tuple[Word, ...]], Started | None]:
    """A reader of `kubectl exec … -- command`."""

    def reader(words: tuple[Word, ...]) -> Started | None:
        texts = [word.text for word in words]
        if not names & set(texts[:4]):
            return None
        return Started(words[texts.index("--") + 1 :]) if "--" in texts else Started()

    return reader


def _su(words: tuple[Word, ...]) -> Started:
    found = read(words, options("--command --user --group --shell", short="cugs"))
    script = found.last("-c", "--command") or read(found.rest[1:], options(short="c")).last("-c")
    return Started(script=script) if script else Started(found.rest)


_READERS: Mapping[str, Callable[[tuple[Word, ...]], Started | None]] = {
    "uv": lambda words: _subcommand({"run"}, _UV)(words) or _subcommand({"run"}, _UV)(words[1:]),
    "uvx": _after(_UV),
    "poetry": _subcommand({"run"}, options("-C -P --directory --project")),
    "pipenv": _subcommand({"run"}, options()),
    "pdm": _subcommand({"run"}, options("-p --project")),
    "rye": _subcommand({"run"}, options()),
    "hatch": _subcommand({"run"}, options()),
    "pixi": _subcommand({"run"}, options("-e --environment --manifest-path")),
    "conda": _subcommand({"run"}, _CONDA),
    "mamba": _subcommand({"run"}, _CONDA),
    "micromamba": _subcommand({"run"}, _CONDA),
    "pipx": _subcommand({"run"}, options("--spec --python --pip-args --index-url")),
    "accelerate": _accelerate,
    "torchrun": _torchrun,
    "deepspeed": _deepspeed,
    "mpirun": _mpirun,
    "mpiexec": _mpirun,
    "orterun": _mpirun,
    "srun": _srun,
    "ssh": _ssh,
    "eval": _eval,
    "tmux": _tmux,
    "screen": _screen,
    "kubectl": _after_dashes({"exec", "run", "debug"}),
    "oc": _after_dashes({"exec", "run", "rsh"}),
    "ray": _after_dashes({"job"}),
    "su": _su,
    "runuser": _su,
    "watch": _after(options("-n --interval", short="n")),
    "nsys": lambda words: (
        Started(read(words[1:], options(short="tosewcdfnyx", open_ended=True)).rest) if words else None
    ),
    "ncu": _after(options(short="oksc", open_ended=True)),
}
