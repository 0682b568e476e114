"""Simulation of the scene before the cameras: heads, skin, light, attack instruments, sensors."""

from synthetic.contact_sheet import contact_sheet
from synthetic.people.attributes import Attributes, draw_attributes, draw_glasses, draw_hat, draw_medical_mask
from synthetic.people.scan import FaceModelError
from synthetic.people.scan import load as load_face_model
from synthetic.people.shape import SHAPES
from synthetic.presentation import PATH_TRACED_SPECIES, SPECIES, Presentation, attributes_of
from synthetic.raster.take import FRAME_SIZES, LONGEST_BASELINE_MM, Rendered, render_frame, render_patch
from synthetic.sensor.camera import FAMILIES

__all__ = [
    "FAMILIES",
    "FRAME_SIZES",
    "LONGEST_BASELINE_MM",
    "PATH_TRACED_SPECIES",
    "SHAPES",
    "SPECIES",
    "Attributes",
    "FaceModelError",
    "Presentation",
    "Rendered",
    "attributes_of",
    "contact_sheet",
    "draw_attributes",
    "draw_glasses",
    "draw_hat",
    "draw_medical_mask",
    "load_face_model",
    "render_frame",
    "render_patch",
]
