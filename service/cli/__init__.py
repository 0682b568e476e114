"""``adsn-serve``."""

from service.cli.serve import main

__all__ = ["main"]
