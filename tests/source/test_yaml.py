"""YAML: the 1.2 core schema, every leaf where it stands, and input that is aimed at libyaml's stack or our memory."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from timed import within

from vramguard.source import Document, Location, Ruler, Unreadable, read
from vramguard.source import yaml as yamls

if TYPE_CHECKING:
    from collections.abc import Iterator

# The dumper escapes what YAML cannot hold, and a break of YAML 1.1 that our lines do not know would be one of those.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:  # noqa: ANN401
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path, value


def cut(document: Document, at: Location) -> str:
    lines = document.lines[at.line - 1 : at.end_line]
    lines[-1] = lines[-1][: at.end_column - 1]
    lines[0] = lines[0][at.column - 1 :]
    return "\n".join(lines)


def parsed(text: str) -> Document:
    document = read("a.yaml", text.encode())
    assert isinstance(document, Document), document
    return document


def value_of(text: str) -> Any:  # noqa: ANN401
    (value,) = parsed(text).value
    return value


def again(text: str) -> Any:  # noqa: ANN401
    """What a piece of a file says by itself; the second and further lines keep their indentation."""
    return value_of("key:\n " + text + "\n")["key"]


def check_leaves(document: Document) -> None:
    for keys, value in leaves(document.value):
        piece = cut(document, document.at(*keys))
        assert repr(again(piece)) == repr(value), (keys, piece)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.sampled_from([True, False]), st.sampled_from([None, '"', "'"]), st.booleans())
def test_the_text_at_every_leaf_is_the_leaf(value: Any, flow: bool, style: str | None, unicode: bool) -> None:  # noqa: ANN401, FBT001
    text = yaml.safe_dump(
        {"root": value}, default_flow_style=flow, default_style=style, allow_unicode=unicode, sort_keys=False, width=40
    )
    check_leaves(parsed(f"# é𝒳\n---\n{text}\n--- # another\n{text}"))


@settings(max_examples=100, deadline=None)
@given(VALUES.filter(lambda value: "\\ud" not in json.dumps(value)))
def test_json_is_yaml_but_for_escaped_surrogate_pairs(value: Any) -> None:  # noqa: ANN401
    finite = json.loads(json.dumps(value), parse_constant=str)
    assert json.dumps(value_of(json.dumps(finite))) == json.dumps(finite)


def test_every_yaml_file_of_the_environment() -> None:
    files = [*Path(pytest.__file__).parents[1].rglob("*.yaml"), *Path(pytest.__file__).parents[1].rglob("*.yml")]
    assert files
    for path in files:
        document = read(path.name, path.read_bytes(), kind="yaml")
        if isinstance(document, Document):
            for keys, _ in leaves(document.value):
                assert keys in document.places


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("No", "No"), ("y", "y"), ("off", "off"),
        ("true", True), ("False", False), ("TRUE", True), ("tRue", "tRue"),
        ("~", None), ("", None), ("NULL", None), ("nUll", "nUll"),
        ("010", 10), ("0o10", 8), ("0x1F", 31), ("-0", 0), ("+12", 12), ("1_000", "1_000"), ("0b1", "0b1"),
        ("1:30", "1:30"),
        ("1e-05", 1e-05), ("1.", 1.0), (".5", 0.5), ("-.inf", -math.inf), (".inf", math.inf),
        ("1e400", math.inf), ("+1e3", 1000.0),
        ("2024-01-01", "2024-01-01"), ('"1"', "1"), ("'true'", "true"), ("!!str 1", "1"), ("!custom 1", "1"),
        ("9" * 3001, "9" * 3001), ("0x" + "f" * 3001, "0x" + "f" * 3001), ("=", "="),
        ("<<", "<<"), (".", "."), ("-", "-"),
    ],
)  # fmt: skip
def test_scalars_of_the_core_schema(text: str, value: object) -> None:
    found = again(text if text != "-" else '"-"')
    assert repr(found) == repr(value)


def test_not_a_number() -> None:
    assert math.isnan(again(".NaN"))


def test_the_longest_integer_can_be_printed() -> None:
    assert len(str(again("0x" + "f" * 2998))) == 3610


def test_anchors_and_merge_keys_know_both_places() -> None:
    document = parsed("base: &b {x: 1, y: 2}\nmore: &m {y: 8, z: 9}\nown:\n  <<: [*b, *m]\n  x: 3\nalso: *b\n")
    (value,) = document.value
    assert value["own"] == {"x": 3, "y": 2, "z": 9}
    assert value["also"] == {"x": 1, "y": 2}
    assert document.at(0, "own", "x")[1:3] == (5, 6)
    assert document.at(0, "own", "y")[1:3] == (1, 20)
    assert document.at(0, "own", "z")[1:3] == (2, 20)
    assert document.key_at(0, "own", "z")[1:3] == (2, 17)
    assert document.at(0, "also", "y")[1:3] == (1, 20)


def test_a_quoted_merge_key_is_a_key() -> None:
    assert value_of('a: &a {x: 1}\nb: {"<<": *a}\n')["b"] == {"<<": {"x": 1}}


def test_a_long_chain_of_merges_is_read_and_located() -> None:
    chain = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}}}\n" for i in range(1, 970))
    document = parsed(chain)
    assert document.value[0]["a969"] == {"x": 1}
    assert document.at(0, "a969", "x")[1:3] == (1, 13)


def test_keys_are_text_or_integers_and_stay_apart() -> None:
    document = parsed("? [a]\n: 1\n3: 2\ntrue: 3\n1: 4\n1.0: 5\n~: 6\n? {b: c}\n: 7\n")
    assert not document.parsed.flaws
    assert list(document.value[0].values()) == [1, 2, 3, 4, 5, 6, 7]
    assert all((0, key) in document.places for key in document.value[0])


def test_a_key_given_twice_is_a_flaw_and_its_last_value_counts() -> None:
    document = parsed("a: 1\nb: {c: 1, c: 2}\n'a': 3\n")
    assert document.value == [{"a": 3, "b": {"c": 2}}]
    assert [(flaw.span[:2], flaw.message) for flaw in document.parsed.flaws] == [
        ((2, 11), "key `c` again, first on line 2"),
        ((3, 1), "key `a` again, first on line 1"),
    ]
    assert document.at(0, "a")[1:3] == (3, 6)
    assert document.at(0, "b", "c")[1:3] == (2, 14)


def test_lines_are_those_of_every_other_tool() -> None:
    """Libyaml counts NEL, LS and PS as line breaks; editors, git and reports do not."""
    document = parsed('a: "x\x85y"\nb: "😀\u2028"\n')
    assert document.at(0, "b")[1:] == (2, 4, 2, 8)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_what_says_nothing_holds_no_document(text: str) -> None:
    assert parsed(text).value == []


def test_several_documents() -> None:
    document = parsed("a: 1\n---\n---\n- b\n...\n")
    assert document.value == [{"a": 1}, None, ["b"]]
    assert document.at(2, 0)[1:3] == (4, 3)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("a: b: c", (1, 5), "not valid YAML: mapping values are not allowed"),
        ("a: [1\nb: 2", (2, 2), "not valid YAML"),
        ("a: *x", (1, 4), "not valid YAML: found undefined alias"),
        ("é: 😀\nb: \x07", (2, 4), "not valid YAML: unacceptable character #x0007"),
        ('"\\ud800"', (1, 4), "not valid YAML"),
        ("&a [*a]", (1, 1), "refused: an alias inside the value that it names"),
        ("&a {<<: *a}", (1, 1), "refused: an alias inside the value that it names"),
    ],
)
def test_what_cannot_be_read_says_why_and_where(text: str, place: tuple[int, int], reason: str) -> None:
    found = read("a.yaml", text.encode())
    assert isinstance(found, Unreadable)
    assert reason in found.reason
    assert found.at[1:3] == place
    assert "\n" not in found.reason


HOSTILE = {
    "sequences in one line": "'- ' * 100_000 + 'x'",
    "keys in one line": "'? ' * 100_000 + 'x'",
    "keys and sequences": "'? - ' * 50_000 + 'x'",
    "flow sequences": "'[' * 200_000",
    "flow mappings": "'{a: ' * 100_000",
    "flow pairs": "'[a: ' * 100_000",
    "closed by comments only": "'[ #]]]]\\n' * 100_000",
    "closed in texts only": "'[\"]]]]\", ' * 100_000",
    "block mappings": "''.join(' ' * i + 'a:\\n' for i in range(5000))",
    "block sequences": "''.join(' ' * i + '-\\n' for i in range(5000))",
    "values": "'[' + '1,' * 10_000_000 + ']'",
    "laughs": "'a0: &a0 [x,x,x,x,x,x,x,x,x]\\n' + "
    "''.join(f'a{i}: &a{i} [{\",\".join([f\"*a{i-1}\"] * 9)}]\\n' for i in range(1, 40))",
    "merged laughs": "'a: &a {' + ','.join(f'k{j}: 1' for j in range(1000)) + '}\\nb: {' + '<<: *a,' * 50_000 + '}'",
    "merged lists": "'a: &a {' + ','.join(f'k{j}: 1' for j in range(1000)) + '}\\nb: {<<: [' + '*a,' * 100_000 + ']}'",
    "a chain of aliases": "'- &a0 x\\n' + ''.join(f'- &a{i} [*a{i-1}]\\n' for i in range(1, 5000))",
}

ATTACK = """
import resource, sys
sys.path.append("tests")
from timed import within
from vramguard.source import read, Unreadable
data = ({text}).encode()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with within({seconds}):
    found = read("a.yaml", data)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert isinstance(found, Unreadable) and found.reason.startswith("refused: "), found
assert after - before < 300 << 10, after - before
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_soon_and_in_little_memory(name: str, project: Path) -> None:
    """In a process of its own: what goes wrong here is a segmentation fault."""
    attack = ATTACK.format(text=HOSTILE[name], seconds=16 if name == "values" else 4)  # a million are read first
    done = subprocess.run([sys.executable, "-c", attack], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_brackets_in_texts_do_not_count_as_depth() -> None:
    assert value_of('a: "' + "[" * 3000 + '"\n')["a"] == "[" * 3000


def test_the_deepest_that_is_read() -> None:
    assert isinstance(read("a.yaml", ("[" * 200 + "]" * 200).encode()), Document)
    assert isinstance(read("a.yaml", ("[" * 201 + "]" * 201).encode()), Unreadable)
    assert isinstance(read("a.yaml", ("[" * 600 + "]" * 600).encode()), Unreadable)


def test_one_line_of_twenty_megabytes() -> None:
    with within(4):
        assert len(parsed("a: " + "x" * 20_000_000).value[0]["a"]) == 20_000_000


def test_block_scalars_span_their_lines() -> None:
    document = parsed(
        textwrap.dedent("""\
        a: |
          one # no comment
          two

        # a comment
        b: >-
          three
        """)
    )
    assert document.value == [{"a": "one # no comment\ntwo\n", "b": "three"}]
    assert document.at(0, "a")[1:] == (1, 4, 5, 1)
    assert document.at(0, "b")[1:3] == (6, 4)


DEFINITION = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec:\n  a: [b]\n"


def test_a_definition_of_a_custom_resource_is_blank_and_moves_no_line() -> None:
    document = read("a.yaml", f"# c\n---\n{DEFINITION}---\nkind: Pod\n".encode())
    assert isinstance(document, Document)
    assert document.value[-1] == {"kind": "Pod"}
    assert "CustomResourceDefinition" not in str(document.value)
    assert document.at(len(document.value) - 1, "kind").line == 8


def test_a_definition_in_a_script_is_blank_too() -> None:
    document = read("a.sh", f"kubectl apply -f - <<E\n---\n{DEFINITION}---\nE\necho done\n".encode())
    assert isinstance(document, Document)
    assert "CustomResourceDefinition" not in document.text
    assert document.lines[-2] == "echo done"
    assert len(document.lines) == 10


def test_a_definition_in_a_file_that_begins_with_a_mark_is_blank() -> None:
    document = read("a.yaml", f"---\n{DEFINITION}".replace("\n", "\r\n").encode())
    assert isinstance(document, Document)
    assert not any(document.value)


@pytest.mark.parametrize("extra", ["other: 1\n", "kind: Deployment\n", '"kind": Deployment\n', "...\n---\nkind: Pod\n"])
def test_what_only_looks_like_a_definition_is_read(extra: str) -> None:
    document = read("a.yaml", f"{DEFINITION}{extra}".encode())
    assert isinstance(document, Document)
    assert document.value
    assert all(document.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a: 1\nb: [x, {c: é, d: [1, 2]}]\n---\n- 1\n- e: f\n",
        "a: &x {b: 1}\nc: *x\n1: q\n? [k]\n: v\n",
        "a: &x {b: 1}\nc: {<<: *x, d: 2}\n",
        "a: {x: 1}\na: {y: 2}\n",
    ],
)
def test_a_place_is_found_as_in_the_index_of_all(text: str) -> None:
    roots = list(yaml.compose_all(text, yamls._Loader))
    document = yamls.parse(text)
    places = document.locate()
    assert dict(places) == yamls._index(roots, Ruler(text))
    assert len(places) == len(dict(places))
    assert places.get(()) is None
    assert places.get((7,)) is None
    assert places.get((0, "absent", "deeper")) is None
