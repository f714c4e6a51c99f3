"""Print the pairs of letters that no European language writes, for `vramguard/extract/datafiles/gibberish.py`.

    scripts/record_letter_pairs.py FOLDER

FOLDER is `langdetect/profiles` of the source distribution of langdetect 1.0.9: how often each run of up to three
characters stands in the Wikipedia of a language.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from itertools import groupby, product
from pathlib import Path
from string import ascii_lowercase

LANGUAGES = (
    *("af", "ca", "cs", "cy", "da", "de", "en", "es", "et", "fi", "fr", "hr", "hu", "id", "it", "lt"),
    *("lv", "nl", "no", "pl", "pt", "ro", "sk", "sl", "so", "sq", "sv", "sw", "tl", "tr", "vi"),
)
RAREST = 5e-4  # of all pairs of letters of a language: what is rarer in each of them is called never


def shares(profile: Path) -> dict[str, float]:
    """How much of the pairs of a language each pair is."""
    found: Counter[str] = Counter()
    for run, count in json.loads(profile.read_text("utf-8"))["freq"].items():
        if len(run) == 2 and set(run.lower()) <= set(ascii_lowercase):  # noqa: PLR2004 - a pair
            found[run.lower()] += count
    return {pair: count / found.total() for pair, count in found.items()}


def main() -> None:
    known = [shares(Path(sys.argv[1], language)) for language in LANGUAGES]
    pairs = ("".join(pair) for pair in product(ascii_lowercase, repeat=2))
    never = [pair for pair in pairs if max(language.get(pair, 0) for language in known) < RAREST]
    for first, followers in groupby(never, key=lambda pair: pair[0]):
        print(f'    "{first}[{"".join(pair[1] for pair in followers)}]"')
    worst = max((sum(share.get(pair, 0) for pair in never), name) for share, name in zip(known, LANGUAGES, strict=True))
    print(f"{len(never)} pairs, most of them: {worst[0]:.2%} of {worst[1]}")


if __name__ == "__main__":
    main()
