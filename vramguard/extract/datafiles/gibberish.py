"""Whether a text is words of any language that Latin letters write.

The measure is pairs of letters. Of the 676 there are, 171 stand in none of 31 European and other languages written so
more often than once in two thousand; together they are half a per cent of the pairs of the one that has most of them.
Letters drawn at random have a quarter of theirs among them, and a hand that strikes keys has many. Hashes, ids and
Base64 are no prose by our definition (few words), nor is code (marks), nor other scripts.
"""

from __future__ import annotations

import re

_LOOKED_AT = 600  # characters of a text
_FEWEST_WORDS = 3
_FEWEST_LETTERS = 20
_LATIN = 0.75  # of the characters that are no blank are Latin letters without marks
_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())
_MARK = re.compile("[/@#_]")  # of addresses, names of users, tags
_WORDS = re.compile(r"[^\W\d_]{4,}")  # shorter ones are abbreviations as often as not
_FEWEST = 3  # pairs that are told of, of a text
_NOISE = 0.08  # of the pairs
_ONE_LETTER = re.compile(r"(.)\1{3,}")
# langdetect 1.0.9, langdetect/profiles: made by scripts/record_letter_pairs.py.
_NEVER = re.compile(
    r"(?="
    r"b[cfghkmpqvxz]|c[bdfgmpqvx]|d[cpqx]|f[bcdghkmpqvxz]|g[cfqvxz]|h[bcfghxz]|j[bcfghjlpqrwxyz]|k[fgpqxz]"
    r"|l[qrxz]|m[cqvx]|n[pqx]|o[x]|p[bcdkmnqvz]|q[bcfghjklmnpqrstvwxz]|r[x]|s[dqx]|t[cdfgpqx]"
    r"|v[bcdfghkmpqtvwx]|w[bfgjkpqtvwxz]|x[bcfgjklmnpqrsvwxyz]|y[qxz]|z[fjqx]"
    r")"
)


def is_prose(text: str) -> bool:
    """Whether a value is a text of several words in Latin letters, not all of them capitals."""
    if len(text) < _FEWEST_LETTERS or text.count(" ") + 1 < _FEWEST_WORDS:
        return False
    start = text[:_LOOKED_AT]
    letters = len(start.encode("ascii", "ignore").translate(None, _NO_LETTERS))
    solid = len(start) - start.count(" ")
    return letters >= max(_FEWEST_LETTERS, _LATIN * solid) and not start.isupper()


def is_gibberish(text: str) -> bool:
    """Whether a prose text (`is_prose`) is in no language."""
    start = text[:_LOOKED_AT]
    if _MARK.search(start):
        start = " ".join(word for word in start.split() if not _MARK.search(word))
    words = [word.lower() for word in _WORDS.findall(start) if not word.isupper()]  # no acronyms
    if len(words) < _FEWEST_WORDS:
        return False
    pairs = sum(map(len, words)) - len(words)
    if len(_NEVER.findall(" ".join(words))) >= max(_FEWEST, _NOISE * pairs):
        return True
    return 2 * sum(_ONE_LETTER.fullmatch(word) is not None for word in words) > len(words)
