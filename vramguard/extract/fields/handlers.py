"""Functions that answer requests, and the schemas of what they answer; what each name of a module reads."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vramguard.extract.fields.names import dotted, named
from vramguard.facts.fields import ModuleNames, ResponseModel
from vramguard.source import Location
from vramguard.source.python import INNER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.extract.fields.names import Module

Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS: Final = (*_FUNCTIONS, ast.ClassDef)
_ROUTES: Final = frozenset({"get", "post", "put", "patch", "delete", "route", "api_route", "websocket"})
_OTHER_ROUTES: Final = frozenset({"api", "endpoint", "fastapi_endpoint", "web_endpoint", "output", "response"})
_LITESTAR: Final = ("litestar", "starlite")
# Methods that a serving framework calls, by the last part of a base: cog, LitServe, KServe, Ray Serve's own handler.
_METHODS: Final = {
    "BasePredictor": ("predict",),
    "BaseRunner": ("run",),
    "LitAPI": ("predict", "encode_response"),
    "Model": ("predict", "postprocess"),
}
_DUMPS: Final = frozenset({"model_dump", "dict", "json", "model_dump_json", "to_dict", "asdict", "dump", "dumps"})
_RAW: Final = frozenset({
    "Response", "JSONResponse", "ORJSONResponse", "UJSONResponse", "StreamingResponse", "FileResponse",
    "PlainTextResponse", "HTMLResponse", "EventSourceResponse", "RedirectResponse",
})  # fmt: skip
_HEADS: Final = frozenset({
    "List", "list", "Optional", "Union", "Dict", "dict", "Tuple", "tuple", "Sequence", "Iterable", "Annotated", "Any",
    "str", "int", "float", "bool", "bytes", "None", "Literal", "Type", "AsyncIterator", "AsyncGenerator", "Generator",
    "Iterator", "Response", "JSONResponse", "StreamingResponse", "Request", "BackgroundTasks",
})  # fmt: skip
# What calls a model, by its own name: `predict_price(…)`, `model.generate(…)`, `pipe(…)`, `self.classifier(…)`.
_PREDICTS: Final = re.compile(
    r"(?:\w*_)?a?(?:predict|infer|forecast|inference|predictions?)(?:_\w+|ions?|ed|proba)?|encode_response|a?completion"
)
# Words that other programs have too: only of a module that imports a model's library.
_LEANS: Final = re.compile(
    r"a?generate|generate_"
    r"(?:text|response|answer|completion|image|audio|speech|caption|summary|embeddings?|recommendations?|reply)|a?invoke|"
    r"a?transcribe(?:_\w+)?|a?embed(?:_\w+)?|classify(?:_\w+)?|a?complete|a?chat|score_\w+|summarize(?:_\w+)?|"
    r"translate(?:_\w+)?|recommend(?:_\w+)?|estimate_\w+|detect_\w+"
)
_LIBRARIES: Final = frozenset({
    "torch", "transformers", "sklearn", "joblib", "pickle", "cloudpickle", "dill", "xgboost", "lightgbm", "catboost",
    "keras", "tensorflow", "tflite_runtime", "onnxruntime", "openvino", "sentence_transformers", "diffusers", "spacy",
    "fasttext", "statsmodels", "prophet", "surprise", "implicit", "lightfm", "vllm", "sglang", "llama_cpp",
    "ctransformers", "openai", "anthropic", "litellm", "groq", "mistralai", "cohere", "google", "vertexai", "ollama",
    "langchain", "langchain_core", "langchain_openai", "langchain_community", "llama_index", "dspy", "haystack",
    "huggingface_hub", "replicate", "whisper", "faster_whisper", "whisperx", "ultralytics", "easyocr", "mlflow",
    "tritonclient", "pydantic_ai", "instructor", "outlines", "peft", "timm", "gensim", "autogluon", "pycaret",
    "bentoml", "flair", "nemo", "paddle", "jax", "flax",
})  # fmt: skip
_BARE: Final = frozenset(
    {"model", "models", "pipe", "pipeline", "predictor", "classifier", "regressor", "llm", "network"}
)
_MODEL: Final = re.compile(
    r"(?!(?:list|get|create|copy|load|build|save|fetch|make|delete|update|select|is|from|to|init|parse|validate|register"
    r"|convert|ensure|download|setup|pull|add|check|find|new|use|set|with|read|write|start|stop|compile|train|fit|async)_)"
    r"(?:\w*_)?(?:model|predictor|classifier|regressor|pipe|pipeline|llm|estimator|recommender|session|forecaster)s?"
)
_VAGUE: Final = frozenset({"run", "create", "score", "encode", "forward", "search"})  # of a model only on a model
_CLIENTS: Final = ("completions", "messages", "responses", "embeddings", "images", "audio")
_MAX_NAMES: Final = 400
_MAX_NAME: Final = 80  # characters


def responses(module: Module) -> Iterator[ResponseModel]:
    """Every function of the module that a framework answers requests with, and that names a schema."""
    for node, owner in _definitions(module.tree.body, None):
        how, models, route = _declared(module, node, owner)
        if route is None:
            continue
        if _goes_around(module, node):
            models = ()
        returned = tuple(dict.fromkeys(_returned(node)))
        how, models = (how, models) if models else ("returned", returned)
        parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        requests = {name: None for item in parameters for name in named(item.annotation)}
        # `owner.method` is told apart from a function of that name
        name = f"{owner.name}.{node.name}" if owner is not None else node.name
        reads, predicts = _read([*node.body, *_hints(node)], knows=_knows(module))
        yield ResponseModel(
            module.at(node)._replace(end_line=node.lineno, end_column=1 << 10),
            name,
            models,
            how,
            route,
            tuple(requests),
            tuple(sorted(reads))[:_MAX_NAMES],
            predicts,
            how == "returned" and _is_fastapi(module),
        )


def _goes_around(module: Module, node: Function) -> bool:
    """Whether every answer is a raw response, which no declared model is applied to: another rule speaks of that."""
    if node.returns is not None and module.last(node.returns) in _RAW:
        return True
    given = [item.value for item in ast.walk(node) if isinstance(item, ast.Return) and item.value is not None]
    return bool(given) and all(isinstance(value, ast.Call) and module.last(value) in _RAW for value in given)


def _is_fastapi(module: Module) -> bool:
    """Whether the module serves with FastAPI, whose own renderer refuses NaN where no model is declared."""
    return any(origin.partition(".")[0] == "fastapi" for origin, _, _ in module.imports.values())


def _hints(node: Function) -> Iterator[ast.expr]:
    """What a body's parameters are: their types and what is injected, `Depends(get_model)`."""
    arguments = node.args
    for item in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if item.annotation is not None:
            yield item.annotation
    yield from (default for default in (*arguments.defaults, *arguments.kw_defaults) if default is not None)


def _definitions(body: list[ast.stmt], owner: ast.ClassDef | None) -> Iterator[tuple[Function, ast.ClassDef | None]]:
    """Every function, those inside others and inside classes too."""
    pending: list[tuple[list[ast.stmt], ast.ClassDef | None]] = [(body, owner)]
    while pending:
        statements, around = pending.pop()
        for node in statements:
            if isinstance(node, _FUNCTIONS):
                yield node, around
                pending.append((node.body, None))
            elif isinstance(node, ast.ClassDef):
                pending.append((node.body, node))
            else:
                pending += [(value, around) for name in ("body", "orelse") if (value := getattr(node, name, None))]


def _declared(module: Module, node: Function, owner: ast.ClassDef | None) -> tuple[str, tuple[str, ...], str | None]:
    """How the answer's schemas are named, which these are, and the route; no route where it answers nobody."""
    route: str | None = None
    for decorator in node.decorator_list:
        path = _route(module, decorator)
        if path is None:
            continue
        route = route or path
        how, models = _of_decorator(module, decorator)
        if how:
            return how, models, route
    if route is None and owner is not None:
        bases = {module.last(base) for base in owner.bases}
        methods = {name for base in bases for name in _METHODS.get(base, ())}
        route = f"{owner.name}.{node.name}" if node.name in methods else None
    return "return annotation", _schemas(node.returns), route


def _route(module: Module, decorator: ast.expr) -> str | None:
    """The path that a decorator of a route names, empty where it names none; None where it makes no route."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = module.last(function)
    routed = isinstance(function, ast.Attribute) and isinstance(decorator, ast.Call) and name in _ROUTES
    if isinstance(function, ast.Name):
        routed = name in _ROUTES and module.root(function) in _LITESTAR
    if not routed and name not in _OTHER_ROUTES:
        return None
    given = decorator.args[0] if isinstance(decorator, ast.Call) and decorator.args else None
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else ""


def _of_decorator(module: Module, decorator: ast.expr) -> tuple[str, tuple[str, ...]]:
    """`response_model=…` of FastAPI, `response=…` of Ninja, `@app.output(…)`, `@blp.response(200, …)`."""
    if not isinstance(decorator, ast.Call):
        return "", ()
    for keyword in decorator.keywords:
        if keyword.arg == "response_model" or (keyword.arg == "response" and module.last(decorator) in _ROUTES):
            return str(keyword.arg), _schemas(keyword.value)
        if keyword.arg == "output":  # BentoML: `output=JSON(pydantic_model=…)`
            inner = keyword.value.keywords if isinstance(keyword.value, ast.Call) else []
            return "output", tuple(name for item in inner for name in _schemas(item.value))
        if keyword.arg == "responses" and isinstance(keyword.value, ast.Dict):  # flask-openapi3
            found = tuple(
                name for value in keyword.value.values if not isinstance(value, ast.Dict) for name in _schemas(value)
            )
            if found:
                return "responses", found
    if module.last(decorator) in ("output", "response"):
        found = tuple(name for argument in decorator.args for name in _schemas(argument))
        return (module.last(decorator), found) if found else ("", ())
    return "", ()


def _schemas(node: ast.expr | None) -> tuple[str, ...]:
    """The names in a type that may be schemas."""
    inner = node.func if isinstance(node, ast.Call) else node  # `Schema(many=True)`
    return tuple(dict.fromkeys(name for name in named(inner) if name.rpartition(".")[2] not in _HEADS))


def _returned(node: Function) -> Iterator[str]:
    """The classes of which an instance is returned: `return X(…)`, or a name that holds one; `.model_dump()` too."""
    held: dict[str, str] = {}
    for item in ast.walk(node):
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            held[item.targets[0].id] = _made(item.value)
    for item in ast.walk(node):
        if isinstance(item, ast.Return) and item.value is not None:
            value = item.value
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _DUMPS:
                value = value.func.value
            name = held.get(value.id, "") if isinstance(value, ast.Name) else _made(value)
            yield from filter(None, [name])


def _made(node: ast.expr) -> str:
    """The class that a call makes an instance of, by the capital that its name begins with."""
    name = dotted(node.func) if isinstance(node, ast.Call) else ""
    last = name.rpartition(".")[2]
    return name if last[:1].isupper() and last not in _HEADS else ""


def names_of(module: Module, *, deep: bool) -> ModuleNames:
    """What the module imports and defines; `deep`: what each definition reads, and which of them call a model."""
    uses: dict[str, tuple[str, ...]] = {}
    predicting: set[str] = set()
    for node in module.tree.body:
        names = list(_defined(node))
        if not names or _is_application(module, node):
            continue
        reads, predicts = _read([node], knows=_knows(module)) if deep else (set[str](), False)
        for name in names:
            uses[name] = tuple(sorted({*uses.get(name, ()), *reads} - {name}))[:_MAX_NAMES]
            predicting |= {name} if predicts else set()
    at = Location(module.path)
    return ModuleNames(at, module.imports, uses, frozenset(predicting))


def _is_application(module: Module, node: ast.stmt) -> bool:
    """Whether it is the application itself: every handler reads it, and it reads every handler."""
    value = getattr(node, "value", None)
    makes = ("FastAPI", "APIRouter", "Flask", "Blueprint", "Starlette", "Litestar", "NinjaAPI", "getLogger")
    return isinstance(value, ast.Call) and module.last(value) in makes


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def _read(body: Iterable[ast.AST], *, knows: bool) -> tuple[set[str], bool]:
    """The names that a text reads, dotted ones whole; and whether a call in it looks like one of a model."""
    found: set[str] = set()
    predicts = False
    pending: list[ast.AST] = [*body]
    while pending:
        node = pending.pop()
        kind = type(node)
        if kind is ast.Name:
            found.add(node.id)  # type: ignore[attr-defined]
        elif kind is ast.Attribute and (whole := dotted(node)):  # type: ignore[arg-type]
            found.add(whole)
        elif kind in _DEFINITIONS:
            pending += node.body  # type: ignore[attr-defined] # what decorates it is no part of what it does
        elif kind is not ast.Constant:
            predicts = predicts or (kind is ast.Call and _is_of_model(node, knows=knows))  # type: ignore[arg-type]
            for name in INNER[kind]:
                value = getattr(node, name, None)
                if isinstance(value, ast.AST):
                    pending.append(value)
                elif isinstance(value, list):
                    pending += [item for item in value if isinstance(item, ast.AST)]
    return found, predicts


def _knows(module: Module) -> bool:
    """Whether the module imports a library of models."""
    return any(not level and origin.partition(".")[0] in _LIBRARIES for origin, _, level in module.imports.values())


def _is_of_model(call: ast.Call, *, knows: bool) -> bool:
    """Whether a call is one of a model, by its name; `knows`: the module imports a library of models."""
    function = call.func
    while isinstance(function, ast.Subscript):  # `models["price"](…)`
        function = function.value
    last = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if len(last) > _MAX_NAME:
        return False
    asks, is_model = _said(last, knows)
    if asks or is_model:
        return asks or bool(call.args or call.keywords)
    if last not in _VAGUE:
        return False
    on = function.value if isinstance(function, ast.Attribute) else None
    held = on.attr if isinstance(on, ast.Attribute) else getattr(on, "id", "")
    return len(held) <= _MAX_NAME and (_MODEL.fullmatch(held) is not None or held in _CLIENTS)


@lru_cache(maxsize=1 << 16)  # names recur
def _said(name: str, knows: bool) -> tuple[bool, bool]:  # noqa: FBT001 - a key
    """Whether a name asks a model, and whether it is one."""
    asks = _PREDICTS.fullmatch(name) or (knows and _LEANS.fullmatch(name))
    return bool(asks), name in _BARE or (knows and _MODEL.fullmatch(name) is not None)
