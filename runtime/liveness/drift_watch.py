"""Whether the cameras of a stream still stand as they were calibrated, told from the faces that are judged anyway."""

from __future__ import annotations

from runtime.core.values import Pair
from runtime.geometry.box_mapping import FACE_BOX_SPREAD, BoxMapper, CalibratedMapper, parallax
from runtime.geometry.drift import LIMIT_PX, DriftMonitor
from runtime.liveness.pair_pipeline import Assessment

CALIBRATED_WIDTH = 640
"""Pixels of the infrared picture for which `runtime.geometry.drift.LIMIT_PX` holds."""


class DriftWatch:
    """Watches one rig. Not for several threads.

    Only where ``box_mapper`` is a calibration of colour and infrared: pictures that are taken as registered, or boxes
    that were looked for in both, promise nothing that could turn out wrong.
    """

    def __init__(self, box_mapper: BoxMapper) -> None:
        cameras = box_mapper.geometry.cameras if isinstance(box_mapper, CalibratedMapper) else {}
        self._box_mapper = (
            box_mapper if isinstance(box_mapper, CalibratedMapper) and {"rgb", "ir"} <= cameras.keys() else None
        )
        width = cameras["ir"].width if self._box_mapper is not None else CALIBRATED_WIDTH
        self._monitor = DriftMonitor(limit_px=LIMIT_PX * width / CALIBRATED_WIDTH)
        self.advice = ""
        """What to do, empty when nothing is to be done, or nothing is known yet."""

    def update(self, pair: Pair, assessment: Assessment) -> bool:
        """Take a reading of a judged pair, where one is due; whether there was one. Once a second, under a millisecond.

        Raises:
            CalibrationInvalid: the pictures are not those that the rig's geometry holds for.
        """
        box_mapper, t_ns = self._box_mapper, pair.ir_time_ns
        if box_mapper is None or t_ns is None or pair.lit == "dark" or not self._monitor.due(t_ns):
            return False
        box = assessment.boxes.get("rgb")
        if box is None or pair.rgb is None or pair.ir is None:
            return False
        # Placed anew: what was judged may have been corrected by a search in the infrared picture.
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
