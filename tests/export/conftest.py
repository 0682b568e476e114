"""Fixtures of the export's tests."""

from tests.support.models.workshop import built, workshop

__all__ = ["built", "workshop"]
