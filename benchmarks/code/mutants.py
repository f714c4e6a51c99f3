"""Faults planted in services of our own, and their harmless twins: which the rules catch, which they take for faults.

    .venv/bin/python benchmarks/code/mutants.py [--write] [RULE ...]

Each case of mutant_cases.toml is a function that a service runs, once with a fault and once without. It is moved about:
into another module, under an alias, into a package, a class, behind another function, an asynchronous one; and the
service around it is one of six. `--write` puts the table into mutants.md.
"""

from __future__ import annotations

import random
import re
import sys
import textwrap
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard import engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).parent
SEED = 7
PLACES = ("same", "module", "alias", "package", "method", "through", "async", "static")

# What stands around `ask(x)`: it runs it, and answers with what it gives.
SERVICES = {
    "fastapi": (
        "from fastapi import FastAPI\n{imports}\napp = FastAPI()\n{code}\n"
        '@app.get("/ask/{{x}}")\n{kind}def handle(x: float):\n    answer = {call}\n    return {{"answer": answer}}\n'
    ),
    "flask": (
        "from flask import Flask, jsonify\n{imports}\napp = Flask(__name__)\n{code}\n"
        '@app.route("/ask/<float:x>")\n{kind}def handle(x):\n    answer = {call}\n    return jsonify(answer=answer)\n'
    ),
    "gradio": (
        "import gradio as gr\n{imports}\n{code}\n"
        "{kind}def handle(x):\n    answer = {call}\n    return answer\n\n"
        'demo = gr.Interface(fn=handle, inputs="number", outputs="number")\ndemo.launch()\n'
    ),
    "bentoml": (
        "import bentoml\n{imports}\n{code}\n"
        '@bentoml.service(traffic={{"timeout": 5}})\nclass Service:\n    @bentoml.api\n'
        "    {kind}def handle(self, x: float) -> dict:\n        answer = {call}\n"
        '        return {{"answer": answer}}\n'
    ),
    "celery": (
        "from celery import Celery\nfrom fastapi import FastAPI\n{imports}\napp = FastAPI()\n"
        'tasks = Celery("tasks", broker="redis://queue")\n{code}\n'
        '@app.get("/ask/{{x}}")\n{kind}def handle(x: float):\n    audit.delay(x)\n    answer = {call}\n'
        '    return {{"answer": answer}}\n\n@tasks.task\ndef audit(x):\n    print(x)\n'
    ),
    "script": (
        "import argparse\n{imports}\n{code}\n"
        "def main():\n    parser = argparse.ArgumentParser()\n    parser.add_argument('x')\n"
        "    print({call})\n\nif __name__ == '__main__':\n    main()\n"
    ),
}


HANDLER = (
    "import joblib\nfrom fastapi import FastAPI\nfrom fastapi.responses import JSONResponse, ORJSONResponse, Response\n"
    '{imports}\napp = FastAPI()\nmodel = joblib.load("model.joblib")\n{schema}\n'
    '@{on}.get("/price", {declared})\n{kind}def price(x: float){returns}:\n'
)
QUOTE = "from pydantic import BaseModel, Field\n\nclass Quote(BaseModel):\n    price: float = Field(gt=0, lt=10_000)\n"
ANSWER = "value = float(model.predict([[x]])[0])\nreturn Quote(price=value)\n"


class Case(NamedTuple):
    """A function with a fault and its twin, and the services that it may stand in."""

    rule: str
    name: str
    services: tuple[str, ...]
    fault: Mapping[str, str]
    twin: Mapping[str, str]


class Tree:
    """Files in memory."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = {path: text.encode() for path, text in files.items()}

    def paths(self) -> list[str]:
        return sorted(self._files)

    def read(self, path: str) -> bytes | None:
        return self._files.get(path)

    def head(self, _path: str) -> None:
        return None

    def sample(self, _path: str, _kind: str) -> None:
        return None

    def size(self, path: str) -> int:
        return len(self._files.get(path, b""))


def cases() -> Iterator[Case]:
    """Every case that is written down, in order."""
    for one in tomllib.loads((HERE / "mutant_cases.toml").read_text(encoding="utf-8"))["case"]:
        both = dict(one.get("files", {}))
        fault, twin = ({**both, **_files(one[kind], one)} for kind in ("fault", "twin"))
        services = one.get("services", ["fastapi", "flask", "gradio", "bentoml", "celery"])
        yield Case(one["rule"], one["name"], tuple(services), fault, twin)


def _files(text: str, case: Mapping[str, Any]) -> dict[str, str]:
    """A case's own text, after what its fault and its twin share; of a declared answer the schema and the handler."""
    if case["rule"] == "VG303":
        return {"schema": text, "body": ANSWER}
    if case["rule"] == "VG304":
        return {"schema": QUOTE, "body": text}
    top = case.get("top", "")
    return {"": f"{top}\n{text}" if top else text}


def placed(files: Mapping[str, str], place: str, service: str) -> dict[str, str]:
    """The files of a service that runs a function, which stands where `place` says."""
    code = files[""]
    rest = {path: text for path, text in files.items() if path}
    imports, call, here, layer = "", "ask(x)", "", {}
    kind = "async " if place == "async" and service not in ("flask", "script") else ""
    if place in ("module", "async"):
        imports, layer = "from layer import ask", {"layer.py": code}
    elif place == "alias":
        imports, call, layer = "import layer as behind", "behind.ask(x)", {"layer.py": code}
    elif place == "package":
        imports, call = "from shop.layer import ask as answer_of", "answer_of(x)"
        layer = {"shop/__init__.py": "", "shop/layer.py": code}
    elif place in ("method", "static"):
        here, call = _as_method(code, static=place == "static"), "Asked().ask(x)"
    elif place == "through":
        here = f"{code}\n\ndef through(x):\n    found = ask(x)\n    return found\n"
        call = "through(x)"
    else:
        here = code
    if kind and not re.search(r"(?<!def )(?<![\w.])ask\(", code):
        call, layer["layer.py"] = f"await {call}", code.replace("def ask(", "async def ask(", 1)
    text = SERVICES[service].format(imports=imports, code=here, call=call, kind=kind)
    return {**rest, **layer, "app.py": text}


def _as_method(code: str, *, static: bool) -> str:
    """The function `ask`, with its decorators, as a method of a class; the rest before it."""
    found = re.search(r"^(?:@.*\n(?:[ )].*\n)*)*def ask\((?:.*\n)(?:(?:    .*)?\n)*", code, re.MULTILINE)
    if found is None:
        raise ValueError("a case without a function `ask`")
    own = found[0].rstrip() + "\n"
    own = own.replace("def ask(", "def ask(" if static else "def ask(self, ", 1)
    own = re.sub(r"(?<!def )(?<![\w.])ask\(", "Asked.ask(" if static else "self.ask(", own)
    own = f"@staticmethod\n{own}" if static else own
    before, after = code[: found.start()], code[found.end() :]
    called = re.sub(r"(?<![\w.])ask\(", "Asked().ask(", before + after)
    return f"{called}\n\nclass Asked:\n{textwrap.indent(own, '    ')}"


def declared(files: Mapping[str, str], place: str) -> dict[str, str]:
    """The files of a service that answers with a schema, `Quote`; one of schema and handler has the fault."""
    schema, body = files["schema"], files["body"]
    name, imports, here, route = "Quote", "", "", ""
    layer = {}
    if place in ("module", "async"):
        imports, layer = "from schemas import Quote", {"schemas.py": schema}
    elif place == "alias":
        imports, layer, name = "import schemas as forms", {"schemas.py": schema}, "forms.Quote"
    elif place == "package":
        imports, layer = "from shop.schemas import Quote as Priced", {"shop/__init__.py": "", "shop/schemas.py": schema}
        name = "Priced"
    elif place == "method":  # a class on top of it
        here, name = f"{schema}\n\nclass Answer(Quote):\n    note: str = ''\n", "Answer"
    elif place == "static":  # of a router
        imports, here, route = "from fastapi import APIRouter", schema, "router"
    else:
        here = schema
    kind = "async " if place == "async" else ""
    returns = f" -> {name}" if place == "through" else ""
    declared = f"response_model={name}"
    text = HANDLER.format(
        imports=imports, schema=here, declared=declared, kind=kind, returns=returns, on=route or "app"
    )
    made = "router = APIRouter()\n" if route else ""
    text = text.replace("model = ", f"{made}model = ", 1) + textwrap.indent(body.replace("Quote", name), "    ")
    return {**layer, "app.py": text + ("app.include_router(router)\n" if route else "")}


def mutants(case: Case) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """A case in every place, each time in a service that chance picks: with the fault, and without."""
    rng = random.Random(f"{SEED} {case.rule} {case.name}")  # noqa: S311 - no secret
    for place in PLACES:
        if "schema" in case.fault:
            yield f"{case.name}, {place}", declared(case.fault, place), declared(case.twin, place)
            continue
        service = rng.choice(case.services)
        yield (
            f"{case.name}, {place}, {service}",
            placed(case.fault, place, service),
            placed(case.twin, place, service),
        )


def finds(files: Mapping[str, str], rule: str) -> bool:
    """Whether a rule has a finding in some files."""
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")  # a mutant that is no Python would be silent for the wrong reason
    tree = Tree(files)
    return bool(engine.check(tree, engine.load_policy(tree, select=(rule,))).findings)


def measured(rules: list[str]) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How many faults each rule catches, how many twins it takes for one, and which."""
    counts: Counter[tuple[str, str]] = Counter()
    wrong = []
    for case in cases():
        if rules and case.rule not in rules:
            continue
        for name, fault, twin in mutants(case):
            caught, false = finds(fault, case.rule), finds(twin, case.rule)
            counts.update({(case.rule, "planted"): 1, (case.rule, "caught"): caught, (case.rule, "false"): false})
            wrong += [f"{case.rule} missed: {name}"] * (not caught) + [f"{case.rule} false: {name}"] * false
    return counts, wrong


def table(counts: Counter[tuple[str, str]], wrong: list[str]) -> str:
    """The counts as Markdown, and what went wrong."""
    rows = ["| rule | planted | caught | twins taken for faults |", "|---|---|---|---|"]
    for rule in sorted({rule for rule, _ in counts}):
        planted, caught, false = (counts[rule, word] for word in ("planted", "caught", "false"))
        rows.append(f"| {rule} | {planted} | {caught} ({100 * caught // planted} %) | {false} |")
    return "\n".join([*rows, "", *(f"- {one}" for one in wrong), ""])


def main(arguments: list[str]) -> None:
    """Print the table; write it where that is asked."""
    found = table(*measured([one for one in arguments if one.startswith("VG")]))
    print(found)
    if "--write" in arguments:
        head = (
            "# Faults planted in services of our own\n\n`mutants.py` beside it makes them; each twin is harmless.\n\n"
        )
        (HERE / "mutants.md").write_text(head + found, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
