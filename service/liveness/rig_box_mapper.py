"""Box mapper between the two images of a rig's pairs."""

from __future__ import annotations

from pathlib import Path

from runtime.geometry.box_mapping import BoxMapper
from runtime.geometry.calibration_file import open_box_mapper
from runtime.pairing.feed import FeedStatus


class RigBoxMapper:
    """Cache of the box mapper for the open cameras. ``geometry``: calibration file of the rig, None without one."""

    def __init__(self, geometry: Path | None) -> None:
        self._geometry = geometry
        self._kept: tuple[tuple[str, ...], BoxMapper] | None = None

    def of(self, status: FeedStatus) -> BoxMapper:
        """Return the box mapper. It is the same object as long as the same cameras are open.

        Raises:
            CalibrationInvalid: the geometry is damaged, or belongs to other cameras.
        """
        infos = {camera.modality: camera.info for camera in status.cameras if camera.info is not None}
        cameras = tuple(f"{m} {info.identity} {info.width} {info.height}" for m, info in sorted(infos.items()))
        if self._kept is None or self._kept[0] != cameras:
            self._kept = cameras, open_box_mapper(self._geometry, infos)
        return self._kept[1]
