"""Answers do not hang on the order of questions."""

from __future__ import annotations

from functools import partial
from itertools import permutations

from vramguard.link.code.memo import Memo

LINKS = {"a": ("b", "x"), "b": ("c",), "c": ("a", "y"), "x": (), "y": ("b",)}


def reached(memo: Memo, name: str) -> frozenset[str]:
    """A name and what it leads to."""

    def find() -> frozenset[str]:
        return frozenset({name}).union(*(reached(memo, other) for other in LINKS[name]))

    found: frozenset[str] = memo.ask(name, find, frozenset())
    return found


def test_a_circle_is_answered_whole_for_each_that_asks() -> None:
    for order in permutations(LINKS):
        memo = Memo(deepest=50, patience=1000)
        found = {name: reached(memo, name) for name in order}
        assert found["x"] == {"x"}
        assert {found[name] for name in "abcy"} == {frozenset("abcxy")}


def test_what_was_cut_off_is_not_kept_for_others() -> None:
    memo = Memo(deepest=10, patience=1000)

    def count(number: int) -> int:
        found: int = memo.ask(number, lambda: 0 if number == 0 else count(number - 1) + 1, -100)
        return found

    assert count(40) < 0
    assert count(9) == 9
    assert [count(number) for number in (18, 27, 35)] == [18, 27, 35]


def test_patience_ends() -> None:
    """Every name leads to every other: each is not gone through from each for ever."""
    asked = []
    memo = Memo(deepest=500, patience=300)
    names = range(60)

    def find(name: int) -> int:
        asked.append(name)
        found: int = sum(memo.ask(other, partial(find, other), 0) for other in names if other != name) + 1
        return found

    for name in names:
        memo.ask(name, partial(find, name), 0)
    assert len(asked) < 300 + 60 * 5


def test_an_error_leaves_no_question_open() -> None:
    memo = Memo(deepest=5, patience=5)

    def broken() -> int:
        raise RecursionError

    for _ in range(3):
        try:
            memo.ask("a", broken, 0)
        except RecursionError:
            continue
    assert memo.ask("a", lambda: 1, 0) == 1
