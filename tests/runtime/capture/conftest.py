"""Fixtures of the cameras' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.capture.supervisor import CameraSupervisor


@pytest.fixture
def made() -> Iterator[list[CameraSupervisor]]:
    supervisors: list[CameraSupervisor] = []
    yield supervisors
    for one in supervisors:
        one.close()
