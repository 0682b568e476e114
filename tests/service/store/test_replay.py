"""Nonces and kept answers in memory."""

from __future__ import annotations

from service.store.replay import IdempotencyStore, NonceStore


def test_a_nonce_is_forgotten_when_its_time_is_over() -> None:
    nonces = NonceStore(10, 2)
    assert nonces.use("a", "n", 0) == "new"
    assert nonces.use("a", "n", 9.9) == "used"
    assert nonces.use("b", "n", 9.9) == "new"
    assert nonces.use("a", "n", 10) == "new"


def test_a_full_memory_of_nonces_says_when_there_is_room() -> None:
    nonces = NonceStore(10, 2)
    nonces.use("a", "1", 0)
    nonces.use("a", "2", 4)
    assert nonces.use("a", "3", 5) == 5
    assert nonces.use("a", "3", 10) == "new"
    nonces.release("a", "3")
    assert nonces.use("a", "3", 10) == "new"


def test_nonces_of_many_callers_are_bounded() -> None:
    nonces = NonceStore(10, 2, callers=3)
    for caller in "abc":
        assert nonces.use(caller, "n", 0) == "new"
    assert nonces.use("d", "n", 5) == 10
    assert nonces.use("d", "n", 11) == "new"


def test_answers_are_kept_for_their_request_and_time() -> None:
    answers = IdempotencyStore(10, 2)
    answers.put(("a", "k"), b"1", b"one", 0)
    assert answers.get(("a", "k"), b"1", 9) == b"one"
    assert answers.get(("a", "k"), b"2", 9) == "conflict"
    assert answers.get(("b", "k"), b"1", 9) is None
    assert answers.get(("a", "k"), b"1", 10) is None
    for name in ("x", "y"):
        answers.put(("a", name), b"1", b"", 10)
    assert answers.get(("a", "k"), b"1", 9) is None


def test_kept_answers_hold_bounded_memory() -> None:
    answers = IdempotencyStore(10, 100, size=1000)
    for number in range(20):
        answers.put(("a", str(number % 10)), b"1", bytes(300), 0)
    assert [n for n in range(10) if answers.get(("a", str(n)), b"1", 0) is not None] == [7, 8, 9]
