"""Sessions end, failures add up, and neither grows without bound."""

from __future__ import annotations

from service.auth.keys import Caller
from service.auth.sessions import LoginFailures, Sessions

CALLER = Caller("console", frozenset({"camera"}), "0123456789ab")


def test_a_session_is_found_until_it_ends() -> None:
    sessions = Sessions(100)
    token = sessions.begin(CALLER, 0)
    assert sessions.find(token, 99.9) == CALLER
    assert sessions.find(token, 100) is None
    assert sessions.find(token[:-1], 1) is None
    assert sessions.find("", 1) is None
    assert sessions.find("\udcff", 1) is None


def test_logging_out_ends_it() -> None:
    sessions = Sessions(100)
    token, other = sessions.begin(CALLER, 0), sessions.begin(CALLER, 0)
    sessions.end(token)
    sessions.end("unknown")
    assert sessions.find(token, 1) is None
    assert sessions.find(other, 1) == CALLER


def test_the_oldest_session_makes_room() -> None:
    sessions = Sessions(100, limit=3)
    tokens = [sessions.begin(CALLER, 0) for _ in range(5)]
    assert [sessions.find(token, 1) is not None for token in tokens] == [False, False, True, True, True]


def test_tokens_are_not_kept() -> None:
    sessions = Sessions(100)
    assert sessions.begin(CALLER, 0) not in repr(vars(sessions))


def test_an_address_waits_for_the_windows_end() -> None:
    failures = LoginFailures(3, 60)
    for second in range(3):
        assert failures.wait_s("192.0.2.1", second) == 0
        failures.count("192.0.2.1", second)
    assert failures.wait_s("192.0.2.1", 10) == 50
    assert failures.wait_s("192.0.2.2", 10) == 0
    assert failures.wait_s("192.0.2.1", 60) == 0
    failures.count("192.0.2.1", 61)
    assert failures.wait_s("192.0.2.1", 61) == 0


def test_one_customers_many_ipv6_addresses_are_one() -> None:
    failures = LoginFailures(2, 60)
    failures.count("2001:db8:0:1::1", 0)
    failures.count("2001:db8:0:1:ffff::2", 0)
    assert failures.wait_s("2001:db8:0:1::abcd", 1) > 0
    assert failures.wait_s("2001:db8:0:2::1", 1) == 0
    failures.count("::ffff:192.0.2.7", 0)
    failures.count("192.0.2.7", 0)
    assert failures.wait_s("::ffff:192.0.2.7", 1) > 0


def test_addresses_are_bounded() -> None:
    failures = LoginFailures(1, 60, addresses=10)
    for number in range(100):
        failures.count(f"192.0.2.{number}", 0)
    assert sum(failures.wait_s(f"192.0.2.{number}", 1) > 0 for number in range(100)) == 10
