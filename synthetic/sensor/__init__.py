"""Camera sensors."""

from synthetic.sensor.camera import FAMILIES, CameraRig, draw_camera, expose

__all__ = ["FAMILIES", "CameraRig", "draw_camera", "expose"]
