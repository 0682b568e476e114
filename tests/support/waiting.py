"""Wait for the effect of another thread."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], what: str = "") -> None:
    """Wait until ``condition`` is true. Fail with the message ``what`` after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)
