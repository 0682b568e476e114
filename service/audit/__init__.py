"""Signed answers and the log of decisions."""
