"""Scoring on another machine."""
