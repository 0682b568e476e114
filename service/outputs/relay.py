"""Output to a door relay on a GPIO line. It is fail-secure and momentary: repeated decisions cannot hold the door open.

Wire the relay so that a released line means a locked door (normally open contact, fail-secure strike). Give the line a
pull resistor towards locked, so that the door stays locked while this process does not drive the line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.core.errors import ConfigError
from runtime.core.units import SECOND
from service.monitoring.health import Health
from service.outputs.base import Event, EventQueue, boottime_ns, error_text

CONSUMER = "adsn-kiosk"


class OutputLine(Protocol):
    """GPIO output line. It starts out locked: requesting the line also drives it to locked."""

    def drive(self, open_: bool) -> None:
        """Open or lock the door. Raises `OSError` on failure."""
        ...

    def close(self) -> None:
        """Lock the door and release the line."""
        ...


class GpiodLine:
    """`OutputLine` on a Linux GPIO chip, driven through libgpiod 2.

    ``chip``: device such as ``/dev/gpiochip0``. ``line``: offset or name. ``active_low``: whether a low level opens the
    door.

    Raises:
        ConfigError: the package gpiod is missing. OSError: there is no such chip or line, or another process uses it.
    """

    def __init__(self, chip: str, line: int | str, active_low: bool = False) -> None:
        gpiod = import_gpiod()
        self._value = gpiod.line.Value
        self._line = line
        settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.OUTPUT, output_value=self._value.INACTIVE, active_low=active_low
        )
        try:
            self._request: Any = gpiod.request_lines(chip, consumer=CONSUMER, config={line: settings})
        except OSError as error:
            # The error from libgpiod does not name the line.
            raise OSError(error.errno, f"{error.strerror} (line {line} of {chip})") from error

    def drive(self, open_: bool) -> None:
        self._request.set_value(self._line, self._value.ACTIVE if open_ else self._value.INACTIVE)

    def close(self) -> None:
        if self._request is not None:
            # A driver may keep a released line at its last level, so drive it to locked first.
            try:
                self.drive(False)
            finally:
                self._request.release()
                self._request = None


def import_gpiod() -> Any:
    """Return the gpiod module. Raises `ConfigError` if it is not installed or too old."""
    try:
        import gpiod
    except ModuleNotFoundError:
        raise ConfigError("a GPIO relay needs the package gpiod: pip install 'adsn[kiosk]'") from None
    if not hasattr(gpiod, "request_lines"):
        raise ConfigError("a GPIO relay needs gpiod 2.1 or later. Upgrade the installed one: pip install -U gpiod")
    return gpiod


@dataclass(slots=True)
class RelayPulse:
    """Timing of the relay pulse. It has no clock: all times are nanoseconds of the caller's clock.

    Each ``live`` opens the door for ``length_ns``. A further ``live`` while the door is open extends the pulse, but not
    beyond ``longest_ns`` after the door opened. After every pulse the line stays locked for ``rest_ns``.
    """

    length_ns: int
    longest_ns: int
    rest_ns: int
    _opened: int | None = None
    _until: int = 0
    _rest_until: int = 0

    def trigger(self, now_ns: int) -> bool:
        """Request a pulse. Return False if the line must rest first."""
        self.level(now_ns)
        if self._opened is None:
            if now_ns < self._rest_until:
                return False
            self._opened = now_ns
        self._until = min(now_ns + self.length_ns, self._opened + self.longest_ns)
        return True

    def level(self, now_ns: int) -> bool:
        """Return whether the line should be active now."""
        if self._opened is not None and now_ns >= self._until:
            # The rest starts now and not at the planned end of the pulse, because the thread may be late.
            self._opened, self._rest_until = None, now_ns + self.rest_ns
        return self._opened is not None

    def due_s(self, now_ns: int, otherwise: float) -> float:
        """Return the seconds until the pulse ends, or ``otherwise`` without a pulse."""
        return otherwise if self._opened is None else max(0.0, (self._until - now_ns) / 1e9)


class RelayChannel:
    """Channel that pulses the line for each ``live``. On any failure the line is released.

    ``open_line``: opens the line; called again every ``retry_s`` after a failure.
    """

    name = "gpio"

    def __init__(
        self, open_line: Callable[[], OutputLine], health: Health, *, pulse_s: float = 3.0, longest_s: float = 10.0,
        retry_s: float = 2.0,
    ) -> None:  # fmt: skip
        self._open_line, self._health, self._retry = open_line, health, retry_s
        self._pulse = RelayPulse(int(pulse_s * SECOND), int(longest_s * SECOND), SECOND)
        self._queue = EventQueue(4)
        self._line: OutputLine | None = None
        self._stop = threading.Event()
        self._connect()
        self._thread = threading.Thread(target=self._run, name="adsn-output-gpio", daemon=True)
        self._thread.start()

    def offer(self, event: Event) -> None:
        if event.permits:
            self._queue.put(event)

    def counts(self) -> Mapping[str, int]:
        return dict(self._queue.counts)

    def waiting(self) -> int:
        return self._queue.waiting

    def close(self, timeout_s: float) -> None:
        """Lock the door at once, even during a pulse."""
        self._stop.set()
        self._queue.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        active = False
        tried = time.monotonic()
        try:
            while not self._stop.is_set():
                event = self._queue.get(self._pulse.due_s(boottime_ns(), self._retry))
                if self._stop.is_set():
                    break
                if self._line is None:
                    if event is not None:
                        self._queue.count("failed")
                    if time.monotonic() - tried >= self._retry:
                        tried = time.monotonic()
                        self._connect()
                    continue
                now = boottime_ns()
                if event is not None and event.fresh(now):
                    self._queue.count("sent" if self._pulse.trigger(now) else "refused")
                wanted = self._pulse.level(now)
                if wanted != active:
                    try:
                        self._line.drive(wanted)
                        active = wanted
                    except Exception as error:
                        self._queue.count("failed")
                        self._fail(error)
                        active, self._pulse = False, self._fresh_pulse()
        finally:
            self._release()

    def _fresh_pulse(self) -> RelayPulse:
        return RelayPulse(self._pulse.length_ns, self._pulse.longest_ns, self._pulse.rest_ns)

    def _connect(self) -> None:
        try:
            self._line = self._open_line()
        except ConfigError:
            raise
        except Exception as error:
            self._fail(error)
        else:
            self._health.clear("output_failing", self.name)

    def _fail(self, error: Exception) -> None:
        self._health.raise_("output_failing", "warning", f"relay line failed: {error_text(error)}", self.name)
        self._release()

    def _release(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            try:
                line.close()
            except Exception as error:
                self._health.raise_("output_failing", "warning", f"relay line failed: {error_text(error)}", self.name)
