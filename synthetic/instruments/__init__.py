"""Presentation attack instruments."""
