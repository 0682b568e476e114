"""Presentation attack instruments."""

from synthetic.instruments.presented import Presented
from synthetic.instruments.species import HELD, INSTRUMENTS, PATH_TRACED_ONLY, PICTURED

__all__ = ["HELD", "INSTRUMENTS", "PATH_TRACED_ONLY", "PICTURED", "Presented"]
