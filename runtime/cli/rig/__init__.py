"""``adsn-rig``, with one module for each command."""

__all__: list[str] = []
