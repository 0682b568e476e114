"""``adsn-train`` and ``adsn-eval``."""
