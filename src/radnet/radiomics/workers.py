"""Processes that share out work; one that hangs, crashes or runs out of memory costs only the item it was at."""

import ctypes
import math
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_SPAWN = multiprocessing.get_context("spawn")  # a fork would copy the locks of running threads (ITK, BLAS)
_STARTS = 3  # processes that may die one after the other before they began, until it is no accident
_DYING_S = 5.0  # a dying process closes its pipe a little before its exit code is known
_LEAST_GIB = 4.0
_GIB = 2**30


def check_workers(workers: int, limit_s: float | None) -> None:
    """Raise a ValueError unless so many processes can measure lesions within a time limit each; None is no limit."""
    if workers < 1:
        raise ValueError(f"at least 1 worker is needed, got {workers}")
    if limit_s is None and workers > 1:
        raise ValueError(f"without a time limit there is one process, this one, and not {workers} workers")
    if limit_s is not None and limit_s <= 0:
        raise ValueError(f"the time limit of a lesion must be more than 0 s, got {limit_s:g}")


def work_through(
    batches: Sequence[Sequence[Item]],
    work: Callable[[list[Item]], Iterable[Result]],
    failed: Callable[[Item, str], Result],
    *,
    workers: int,
    limit_s: float,
    memory_gib: float,
) -> Iterator[Result]:
    """Yield one result per item, in the order in which they are done.

    An item whose process takes too long, dies or raises becomes ``failed(item, reason)``; a new process goes on with
    the rest of its batch. The processes end when the caller does, even if he is killed.

    Args:
        batches: Items that share something costly, such as an image; one process works through a batch.
        work: Yields one result per item, in order. It is sent to other processes: a function of a module.
        failed: Makes the result of an item that has none, from the reason.
        workers: How many processes.
        limit_s: Longest time for one item; what a batch shares is counted with its first item.
        memory_gib: Most memory of one process; held to on Linux alone.

    Raises:
        ChildProcessError: If processes die before they began to work.
    """
    waiting = deque(deque(batch) for batch in batches)
    pool: list[_Worker[Item]] = []
    died_early = 0
    try:
        while waiting or any(one.items for one in pool):
            while len(pool) < min(workers, len(waiting) + sum(bool(one.items) for one in pool)):
                pool.append(_Worker(work, memory_gib))
            for one in pool:
                if one.started and not one.items and waiting:
                    one.give(waiting.popleft(), limit_s)
            answering = wait([one.pipe for one in pool], _seconds_left(pool))
            for one in [one for one in pool if one.pipe in answering or one.overdue()]:
                answer = one.answer(limit_s)
                if isinstance(answer, _Started):
                    died_early = 0
                    continue
                if one.ended:
                    pool.remove(one)
                    died_early += not one.started
                    if died_early == _STARTS:
                        raise ChildProcessError(_cannot_start(answer.reason))
                if one.items:
                    item = one.items.popleft()
                    yield failed(item, answer.reason) if isinstance(answer, _Failure) else answer
                if one.items and isinstance(answer, _Failure):
                    waiting.appendleft(one.items)
                    one.items = deque()
    finally:
        for one in pool:
            one.end()


def reason(error: Exception) -> str:
    """Tell an error in one line; where memory ran out, with how much there was."""
    told = " ".join(str(error).split()) or "no reason given"
    if isinstance(error, MemoryError) or "Failed to allocate memory" in told or "bad_alloc" in told:  # ITK's words
        limit_gib = _memory_limit_gib()
        return "ran out of memory" + (f" (limit {limit_gib:.3g} GiB)" if math.isfinite(limit_gib) else "")
    return told if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {told}"


def memory_share_gib(workers: int) -> float:
    """Return a worker's share of the machine's memory, yet 4 GiB at least: few scans need them, and not at once."""
    if sys.platform != "linux":
        return math.inf
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    with suppress(OSError, ValueError):  # within a container there may be less; the file says "max" where there is not
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()) / _GIB)
    return max(total / workers, min(total, _LEAST_GIB))


@dataclass(frozen=True, slots=True)
class _Started:
    """A process is ready for its first batch."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """An item has no result, and the work on its batch stopped there."""

    reason: str


class _Worker(Generic[Item]):
    """A process, the pipe to it, and the items it has yet to answer for, the first of which it is at."""

    def __init__(self, work: Callable[[list[Item]], Iterable[Any]], memory_gib: float) -> None:
        self.pipe, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(theirs, work, memory_gib, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.started = self.ended = False
        self.items: deque[Item] = deque()
        self.deadline = math.inf

    def give(self, items: deque[Item], limit_s: float) -> None:
        self.items = items
        self.deadline = time.monotonic() + limit_s
        with suppress(OSError):  # it died while it waited, which its pipe will tell
            self.pipe.send(list(items))

    def overdue(self) -> bool:
        return bool(self.items) and time.monotonic() > self.deadline and not self.pipe.poll()

    def answer(self, limit_s: float) -> Any:
        """Return what it says: a result, ``_Started`` or a ``_Failure``."""
        if self.overdue():
            self.end()
            return _Failure(f"took longer than {limit_s:g} s")
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(_DYING_S)
            self.end()
            return _Failure(f"the process measuring it {_how_it_died(self.process.exitcode or 0)}")
        self.started = True
        self.deadline = time.monotonic() + limit_s
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        self.ended = True


def _how_it_died(exit_code: int) -> str:
    if exit_code == -signal.SIGKILL:
        return "was killed (out of memory?)"
    return f"died ({signal.Signals(-exit_code).name if exit_code < 0 else f'exit code {exit_code}'})"


def _seconds_left(pool: Sequence[_Worker[Any]]) -> float | None:
    first = min((one.deadline for one in pool if one.items), default=math.inf)
    return None if math.isinf(first) else max(0.0, first - time.monotonic())


def _cannot_start(how: str) -> str:
    return (
        f"the processes that measure lesions do not start: {how}; what was measured is cached. A script that measures "
        'must do so under `if __name__ == "__main__":`, or with limit_s=None and workers=1'
    )


def _serve(pipe: Connection, work: Callable[[list[Item]], Iterable[Result]], memory_gib: float, parent: int) -> None:
    """Work through what arrives until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if sys.platform == "linux":
        _end_with(parent)
        _limit_memory(memory_gib)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(_Started())
        while True:
            for answer in _answers(work, pipe.recv()):
                pipe.send(answer)


def _answers(work: Callable[[list[Item]], Iterable[Result]], items: list[Item]) -> Iterator[Result | _Failure]:
    try:
        yield from work(items)
    except Exception as error:
        yield _Failure(reason(error))


def _end_with(parent: int) -> None:
    """Have this process killed with its parent, even in the midst of a lesion that hangs."""
    pr_set_pdeathsig = 1  # sys/prctl.h
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before we asked
        os._exit(1)


def _limit_memory(memory_gib: float) -> None:
    """Let an allocation beyond the limit fail, and be the first to go where the machine's memory ends before it."""
    import resource  # not there on Windows

    if math.isfinite(memory_gib):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = int(memory_gib * _GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _memory_limit_gib() -> float:
    if sys.platform != "linux":
        return math.inf
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return math.inf if soft < 0 else soft / _GIB
