"""Token buckets."""

from __future__ import annotations

from service.store.rate_limit import RateLimiter


def test_a_bucket_fills_again() -> None:
    rate_limiter = RateLimiter(2, 3)
    assert [rate_limiter.acquire("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate_limiter.acquire("b", 0) == 0
    assert rate_limiter.acquire("a", 0.5) == 0
    assert rate_limiter.acquire("a", 0.5) > 0
    assert [rate_limiter.acquire("a", 1000) > 0 for _ in range(4)] == [False, False, False, True]


def test_no_rate_is_no_limit() -> None:
    rate_limiter = RateLimiter(0, 1)
    assert all(rate_limiter.acquire("a", 0) == 0 for _ in range(100))
