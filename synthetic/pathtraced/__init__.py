"""Path-traced images of the same presentations, by Mitsuba 3 (extra ``render``)."""

from synthetic.pathtraced.backend import RenderError
from synthetic.pathtraced.description import Description, describe
from synthetic.pathtraced.take import SAMPLES, render, render_frame, render_patch

__all__ = ["SAMPLES", "VERSION", "Description", "RenderError", "describe", "render", "render_frame", "render_patch"]

VERSION = 4
"""Version of the rendered data; data on disk of another version is not touched."""
