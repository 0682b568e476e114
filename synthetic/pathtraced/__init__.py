"""Path-traced pictures of the same presentations, by Mitsuba 3 (extra ``render``)."""

from synthetic.pathtraced.backend import RenderError
from synthetic.pathtraced.description import Description, describe
from synthetic.pathtraced.take import render_patch

__all__ = ["Description", "RenderError", "describe", "render_patch"]
