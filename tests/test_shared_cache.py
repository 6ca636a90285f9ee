"""The cache that threads share: eviction, single flight, and no race between the two."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from digitcnn.shared_cache import Progress, SharedCache


def test_the_least_recently_used_value_is_evicted() -> None:
    cache: SharedCache[str, str] = SharedCache(2)
    computed: list[str] = []

    def get(key: str) -> str:
        return cache.get(key, lambda _: computed.append(key) or key.upper())

    assert [get(key) for key in "abacab"] == ["A", "B", "A", "C", "A", "B"]
    assert computed == ["a", "b", "c", "b"]


def test_a_value_larger_than_the_cache_is_returned_and_not_stored() -> None:
    cache: SharedCache[str, str] = SharedCache(3, len)
    computed: list[str] = []
    for _ in range(2):
        assert cache.get("a", lambda _: computed.append("a") or "long value") == "long value"
    assert computed == ["a", "a"]


def test_a_value_that_is_not_accepted_is_replaced() -> None:
    cache: SharedCache[str, int] = SharedCache(2)
    assert cache.get("a", lambda _: 1) == 1
    assert cache.get("a", lambda _: 2, accept=lambda value: value > 1) == 2
    assert cache.get("a", lambda _: 3) == 2


def test_a_failed_computation_is_not_stored() -> None:
    cache: SharedCache[str, int] = SharedCache(2)

    def fail(_: Progress) -> int:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        cache.get("a", fail)
    assert cache.get("a", lambda _: 1) == 1


def test_a_waiting_thread_gets_a_value_that_is_too_large_to_store() -> None:
    cache: SharedCache[str, str] = SharedCache(1, len)
    started, waiting = threading.Event(), threading.Event()

    def slow(report: Progress) -> str:
        started.set()
        report(1, 2)
        assert waiting.wait(20)
        return "long value"

    def second() -> str:
        assert started.wait(20)
        return cache.get("a", lambda _: "again", progress=lambda *_: waiting.set())

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(cache.get, "a", slow), pool.submit(second)
        assert (one.result(20), two.result(20)) == ("long value", "long value")


@dataclass(frozen=True)
class YieldingKey:
    """A key that lets other threads run whenever the cache looks it up, which shows races."""

    number: int

    def __hash__(self) -> int:
        time.sleep(0)
        return self.number


def test_many_threads_get_their_own_values_while_others_are_evicted() -> None:
    cache: SharedCache[YieldingKey, int] = SharedCache(3)
    together = threading.Barrier(8)

    def work(seed: int) -> None:
        draw = random.Random(seed)
        together.wait(20)
        for _ in range(300):
            number = draw.randint(1, 5)
            value = cache.get(YieldingKey(number), lambda _, number=number: -number)
            assert value == -number

    with ThreadPoolExecutor(8) as pool:
        for result in [pool.submit(work, seed) for seed in range(8)]:
            result.result(60)


def test_a_key_is_computed_once_for_concurrent_callers() -> None:
    cache: SharedCache[str, int] = SharedCache(3)
    computed: list[int] = []
    together = threading.Barrier(8)

    def compute(_: Progress) -> int:
        computed.append(1)
        time.sleep(0)
        return 1

    def ask() -> int:
        together.wait(20)
        return cache.get("a", compute)

    with ThreadPoolExecutor(8) as pool:
        assert [result.result(60) for result in [pool.submit(ask) for _ in range(8)]] == [1] * 8
    assert computed == [1]
