"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No test asserts a time: on a busy machine, or while coverage is measured, an example may take as long as it takes.
settings.register_profile("adsn", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("adsn")
