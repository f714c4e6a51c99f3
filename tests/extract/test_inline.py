"""Scripts that declare their own dependencies (PEP 723)."""

from __future__ import annotations

import pytest
from declared import UNKNOWN, Row, of, requirements, rows, written

from vramguard.facts import Requirement

COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"
SCRIPT = f"""\
#!/usr/bin/env python
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "vllm==0.10.2",
#   "torch>=2",
#   "own",
# ]
#
# [tool.uv]
# override-dependencies = ["numpy<2"]
# [tool.uv.sources]
# own = {{ git = "https://h/o/own", rev = "{COMMIT}" }}
# ///
import torch
"""


def test_a_block() -> None:
    assert rows("run.py", SCRIPT, "script") == [
        Row(5, "vllm", "==0.10.2", True, "dependencies"),
        Row(6, "torch", ">=2", False, "dependencies"),
        Row(7, "own", f"git+https://h/o/own@{COMMIT}", True, "dependencies"),
        Row(11, "numpy", "<2", False, "tool.uv.override-dependencies"),
    ]
    for found in requirements("run.py", SCRIPT, "script"):
        assert written(SCRIPT, found).startswith(found.name)


@pytest.mark.parametrize(
    "text",
    [
        "# /// script\n# dependencies = ['a']\n",  # not closed
        "# /// script\n# dependencies = ['a']\nx = 1\n# ///\n",
        "# /// script\n# dependencies = ['a']\n# ///\n\n# /// script\n# dependencies = ['b']\n# ///\n",  # refused: two
        "x = '''\n# /// script\n# dependencies = ['a']\n# ///\n'''\n",
        "# /// other\n# dependencies = ['a']\n# ///\n",
        "# /// script\n# ///\n",
    ],
)
def test_what_is_no_block(text: str) -> None:
    assert of("run.py", text, Requirement) == []


def test_a_block_that_is_no_toml() -> None:
    (found,) = requirements("run.py", "x = 1\n# /// script\n# dependencies = [\n# ///\n", "script")
    assert found.at.line in (3, 4)
    assert [row.pinned for row in rows("run.py", "# /// script\n# dependencies = 'a'\n# ///\n", "script")] == [UNKNOWN]
