"""Blocks of values of any chart that look like a container: an engine's image or command, and what stands beside it.

Charts differ in where they pass values on, but not in how they call them: the keys are those of a container, of vLLM's
flags in camel case, or of Bitnami's style of charts (`extraEnvVars`). A key that no template reads is `link/helm`'s.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.helm.shared import FORM, holds_a_place, image
from vramguard.extract.helm.stated import ENGINE_KEYS, field_of, snake
from vramguard.extract.kubernetes.hardware import hardware
from vramguard.extract.kubernetes.pods import environment
from vramguard.extract.kubernetes.workloads import flag
from vramguard.extract.made import made
from vramguard.facts import Launch, Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Reference
    from vramguard.facts.nodes import Node

_ENGINES = re.compile(
    r"vllm(?!-?(?:router|production|exporter|proxy))|sglang|text-generation-(?:inference|launcher)|/nim/|tritonserver|"
    r"llama[.-]?cpp|llama-server|trt-?llm|tensorrt-llm|lmdeploy|aphrodite|huggingfaceserver|llm-d-(?:cuda|xpu|rocm|hpu|cpu)|"
    r"djl-(?:serving|inference)",
    re.IGNORECASE,
)
_NO_ENGINE = re.compile(
    r"router|-sim\b|simulator|exporter|benchmark|gateway|operator|sidecar|downloader", re.IGNORECASE
)
_NIM = re.compile(r"/nim/", re.IGNORECASE)
_COMMANDS = ("command", "cmd")
_ANY = frozenset(("image", "repository", "container", *_COMMANDS))
_ARGUMENTS = re.compile(
    r"(?:extra|additional|vllm|engine|model|server|serve|command|container|cmd)?_?(?:cmd)?_?arg(?:ument)?s\Z"
)
_VARIABLES = re.compile(r"(?:extra|additional|container)?_?(?:env(?:iron(?:ment)?)?_?(?:vars?|variables?|s)?)\Z")
_MODEL_FLAG = re.compile(
    r"--?(?:model|model[-_](?:path|id|name|tag)|hf[-_]repo|hfr|m|huggingface[-_]id)(?:=|\Z)", re.IGNORECASE
)
_MODEL_VARIABLE = re.compile(r"(?:^|_)MODEL(?:_(?:ID|NAME|PATH|URI|REPO))?\Z")
_ID = re.compile(r"(?:hf://)?[A-Za-z0-9][\w.-]*/[\w.-]+\Z|(?:s3|gs|pvc|oci)://\S+\Z|/[\w./-]+\Z")
_DEFAULTS = ("/values.yaml", "/values.yml")  # of a chart, whose user has to name a model
_UNSAID = "the chart's own"  # a model that stands in a chart elsewhere
_MAX_TEXT = 10_000  # characters of arguments in one text
_WORD = re.compile(r"\S+")


def container(node: Node, name: str) -> Launch | None:
    """The launch that a block asks for; None where it is no engine's, or names no model."""
    if not node.value.keys() & _ANY and _engine_of(name) is None and not any(map(_is_arguments, node.value)):
        return None
    picture = _image(node)
    command, arguments, env = _command(node), _arguments(node), _variables(node)
    words = (*command, *arguments)
    engine = _engine_of(name)
    text = " ".join((picture.text if picture else "", *(word.text for word in words)))
    runs = bool(_ENGINES.search(text)) and not (picture and _NO_ENGINE.search(picture.text))
    nim = picture is not None and _NIM.search(picture.text) is not None  # its `model.name` is only what it is served as
    given = _given(node, words, env, nim=nim)
    if not runs and not (engine and given.get("model") and picture is None):
        return None
    if engine and not runs:
        given["engine"] = Word(engine, node.at)
    cards = hardware(block := _block(node), block)
    if _only_places(words, env, given):
        return None
    if not (nim or given.get("model") or _names_model(words, env)):
        nothing = cards.gpus is None and cards.accelerator is None
        if picture is None or nothing or node.document.path.endswith(_DEFAULTS):
            return None
        given["model"] = Word(_UNSAID, picture.at, known=False)
    return Launch(
        at=(picture or node).at if not node.keys[1:] else node.at,
        form=FORM,
        name=name,
        command=words,
        entrypoint=bool(command),
        env=env,
        image=picture.word() if picture else None,
        hardware=cards,
        given=given,
    )


def _block(node: Node) -> Node:
    """What says which cards are asked for; `gpuModels` is of vLLM's chart (examples/deployment/chart-helm)."""
    models = node.get("gpuModels", 0)
    if models.text and not holds_a_place(models.text) and models.text != "TYPE_GPU_USED":
        selector = {"nvidia.com/gpu.product": models}
        return made(node, {"resources": node.get("resources"), "nodeSelector": selector})
    return made(node, {key: node.get(key) for key in ("resources", "nodeSelector", "affinity", "resourceClaims")})


def _is_arguments(key: str | int) -> bool:
    return _ARGUMENTS.match(snake(str(key))) is not None


def _engine_of(name: str) -> str | None:
    """The engine that a block's own name is, where it is one."""
    return ENGINE_KEYS.get(name.rpartition(".")[2].lower())


def _image(node: Node) -> Node | None:
    """`image`, as a text or a mapping, or `repository` and `tag` of the block itself."""
    held = node.get("image")
    found = image(held, node.get("imageTag") or node.get("tag"))
    if found is None and node.get("repository").text:
        found = image(node)
    return found if (found is not None and "/" in found.text) or (found and _ENGINES.search(found.text)) else None


def _sources(node: Node) -> list[Node]:
    """The block and what may hold its command: vLLM's chart has it beside the image (`image.command`)."""
    return [node, *(held for key in ("image", "container") if isinstance((held := node.get(key)).value, dict))]


def _command(node: Node) -> tuple[Word, ...]:
    for source in _sources(node):
        for key in _COMMANDS:
            if words := source.get(key).words():
                return words
    return ()


def _arguments(node: Node) -> tuple[Word, ...]:
    """Every list, text or mapping of arguments, in their order."""
    found: list[Word] = []
    for source in _sources(node):
        for key, value in source.items():
            if _is_arguments(key):
                found += _as_words(value)
    return tuple(found)


def _as_words(value: Node) -> Iterator[Word]:
    if isinstance(value.value, dict):  # `maxModelLen: 8192` or `--max-model-len: 8192`, as flags
        for key, node in value.items():
            if not isinstance(node.value, dict):
                yield from flag(snake(key.lstrip("-")), node)
    elif isinstance(value.value, str) and len(value.value) < _MAX_TEXT and not set(value.value) & set("'\"\\$`"):
        word = value.word() or Word("", value.at)
        for match in _WORD.finditer(value.value):
            line = value.value.count("\n", 0, match.start())
            column = match.start() - (value.value.rfind("\n", 0, match.start()) + 1)
            yield Word(match[0], word.place(line, column, len(match[0])), word.known)
    else:
        yield from value.words()


def _variables(node: Node) -> dict[str, Word | Reference]:
    result: dict[str, Word | Reference] = {}
    for source in _sources(node):
        for key, value in source.items():
            if _VARIABLES.match(snake(key)):
                result |= environment(value)
    return result


def _given(node: Node, words: tuple[Word, ...], env: Mapping[str, Word | Reference], *, nim: bool) -> dict[str, Word]:
    """What the block states under names of its own: `maxModelLen`, `model.name`; nothing that its arguments say."""
    spoken = {snake(word.text.lstrip("-").partition("=")[0]) for word in words if word.text.startswith("--")}
    result: dict[str, Word] = {}
    for source in (node, *_inner(node)):
        for key, value in source.items():
            field = field_of(key)
            word = value.word()
            if field and word and word.text and field not in spoken and not holds_a_place(word.text):
                result.setdefault(field, word)
    if not nim and not _names_model(words, env) and (model := _model(node)):
        result["model"] = model
    return result


def _inner(node: Node) -> list[Node]:
    keys = (
        "config",
        "model",
        "modelConfig",
        "engine",
        "engineConfig",
        "vllmConfig",
        "vllm",
        "server",
        "inference",
        "llm",
    )
    return [node.get(key) for key in keys if isinstance(node.get(key).value, dict)]


_NAMES = ("model", "modelid", "modelname", "modelpath", "modeluri", "modelurl", "huggingfacemodel", "hfmodel")
_OWN_NAMES = ("id", "name", "repo", "repository", "path", "uri", "huggingfaceid", "hfid", "modelid", "hfrepo", *_NAMES)


def _model(node: Node) -> Word | None:
    """A model's id or path, under one of the names that charts have for it."""
    for source, names in ((node, _NAMES), *((inner, _OWN_NAMES) for inner in _inner(node))):
        for key, value in source.items():
            text = value.text
            if snake(key).replace("_", "") in names and _ID.match(text) and not holds_a_place(text):
                return value.word()
    return None


def _names_model(words: tuple[Word, ...], env: Mapping[str, Word | Reference]) -> bool:
    """Whether a word or a variable could say which model it is, a script's included."""
    spoken = any(_MODEL_FLAG.match(word.text) or word.text == "serve" or " " in word.text.strip() for word in words)
    return spoken or any(_MODEL_VARIABLE.search(name) for name in env)


def _only_places(words: tuple[Word, ...], env: Mapping[str, Word | Reference], given: Mapping[str, Word]) -> bool:
    """Whether the model that is named only holds a place: the chart's user has to name one."""
    if "model" in given:
        return False
    for number, word in enumerate(words):
        following = words[number + 1] if number + 1 < len(words) else None
        if match := _MODEL_FLAG.match(word.text):
            text = (
                word.text[match.end() :] if word.text[match.end() - 1] == "=" else following.text if following else ""
            )
            return holds_a_place(text)
    return any(isinstance(v, Word) and _MODEL_VARIABLE.search(k) and holds_a_place(v.text) for k, v in env.items())
