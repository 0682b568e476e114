"""Offsets between the capture times of two streams."""
