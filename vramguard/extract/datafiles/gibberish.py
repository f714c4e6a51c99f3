"""Whether a text is words that anybody could say.

The measure is of letters only, and needs no language: words in Latin letters are syllables, and a syllable has a
vowel. Letters drawn at random have one vowel in four (6 of 26, `y` among them), and runs of consonants that no mouth
makes; so has a hand that strikes keys. In the European languages tried (tests) vowels are a third of the letters and
more. Hashes, ids and Base64 are no prose by our definition (few words), nor is code (marks), nor other scripts.
"""

from __future__ import annotations

import re

_LOOKED_AT = 600  # characters of a text
_WORDS = re.compile(r"[^\W\d_]{4,}")  # shorter ones need no syllable
_FEWEST_WORDS = 3
_FEWEST_LETTERS = 20
_LATIN = 0.75  # of the characters that are no blank are Latin letters without marks
_VOWELS = 0.22  # of the letters: in fewer there are no syllables
_ENOUGH = 0.3  # of the letters: with more, and without a run, nobody asks word by word
_UNSAYABLE = 0.4  # of the words, at most
_RUN = re.compile(r"[bcdfghjklmnpqrstvwxz]{6}|([a-z])\1{3}")
_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())


def is_prose(text: str) -> bool:
    """Whether a value is a text of several words in Latin letters, not all of them capitals."""
    if len(text) < _FEWEST_LETTERS or text.count(" ") + 1 < _FEWEST_WORDS:
        return False
    start = text[:_LOOKED_AT]
    letters = len(start.encode("ascii", "ignore").translate(None, _NO_LETTERS))
    solid = len(start) - start.count(" ")
    return letters >= max(_FEWEST_LETTERS, _LATIN * solid) and not start.isupper()


def is_gibberish(text: str) -> bool:
    """Whether a prose text (`is_prose`) cannot be pronounced."""
    words = _WORDS.findall(text[:_LOOKED_AT].lower())
    if len(words) < _FEWEST_WORDS:
        return False
    together = " ".join(words)
    letters = len(together) - len(words) + 1
    vowels = _vowels(together)
    if vowels < _VOWELS * letters:
        return True
    if vowels >= _ENOUGH * letters and not _RUN.search(together):
        return False
    return sum(map(_is_unsayable, words)) > _UNSAYABLE * len(words)


def _vowels(text: str) -> int:
    """Vowels in lower case; a letter with a mark counts as one, as nearly all are."""
    marked = 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))
    return marked + sum(map(text.count, "aeiouy"))


def _is_unsayable(word: str) -> bool:
    return _vowels(word) == 0 or _RUN.search(word) is not None
