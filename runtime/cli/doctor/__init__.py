"""``adsn-doctor``."""
