"""Delays between attempts."""

from __future__ import annotations

import random

from runtime.core.retry import FIRST_DELAY_S, LAST_DELAY_S, WARN_EVERY_S, Backoff, LogThrottle


def test_the_delays_are_those_asked_for() -> None:
    backoff = Backoff(first_s=0.1, last_s=0.5, spread=0)
    assert [backoff.next() for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    backoff.reset()
    assert backoff.next() == 0.1
    assert backoff.next(patient=True) == 0.5


def test_delays_are_spread_so_that_many_do_not_come_back_together() -> None:
    delays = [Backoff(first_s=1, last_s=1, spread=0.5).next() for _ in range(200)]
    assert 0.5 <= min(delays) < 0.6
    assert 0.9 < max(delays) <= 1


def test_back_off_doubles_to_its_limit_with_jitter() -> None:
    backoff = Backoff(random.Random(3))
    delays = [backoff.next() for _ in range(12)]
    for n, delay in enumerate(delays):
        longest = min(LAST_DELAY_S, FIRST_DELAY_S * 2**n)
        assert 0.75 * longest <= delay <= longest
    assert len(set(delays)) == 12
    backoff.reset()
    assert backoff.next() <= FIRST_DELAY_S
    assert backoff.next(patient=True) >= 0.75 * LAST_DELAY_S


def test_warnings_are_thinned() -> None:
    thinned = LogThrottle()
    due = [thinned.due("a", 0.0) for _ in range(45)]
    assert [n for n in due if n] == [1, 20, 40]
    assert thinned.due("b", 0.0) == 1
    assert thinned.due("a", WARN_EVERY_S + 1) == 46
    thinned.reset()
    assert thinned.due("a", 0.0) == 1
