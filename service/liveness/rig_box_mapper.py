"""What says where a face of one picture of the rig is in the other."""

from __future__ import annotations

from pathlib import Path

from runtime.geometry.box_mapping import BoxMapper
from runtime.geometry.calibration_file import open_box_mapper
from runtime.pairing.feed import FeedStatus


class RigBoxMapper:
    """Keep the box mapper of the cameras that are open. ``geometry``: the rig's calibration, None without one."""

    def __init__(self, geometry: Path | None) -> None:
        self._geometry = geometry
        self._kept: tuple[tuple[str, ...], BoxMapper] | None = None

    def of(self, status: FeedStatus) -> BoxMapper:
        """Return the box mapper; the same object for as long as the same cameras are open.

        Raises:
            CalibrationInvalid: the geometry is damaged, or of other cameras.
        """
        infos = {camera.modality: camera.info for camera in status.cameras if camera.info is not None}
        cameras = tuple(f"{m} {info.identity} {info.width} {info.height}" for m, info in sorted(infos.items()))
        if self._kept is None or self._kept[0] != cameras:
            self._kept = cameras, open_box_mapper(self._geometry, infos)
        return self._kept[1]
