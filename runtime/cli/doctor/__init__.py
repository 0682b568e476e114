"""``adsn-doctor``."""

__all__: list[str] = []
