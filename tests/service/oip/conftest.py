"""Links of a test are closed after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.service.remote_servers import OPENED


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close every link after its test."""
    yield
    while OPENED:
        OPENED.pop().close()
