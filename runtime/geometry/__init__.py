"""Calibrated geometry of a rig, and detection of its drift."""

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from runtime.geometry.box_mapping import (
        BoxMapper,
        CalibratedMapper,
        CameraModel,
        MappedBox,
        RigGeometry,
        ScaleMapper,
    )
    from runtime.geometry.calibration_file import load_geometry, open_box_mapper, save_geometry
    from runtime.geometry.drift import DriftMonitor

__all__ = [
    "BoxMapper",
    "CalibratedMapper",
    "CameraModel",
    "DriftMonitor",
    "MappedBox",
    "RigGeometry",
    "ScaleMapper",
    "load_geometry",
    "open_box_mapper",
    "save_geometry",
]

__getattr__ = attach(
    __name__,
    {
        "BoxMapper": "runtime.geometry.box_mapping",
        "CalibratedMapper": "runtime.geometry.box_mapping",
        "CameraModel": "runtime.geometry.box_mapping",
        "DriftMonitor": "runtime.geometry.drift",
        "MappedBox": "runtime.geometry.box_mapping",
        "RigGeometry": "runtime.geometry.box_mapping",
        "ScaleMapper": "runtime.geometry.box_mapping",
        "load_geometry": "runtime.geometry.calibration_file",
        "open_box_mapper": "runtime.geometry.calibration_file",
        "save_geometry": "runtime.geometry.calibration_file",
    },
)
