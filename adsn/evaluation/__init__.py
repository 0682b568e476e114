"""Scoring data sets, and the report of it."""
