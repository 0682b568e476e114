"""The world in front of the cameras, simulated: heads, skin, light, attack instruments, sensors."""

from synthetic.camera import FAMILIES
from synthetic.scan import FaceModelError
from synthetic.scan import load as load_face_model
from synthetic.scene import SPECIES
from synthetic.shape import SHAPES
from synthetic.sheet import contact_sheet
from synthetic.take import FRAME_SIZES, LONGEST_BASELINE_MM, Rendered, render_frame, render_patch

__all__ = [
    "FAMILIES",
    "FRAME_SIZES",
    "LONGEST_BASELINE_MM",
    "SHAPES",
    "SPECIES",
    "FaceModelError",
    "Rendered",
    "contact_sheet",
    "load_face_model",
    "render_frame",
    "render_patch",
]
