"""The NumPy renderer."""

from synthetic.raster.take import FRAME_SIZES, LONGEST_BASELINE_MM, Rendered, render_frame, render_patch

__all__ = ["FRAME_SIZES", "LONGEST_BASELINE_MM", "Rendered", "render_frame", "render_patch"]
