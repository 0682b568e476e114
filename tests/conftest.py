"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Shared checks explain a failed assert as test modules do.
pytest.register_assert_rewrite("tests.support")

# No test asserts a time: on a busy machine, or while coverage is measured, an example may take as long as it takes.
settings.register_profile("adsn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("adsn")
