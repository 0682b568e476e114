"""The console script ``adsn-calib``; not an API."""

__all__: list[str] = []
