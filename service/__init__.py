"""How the world reaches the pipeline: HTTP, and the kiosk daemon."""

__all__: list[str] = []
