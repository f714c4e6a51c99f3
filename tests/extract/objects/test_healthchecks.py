"""HEALTHCHECK of a Dockerfile: the last one counts."""

from __future__ import annotations

import pytest

from vramguard.extract.objects.healthchecks import extract
from vramguard.source import Document, read


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("HEALTHCHECK CMD curl -f http://x/health", ["curl -f http://x/health"]),
        ('HEALTHCHECK --interval=5s CMD ["curl", "-f", "http://x"]', ["curl -f http://x"]),
        ("HEALTHCHECK --interval=5s \\\n  CMD curl \\\n  http://x", ["curl    http://x"]),
        ("HEALTHCHECK CMD a\nHEALTHCHECK CMD b", ["b"]),
        ("HEALTHCHECK CMD a\nHEALTHCHECK NONE", []),
        ("HEALTHCHECK CMD " + "[" * 9000, ["[" * 9000]),
        ("CMD a", []),
    ],
)
def test_the_command(lines: str, said: list[str]) -> None:
    document = read("Dockerfile", f"FROM x\n{lines}\n".encode(), kind="dockerfile")
    assert isinstance(document, Document)
    assert [one.name for one in extract(document)] == said
