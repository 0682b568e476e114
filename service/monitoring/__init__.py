"""Health, metrics, events and status."""
