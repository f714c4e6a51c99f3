"""What every pack is made of: files with their text, sentences for a person, templates with their places filled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import tomli
import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACE: Final = re.compile(r"<<(\w+)>>")


@dataclass(frozen=True)
class File:
    """One file of a pack. `lines`: its text is lines that may be added to one that is there, and never replaces it."""

    path: str
    text: str
    lines: bool = False


@dataclass(frozen=True)
class Plan:
    """What a pack writes, and in `notes` what it cannot know or do, one sentence each."""

    files: tuple[File, ...]
    notes: tuple[str, ...] = ()


@cache
def template(name: str) -> str:
    """The text of a template, by its path within `templates`."""
    return files("vramguard.packs").joinpath("templates", *name.split("/")).read_text("utf-8")


@cache
def table(name: str) -> Mapping[str, Any]:
    """A table of this package, by its name without `.toml`."""
    return tomli.loads(files("vramguard.packs").joinpath(f"{name}.toml").read_text("utf-8"))


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with each `<<name>>` replaced. Raises KeyError for a name that has no value: a fault of ours."""
    return _PLACE.sub(lambda found: values[found[1]], text)


class _Dumper(yaml.SafeDumper):
    """YAML as a person writes it: texts of several lines as blocks, lists set in under their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def dumped(value: object, comment: str = "") -> str:
    """A value as a document of YAML, under comments."""
    said = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    return said + str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=116, allow_unicode=True))
