"""Delays between attempts."""

from __future__ import annotations

from runtime.core.retry import Backoff


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
