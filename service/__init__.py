"""Interfaces to the pipeline: the HTTP service and the kiosk daemon."""

__all__: list[str] = []
