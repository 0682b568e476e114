"""The relay on a fake GPIO chip is open only after a fresh ``live``, and never for longer than allowed."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core.errors import ConfigError
from runtime.core.units import SECOND
from service.monitoring.health import Health
from service.outputs.relay import GpiodLine, RelayChannel, RelayPulse
from tests.support.service.output_events import decision, other
from tests.support.waiting import until


class FakeLine:
    """A line that records its levels."""

    def __init__(self) -> None:
        self.levels = [False]
        self.closed = False
        self.error: OSError | None = None

    def drive(self, open_: bool) -> None:
        if self.error is not None:
            raise self.error
        self.levels.append(open_)

    def close(self) -> None:
        self.levels.append(False)
        self.closed = True


def test_a_pulse_opens_and_locks_again() -> None:
    line, health = FakeLine(), Health()
    relay = RelayChannel(lambda: line, health, pulse_s=0.05)
    for event in (decision(made="spoof"), decision(made="uncertain"), other(), decision(left_s=0)):
        relay.offer(event)
    relay.offer(decision())
    until(lambda: len(line.levels) == 3)
    assert line.levels == [False, True, False]
    relay.close(20)
    assert line.closed
    assert relay.counts() == {"sent": 1, "expired": 1}


def test_stopping_locks_at_once() -> None:
    line = FakeLine()
    relay = RelayChannel(lambda: line, Health(), pulse_s=1000, longest_s=1000)
    relay.offer(decision())
    until(lambda: line.levels[-1])
    relay.close(20)
    assert (line.levels[-1], line.closed) == (False, True)


def test_a_line_that_fails_is_released_and_asked_for_again() -> None:
    lines = [FakeLine(), FakeLine()]
    opened: list[FakeLine] = []

    def open_line() -> FakeLine:
        if len(opened) == 2:
            raise OSError(16, "Device or resource busy")
        opened.append(lines[len(opened)])
        return opened[-1]

    health = Health()
    lines[0].error = OSError(5, "Input/output error")
    relay = RelayChannel(open_line, health, pulse_s=1000, longest_s=1000, retry_s=0.01)
    relay.offer(decision())
    until(lambda: lines[0].closed)
    until(lambda: len(opened) == 2)
    until(lambda: health.conditions == ())
    # Decisions that arrived while there was no line do not open the door afterwards.
    assert lines[1].levels == [False]
    relay.offer(decision())
    until(lambda: lines[1].levels[-1])
    relay.close(20)
    assert relay.counts() == {"sent": 2, "failed": 1}


def test_a_missing_line_is_seen_and_stops_nothing() -> None:
    def missing() -> FakeLine:
        raise OSError(2, "No such file or directory")

    health = Health()
    relay = RelayChannel(missing, health, retry_s=0.01)
    assert "No such file" in health.conditions[0].detail
    relay.offer(decision())
    until(lambda: relay.counts().get("failed") == 1)
    relay.close(20)


asks = st.lists(st.tuples(st.integers(0, 3 * SECOND), st.booleans()), max_size=80)


@settings(max_examples=100, deadline=None)
@given(asks, st.integers(1, 5 * SECOND), st.integers(0, 5 * SECOND))
def test_no_sequence_holds_the_door_open(steps: list[tuple[int, bool]], length: int, more: int) -> None:
    longest = length + more
    pulse = RelayPulse(length, longest, SECOND)
    now, closed = 0, -10 * SECOND
    opened: int | None = None
    for dt, asked in steps:
        end = now + dt
        # Like the thread of the relay, wake up when the level is due to change and on every ``live``.
        while True:
            now = min(end, now + int(pulse.due_s(now, 3600) * 1e9) + 1)
            if now == end and asked and pulse.trigger(now) and opened is None:
                assert now - closed >= SECOND
                opened = now
            if pulse.level(now):
                assert opened is not None
                assert now - opened < longest
            elif opened is not None:
                opened, closed = None, now
            if now == end:
                break


def test_libgpiod_gets_a_line_that_starts_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Request:
        def set_value(self, line: Any, value: str) -> None:
            calls.append((line, value))

        def release(self) -> None:
            calls.append("release")

    def request_lines(chip: str, consumer: str, config: dict[Any, Any]) -> Request:
        calls.append((chip, consumer, config))
        return Request()

    fake = types.ModuleType("gpiod")
    fake.request_lines = request_lines  # type: ignore[attr-defined]
    fake.LineSettings = lambda **settings: settings  # type: ignore[attr-defined]
    line = types.SimpleNamespace(
        Value=types.SimpleNamespace(ACTIVE="active", INACTIVE="inactive"),
        Direction=types.SimpleNamespace(OUTPUT="output"),
    )
    fake.line = line  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gpiod", fake)
    door = GpiodLine("/dev/gpiochip0", 17, active_low=True)
    settings = {"direction": "output", "output_value": "inactive", "active_low": True}
    assert calls == [("/dev/gpiochip0", "adsn-kiosk", {17: settings})]
    door.drive(True)
    door.close()
    door.close()
    assert calls[1:] == [(17, "active"), (17, "inactive"), "release"]


def test_the_real_package_has_what_is_asked_of_it() -> None:
    gpiod = pytest.importorskip("gpiod")
    assert {"ACTIVE", "INACTIVE"} <= set(gpiod.line.Value.__members__)
    assert "OUTPUT" in gpiod.line.Direction.__members__
    settings = gpiod.LineSettings(
        direction=gpiod.line.Direction.OUTPUT, output_value=gpiod.line.Value.INACTIVE, active_low=True
    )
    assert settings.output_value == gpiod.line.Value.INACTIVE
    with pytest.raises(OSError, match="line 1 of /dev/nochip"):
        GpiodLine("/dev/nochip", 1)


def test_an_old_or_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiod", None)
    with pytest.raises(ConfigError, match=r"adsn\[kiosk\]"):
        GpiodLine("/dev/gpiochip0", 1)
    monkeypatch.setitem(sys.modules, "gpiod", types.ModuleType("gpiod"))
    with pytest.raises(ConfigError, match=r"gpiod 2.1 or later"):
        GpiodLine("/dev/gpiochip0", 1)


@pytest.mark.gpio
@pytest.mark.skipif(not os.environ.get("ADSN_TEST_GPIO_CHIP"), reason="set ADSN_TEST_GPIO_CHIP and ADSN_TEST_GPIO_LINE")
def test_a_kernel_line_follows() -> None:
    """A real line from gpio-sim. ADSN_TEST_GPIO_VALUE names the sysfs file with the line's level."""
    chip, line = os.environ["ADSN_TEST_GPIO_CHIP"], int(os.environ.get("ADSN_TEST_GPIO_LINE", "0"))
    shown = os.environ.get("ADSN_TEST_GPIO_VALUE")

    def level() -> str:
        return Path(shown).read_text().strip() if shown else ""

    relay = RelayChannel(lambda: GpiodLine(chip, line), Health(), pulse_s=0.2)
    if shown:
        assert level() == "0"
    relay.offer(decision())
    if shown:
        until(lambda: level() == "1")
        until(lambda: level() == "0")
    relay.close(20)
    assert relay.counts() == {"sent": 1}
