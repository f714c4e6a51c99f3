"""The rules as a list, as pages, and as docs/rules.md: one text, made of the policies themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from vramguard.policy import parameters_of
from vramguard.report.escape import to_json, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from vramguard.policy import Example, Rule
    from vramguard.report.page import Page

SCHEMA: Final = "vramguard.rules/1"

# The demands by the digit after VG, in a word and in a sentence.
_DEMANDS: Final = {
    0: ("vramguard", "The gate itself: what could not be judged, and exemptions that do not hold"),
    1: ("pinning", "Every dependency exact, with the hash of what will run"),
    2: ("vram", "A proof of peak VRAM within the budget"),
    3: ("sanity", "A sanity layer between the model and the customer"),
    4: ("circuit-breakers", "Circuit breakers at the level of the infrastructure"),
    5: ("retraining", "No autonomous retraining, and data that is validated"),
    6: ("telemetry", "Telemetry of what matters"),
    7: ("infrastructure", "The infrastructure around the demands"),
}


def demand_name(demand: int) -> str:
    """The demand in one word."""
    return _DEMANDS[demand][0] if demand in _DEMANDS else "custom"


def title(rule: Rule) -> str:
    """The rule's name as words: `Unpinned requirement`."""
    return rule.name.replace("-", " ").capitalize()


def render(rules: Iterable[Rule]) -> str:
    """The rules as JSON."""
    return to_json(as_json(rules))


def as_json(rules: Iterable[Rule]) -> dict[str, Any]:
    """The rules in JSON's types."""
    return {"schema": SCHEMA, "rules": [_entry(rule) for rule in rules]}


def _entry(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        "demand": rule.demand,
        "severity": rule.severity.label,
        "message": rule.message,
        "why": rule.why.strip(),
        "fix": rule.fix.strip(),
        "parameters": {name: _json_value(value) for name, value in parameters(rule)},
        "examples": [
            {"title": example.title, "bad": dict(example.bad), "good": dict(example.good)} for example in rule.examples
        ],
    }


def parameters(rule: Rule) -> list[tuple[str, object]]:
    """The parameters of the rule's checks and the values that hold; one that several have, once."""
    held = {name: getattr(part.check, name) for part in rule.parts for name in parameters_of(part.check)}
    return list(held.items())


def _json_value(value: object) -> object:
    if isinstance(value, Fraction):
        return word(value)
    return value.name.lower() if isinstance(value, Enum) and not isinstance(value, str) else value


def word(value: object) -> str:
    """A parameter's value as a policy file would have it."""
    if isinstance(value, Fraction):
        exact = next((place for place in range(1, 10) if (value * 10**place).denominator == 1), None)
        return str(value) if exact is None else f"{float(value):.{max(exact, 2)}f}"
    if isinstance(value, Enum):
        return str(value.value) if isinstance(value, str) else value.name.lower()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return ", ".join(f"{word(key)}: {word(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple | set | frozenset):
        items = map(word, value)
        return ", ".join(sorted(items) if isinstance(value, set | frozenset) else items) or "none"
    return "none" if value is None else str(value)


def markdown(rules: Iterable[Rule]) -> str:
    """All rules as one page, docs/rules.md: a list, then a section each."""
    rules = sorted(rules, key=lambda rule: rule.id)
    lines = ["# Rules", "", "Made from `policies/*.toml`; a test keeps this page in step with them.", ""]
    lines += ["| id | name | severity |", "|---|---|---|"]
    lines += [f"| [{rule.id}](#{rule.id.lower()}) | {rule.name} | {rule.severity.label} |" for rule in rules]
    for demand in sorted({rule.demand for rule in rules}):
        lines += ["", f"## {_DEMANDS.get(demand, ('', 'Other demands'))[1]}"]
        for rule in rules:
            if rule.demand == demand:
                lines += ["", f'<a id="{rule.id.lower()}"></a>', "", page(rule, heading="###")]
    return "\n".join(lines) + "\n"


def page(rule: Rule, heading: str = "#") -> str:
    """The page of one rule in Markdown."""
    said = " Or: ".join(_prose(_message(part.message)) for part in rule.parts)
    lines = [f"{heading} {rule.id} {rule.name}", "", f"*{rule.severity.label}*: {said}", ""]
    lines += [f"**Why.** {_prose(rule.why)}", "", f"**Fix.** {_prose(rule.fix)}"]
    values = parameters(rule)
    if values:
        lines += ["", f"**Parameters.** {_prose(_about(rule))}".rstrip(), "", "| parameter | value |", "|---|---|"]
        lines += [f"| `{name}` | {_cell(word(value))} |" for name, value in values]
    for example in rule.examples:
        lines += ["", f"**{example.title}**" if example.title else "**Example**"]
        lines += [line for name, files in _sides(example) for line in _files(name, files)]
    return "\n".join(lines)


def _about(rule: Rule) -> str:
    return " ".join(word for part in rule.parts for word in (inspect.getdoc(type(part.check)) or "").split())


def _message(text: str) -> str:
    """A rule's message with its `{names}`, without the units in which they are shown."""
    return re.sub(r"\{([a-z_]+):[a-z]+\}", r"{\1}", text)


def _prose(text: str) -> str:
    """Text of a policy in Markdown: one line, `{names}` in code as they stand, no markup but its own backticks."""
    return visible(" ".join(text.split())).replace("<", "&lt;").replace("*", "\\*")


def _cell(text: str) -> str:
    return visible(text).replace("|", "\\|").replace("<", "&lt;")


def _sides(example: Example) -> Iterator[tuple[str, Mapping[str, str]]]:
    if example.bad:
        yield "Rejected", example.bad
    if example.good:
        yield "Passes", example.good


def _files(side: str, files: Mapping[str, str]) -> Iterator[str]:
    for path, text in files.items():
        fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
        suffix = path.rpartition(".")[2]
        yield from ("", f"{side}: `{visible(path)}`", "")
        yield f"{fence}{suffix if suffix in ('toml', 'yaml', 'json', 'py') else 'text'}"
        yield from (visible(line) for line in text.strip("\n").split("\n"))
        yield fence


def print_rules(rules: Iterable[Rule], console: Console) -> None:
    """The rules as a table: id, severity, name."""
    from vramguard.report.page import Page

    rules = list(rules)
    out = Page(console)
    for number, demand in enumerate(sorted({rule.demand for rule in rules})):
        if number:
            out.blank()
        out.write((_DEMANDS.get(demand, ("", "Other demands"))[1], "bold"))
        for rule in rules:
            if rule.demand == demand:
                severity = (f"{rule.severity.label:<7}", out.style(rule.severity))
                out.write((rule.id, "bold"), "  ", severity, "  ", rule.name, indent=2, hang=18)
    out.blank()
    out.write("`vramguard rules ID` shows a rule's page.")


def print_rule(rule: Rule, console: Console) -> None:
    """The page of one rule."""
    from vramguard.report.page import Page

    out = Page(console)
    out.write((f"{rule.id} {rule.name}", "bold"), "  ", (rule.severity.label, out.style(rule.severity)))
    for part in rule.parts:
        out.write(_message(part.message), indent=2)
    for name, text in (("Why", rule.why), ("Fix", rule.fix)):
        out.blank()
        out.write((name, "bold"))
        out.write(_line(text), indent=2)
    if parameters(rule):
        out.blank()
        out.write(("Parameters", "bold"))
        out.write((_line(_about(rule)), "dim"), indent=2)
        for key, value in parameters(rule):
            out.write((key, "cyan"), f" = {word(value)}", indent=2, hang=6)
    for example in rule.examples:
        _print_example(out, example)


def _print_example(out: Page, example: Example) -> None:
    out.blank()
    out.write((example.title or "Example", "bold"))
    for side, files in _sides(example):
        for path, text in files.items():
            out.line((side, "red" if side == "Rejected" else "green"), f"  {path}", indent=2)
            for line in text.strip("\n").split("\n"):
                out.line(("| ", "dim"), line, indent=4)


def _line(text: str) -> str:
    return " ".join(text.split())
