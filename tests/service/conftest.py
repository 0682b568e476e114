"""A real server on its own port, with a fake engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.config.settings import LimitSettings, Settings
from tests.support.service.running_service import RunningService, running


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    with running(Settings(limits=LimitSettings(body_bytes=2_000_000))) as found:
        yield found
