"""Calibrated geometry of a rig, and its drift."""

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.geometry.box_mapping import Calibrated, Camera, Placed, Registrar, RigGeometry, SameView
    from runtime.geometry.calibration_file import load_geometry, open_registrar, save_geometry
    from runtime.geometry.drift import DriftMonitor

__all__ = [
    "Calibrated",
    "Camera",
    "DriftMonitor",
    "Placed",
    "Registrar",
    "RigGeometry",
    "SameView",
    "load_geometry",
    "open_registrar",
    "save_geometry",
]

__getattr__ = lazy_names(
    __name__,
    {
        "box_mapping": ("Calibrated", "Camera", "Placed", "Registrar", "RigGeometry", "SameView"),
        "calibration_file": ("load_geometry", "open_registrar", "save_geometry"),
        "drift": ("DriftMonitor",),
    },
)
