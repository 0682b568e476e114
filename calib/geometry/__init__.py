"""Two cameras' lenses and poses, from views of a calibration board."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.core.lazy import lazy_names

if TYPE_CHECKING:
    from calib.geometry.board import Board, BoardFinder
    from calib.geometry.coverage import View
    from calib.geometry.session import BoardSession
    from calib.geometry.stereo import Result, calibrate

__all__ = [
    "Board",
    "BoardFinder",
    "BoardSession",
    "Result",
    "View",
    "calibrate",
]

__getattr__ = lazy_names(
    __name__,
    {
        "board": (
            "Board",
            "BoardFinder",
        ),
        "coverage": ("View",),
        "session": ("BoardSession",),
        "stereo": (
            "Result",
            "calibrate",
        ),
    },
)
