"""Work that is done ahead of its use, in other threads: decoding and image processing leave Python's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(items: Iterator[Item], depth: int) -> Generator[Item]:
    """The same items; up to `depth` of them are made by another thread while the one before is in use. 0: no thread."""
    if depth < 1:
        yield from items
        return
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[list[Item]]] = deque(pool.submit(_next, items) for _ in range(depth))
        try:
            while got := waiting.popleft().result():
                waiting.append(pool.submit(_next, items))
                yield got[0]
        finally:
            pool.shutdown(cancel_futures=True)


def _next(items: Iterator[Item]) -> list[Item]:
    """The next item, or nothing."""
    for item in items:
        return [item]
    return []


def map_ahead(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """As map, in order; up to twice as many results as threads are waiting to be used."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
