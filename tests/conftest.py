"""Settings of all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Shared checks explain failed asserts like test modules.
pytest.register_assert_rewrite("tests.support")

# No test asserts a time, so examples have no deadline: a busy machine or coverage may slow them down.
settings.register_profile("adsn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("adsn")
