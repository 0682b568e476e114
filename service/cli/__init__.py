"""``adsn-serve``."""
