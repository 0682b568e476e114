"""Console scripts ``adsn-train`` and ``adsn-eval``; not an API."""

__all__: list[str] = []
