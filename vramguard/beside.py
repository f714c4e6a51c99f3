"""Work in processes beside this one: parts of one work spread over several, or another work at the same time."""

from __future__ import annotations

import gc
import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from multiprocessing.connection import Connection

P = TypeVar("P")
T = TypeVar("T")
_AHEAD = 3  # parts that wait for each other process, so that none is idle while this one works
_MOST_JOBS = 8  # of those that nobody asked for: joining what more of them read takes longer than reading it


def processes(jobs: int) -> int:
    """How many processes are asked for; 0: one for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return jobs or min(cores, _MOST_JOBS)


def may_fork() -> bool:
    """Whether a fork is safe: it starts at once, but would copy the threads of a progress display as they stand."""
    return sys.platform == "linux" and threading.active_count() == 1


def spread(work: Callable[[P], T], parts: Sequence[P], jobs: int) -> list[T]:
    """The work on each part, in their order, by as many processes. Work, parts and answers have to be picklable."""
    from concurrent.futures import BrokenExecutor

    try:
        return _spread(work, parts, jobs)
    except BrokenExecutor:  # a process was killed, for want of memory say: one alone may have enough
        return [work(part) for part in parts]


def _spread(work: Callable[[P], T], parts: Sequence[P], jobs: int) -> list[T]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    found: dict[int, T] = {}
    first, last = 0, len(parts)
    with ProcessPoolExecutor(jobs - 1, get_context("fork" if may_fork() else "spawn"), gc.disable) as pool:
        asked: dict[int, Future[T]] = {}
        while first < last:  # this process works too, from the end: its own answers need not come from another
            waiting = sum(not future.done() for future in asked.values())
            for number in range(first, min(last, first + _AHEAD * (jobs - 1) - waiting)):
                asked[number] = pool.submit(work, parts[number])
                first = number + 1
            if first < last:
                last -= 1
                found[last] = work(parts[last])
        found |= {number: future.result() for number, future in asked.items()}
    return [found[number] for number in range(len(parts))]


@contextmanager
def beside(work: Callable[[], T], *, worth: bool) -> Iterator[Callable[[], T]]:
    """Do work elsewhere meanwhile, if it is `worth` a process; what is given waits for the answer.

    Where there is no other process, or it fails, the work is done here when the answer is asked for: so an error of it
    is raised here.
    """
    if not worth or not may_fork():
        yield work
        return
    from multiprocessing import get_context

    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(work, sender), daemon=True)
    process.start()
    sender.close()
    try:
        yield lambda: _received(receiver, work)
    finally:
        process.kill()  # it has answered, or nobody waits any more
        process.join()
        receiver.close()


def _send(work: Callable[[], Any], sender: Connection) -> None:
    with suppress(BaseException):  # an interrupt is for the process that asked, an error comes up there again
        sender.send(work())


def _received(receiver: Connection, work: Callable[[], T]) -> T:
    try:
        found: T = receiver.recv()
    except (EOFError, OSError):
        return work()
    return found
