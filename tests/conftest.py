"""Settings of all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Failed asserts in shared checks are explained as in test modules.
pytest.register_assert_rewrite("tests.support")

# Examples have no deadline, because no test asserts a time, and a busy machine or coverage may slow them down.
settings.register_profile("adsn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("adsn")
