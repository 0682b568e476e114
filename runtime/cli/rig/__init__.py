"""``adsn-rig``, a module for each command."""

__all__: list[str] = []
