"""Work in several processes: its answers are those of one, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from vramguard.beside import beside, may_fork, processes, spread

if TYPE_CHECKING:
    from pathlib import Path

forks = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")
PATIENCE = 30.0  # seconds after which what should be done is not


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's thread that another test leaves behind is none that a fork would hurt here."""
    monkeypatch.setattr("vramguard.beside.may_fork", lambda: True)


def squared(number: int) -> tuple[int, int]:
    time.sleep(0.002)
    return number * number, os.getpid()


@pytest.mark.usefixtures("forking")
def test_parts_come_back_in_their_order_from_this_process_and_another() -> None:
    found = spread(squared, range(200), 2)
    assert [number for number, _ in found] == [number * number for number in range(200)]
    workers = {process for _, process in found}
    assert len(workers) == 2
    assert os.getpid() in workers


def test_a_process_that_cannot_be_forked_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vramguard.beside.may_fork", lambda: False)
    assert spread(abs, [-1, 2, -3], 2) == [1, 2, 3]


def fails_elsewhere(number: int, here: int) -> int:
    if os.getpid() != here:
        os._exit(9)
    return number


def test_a_process_that_is_killed_leaves_its_work_to_this_one() -> None:
    assert spread(partial(fails_elsewhere, here=os.getpid()), range(50), 3) == list(range(50))


def test_an_error_of_the_work_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        spread(partial(divmod, 1), [0] * 40, 2)


@forks
@pytest.mark.usefixtures("forking")
def test_another_work_is_done_elsewhere_and_sees_what_stands_here() -> None:
    held = {"a": 1}
    with beside(lambda: (dict(held), os.getpid()), worth=True) as answer:
        held["a"] = 2  # the copy was taken before
        found, process = answer()
    assert found == {"a": 1}
    assert process != os.getpid()


def test_what_is_not_worth_a_process_is_done_here() -> None:
    with beside(os.getpid, worth=False) as answer:
        assert answer() == os.getpid()


def test_nothing_is_forked_beside_a_thread() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert not may_fork()
        with beside(os.getpid, worth=True) as answer:
            assert answer() == os.getpid()
    finally:
        done.set()
        thread.join()


@forks
@pytest.mark.usefixtures("forking")
def test_work_that_fails_or_dies_elsewhere_is_done_again_here() -> None:
    with beside(partial(fails_elsewhere, 7, os.getpid()), worth=True) as answer:
        assert answer() == 7
    with beside(partial(divmod, 1, 0), worth=True) as other, pytest.raises(ZeroDivisionError):
        other()


@forks
@pytest.mark.usefixtures("forking")
def test_who_stops_waiting_stops_the_other_too(tmp_path: Path) -> None:
    told = tmp_path / "process"

    def endless() -> None:
        told.write_text(str(os.getpid()))
        while True:
            signal.pause()

    def interrupted() -> None:
        with beside(endless, worth=True):
            start = time.monotonic()
            while not told.exists() or not told.read_text():
                assert time.monotonic() - start < PATIENCE
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


def test_as_many_processes_as_were_asked_for_or_as_there_are_cores() -> None:
    assert processes(3) == 3
    assert 1 <= processes(0) <= 8
