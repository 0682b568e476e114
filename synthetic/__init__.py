"""The world in front of the cameras, simulated: heads, skin, light, attack instruments, sensors."""

from synthetic.camera import FAMILIES
from synthetic.scene import SPECIES, Rendered, render_frame, render_patch
from synthetic.sheet import contact_sheet

__all__ = ["FAMILIES", "SPECIES", "Rendered", "contact_sheet", "render_frame", "render_patch"]
