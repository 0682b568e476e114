"""Fixtures for tests of the export."""

from tests.support.models.workshop import built, workshop

__all__ = ["built", "workshop"]
