"""The way of a frame: camera → pair → face → crop → engine → decision. No HTTP, no torch."""

__version__ = "0.1.0"
