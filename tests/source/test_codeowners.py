"""CODEOWNERS: patterns, owners, sections; hostile text."""

from __future__ import annotations

from vramguard.extract import extract
from vramguard.facts import CodeOwners
from vramguard.source import Document, read

TEXT = """\
# weights
*.dvc @ml-team  # all of them
/src/ @a b@example.com

[Data] @data-team
/data/
/models/ @ml-team
my\\ file @c
"""


def test_lines() -> None:
    document = read(".github/CODEOWNERS", TEXT.encode())
    assert isinstance(document, Document)
    (owners,) = extract(document)
    assert isinstance(owners, CodeOwners)
    assert [(rule.at.line, rule.pattern, rule.owners) for rule in owners.rules] == [
        (2, "*.dvc", ("@ml-team",)),
        (3, "/src/", ("@a", "b@example.com")),
        (6, "/data/", ("@data-team",)),
        (7, "/models/", ("@ml-team",)),
        (8, "my file", ("@c",)),
    ]


def test_hostile_text_is_read_at_once() -> None:
    for text in ("[" * 300_000, "\\" * 300_000, "a " * 300_000, "\n" * 300_000, "^[a]" * 50_000):
        assert isinstance(read("CODEOWNERS", text.encode()), Document)
