"""Sessions end, failures are counted, and the memory for both is bounded."""

from __future__ import annotations

from service.store.base import SessionRecord, session_digest
from service.store.sessions import LoginFailures, Sessions

RECORD = SessionRecord("0123456789ab", "0" * 64)


def test_a_session_is_found_until_it_ends() -> None:
    sessions = Sessions(100)
    sessions.begin("digest", RECORD, 0)
    assert sessions.find("digest", 99.9) == RECORD
    assert sessions.find("digest", 100) is None
    assert sessions.find("diges", 1) is None
    assert sessions.find("", 1) is None


def test_logging_out_ends_it() -> None:
    sessions = Sessions(100)
    sessions.begin("one", RECORD, 0)
    sessions.begin("other", RECORD, 0)
    sessions.end("one")
    sessions.end("unknown")
    assert sessions.find("one", 1) is None
    assert sessions.find("other", 1) == RECORD


def test_the_oldest_session_makes_room() -> None:
    sessions = Sessions(100, limit=3)
    for number in range(5):
        sessions.begin(str(number), RECORD, 0)
    assert [sessions.find(str(number), 1) is not None for number in range(5)] == [False, False, True, True, True]


def test_a_token_cannot_be_read_from_its_digest() -> None:
    assert session_digest("token") != session_digest("token ")
    assert "token" not in session_digest("token")
    # Arbitrary bytes that a browser may send.
    assert session_digest("\udcff")


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


def test_an_address_that_waits_is_not_counted_further() -> None:
    failures = LoginFailures(2, 60)
    assert [failures.count("192.0.2.1", second) for second in range(4)] == [0, 0, 58, 57]
    assert failures.wait_s("192.0.2.1", 59) == 1
    assert failures.count("192.0.2.1", 60) == 0


def test_an_address_that_failed_elsewhere_waits_here() -> None:
    failures = LoginFailures(3, 60, addresses=2)
    failures.hold("192.0.2.1", 20, 100)
    assert failures.wait_s("192.0.2.1", 101) == 19
    assert failures.count("192.0.2.1", 119) == 1
    assert failures.wait_s("192.0.2.1", 120) == 0
    failures.hold("192.0.2.1", 1e9, 100)
    assert failures.wait_s("192.0.2.1", 100) == 60
    for number in range(5):
        failures.hold(f"192.0.2.{number}", 20, 100)
    assert sum(failures.wait_s(f"192.0.2.{number}", 101) > 0 for number in range(5)) == 2


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
