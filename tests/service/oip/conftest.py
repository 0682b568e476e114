"""Fixtures: remote engines of a test are closed after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.service.remote_servers import OPENED


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close all remote engines after the test that opened them."""
    yield
    while OPENED:
        OPENED.pop().close()
