"""Fixtures of the TensorRT engine's tests."""

from tests.support.models.workshop import built, workshop

__all__ = ["built", "workshop"]
