"""Drift watch: uses the assessed faces to detect that the cameras have moved since calibration."""

from __future__ import annotations

from runtime.core.values import Pair
from runtime.geometry.box_mapping import FACE_BOX_SPREAD, BoxMapper, CalibratedMapper, parallax
from runtime.geometry.drift import LIMIT_PX, DriftMonitor
from runtime.liveness.pair_pipeline import Assessment

CALIBRATED_WIDTH = 640
"""Width in pixels of the IR image for which `runtime.geometry.drift.LIMIT_PX` holds."""


class DriftWatch:
    """Watches one rig. Not thread-safe.

    Active only if ``box_mapper`` is calibrated for RGB and IR: otherwise there is no predicted position to check.
    """

    def __init__(self, box_mapper: BoxMapper) -> None:
        cameras = box_mapper.geometry.cameras if isinstance(box_mapper, CalibratedMapper) else {}
        self._box_mapper = (
            box_mapper if isinstance(box_mapper, CalibratedMapper) and {"rgb", "ir"} <= cameras.keys() else None
        )
        width = cameras["ir"].width if self._box_mapper is not None else CALIBRATED_WIDTH
        self._monitor = DriftMonitor(limit_px=LIMIT_PX * width / CALIBRATED_WIDTH)
        self.advice = ""
        """Advice to the operator; empty if none is needed or nothing is known yet."""

    def update(self, pair: Pair, assessment: Assessment) -> bool:
        """Measure an assessed pair if a reading is due, and return whether one was taken.

        A reading is due once a second and takes less than 1 ms.

        Raises:
            CalibrationInvalid: the rig's geometry does not apply to these images.
        """
        box_mapper, t_ns = self._box_mapper, pair.ir_time_ns
        if box_mapper is None or t_ns is None or pair.lit == "dark" or not self._monitor.due(t_ns):
            return False
        box = assessment.boxes.get("rgb")
        if box is None or pair.rgb is None or pair.ir is None:
            return False
        # Map the box again: the assessed box may have been corrected by a search in the IR image.
        placed = box_mapper.map_box(box, "rgb", "ir", pair)
        if placed is None or placed.distance_mm is None:
            return False
        slack = (0.0, 0.0)
        if placed.by == "face_width":
            cameras = box_mapper.geometry.cameras
            across, down = parallax(box, cameras["rgb"], cameras["ir"], placed.distance_mm)
            slack = (FACE_BOX_SPREAD * across, FACE_BOX_SPREAD * down)
        self.advice = self._monitor.update(pair.rgb, pair.ir, box, placed.box, t_ns, slack).advice
        return True
