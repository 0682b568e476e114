"""Calibration of the lenses and poses of two cameras from views of a calibration board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import attach

if TYPE_CHECKING:
    from calib.geometry.board import Board, BoardFinder
    from calib.geometry.coverage import BoardView
    from calib.geometry.session import BoardSession
    from calib.geometry.stereo import StereoCalibration, calibrate

__all__ = [
    "Board",
    "BoardFinder",
    "BoardSession",
    "BoardView",
    "StereoCalibration",
    "calibrate",
]

__getattr__ = attach(
    __name__,
    {
        "Board": "calib.geometry.board",
        "BoardFinder": "calib.geometry.board",
        "BoardSession": "calib.geometry.session",
        "BoardView": "calib.geometry.coverage",
        "StereoCalibration": "calib.geometry.stereo",
        "calibrate": "calib.geometry.stereo",
    },
)
