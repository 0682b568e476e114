"""Map a face's box from one camera's image to another's.

Two cameras next to each other see a face displaced by ``f·b/Z`` pixels (``f`` focal length in pixels, ``b`` the
baseline, ``Z`` the distance), so no single mapping between the images is right at every distance. A calibrated rig
therefore maps by H(Z), which assumes that the box lies on a plane at distance Z. Z comes from a depth map, or from the
apparent width of the face: the width of faces varies less than the distance at which people stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.capture.source import SourceInfo
from runtime.core.errors import CalibrationInvalid
from runtime.core.values import Box, DepthMap, Modality, Pair

Vector = NDArray[np.float64]

FACE_BOX_MM = 150.0
"""Width, in mm, of the part of a face that a face box covers. Microsoft's requirements for infrared cameras assume 15
cm. OpenCV's frontal cascade alt2 draws its box 1.13 times as wide as simulated heads are at the cheekbones
(benchmarks/geometry.md). People's cheekbones measure 133.8 and 130.1 mm on average in the two sexes
(doi:10.1186/s40902-019-0191-7, table 9), which gives about 150 mm too; in other surveys heads are up to a tenth wider.
For a detector with other boxes pass the width to `CalibratedMapper`."""
FACE_BOX_SPREAD = 0.20
"""Two standard deviations of a face box's width, as a fraction. Heads vary by 3 to 5 %; with the cascade's own scatter
it is 9 % on simulated faces."""
FACE_RELIEF_MM = 25.0
"""How far, in mm, the relevant parts of a face lie in front of or behind the plane that the depth map gives for it."""
NEAREST_MM, FARTHEST_MM = 100.0, 10_000.0
"""Distances, in mm, that are accepted for a face."""
MIN_DEPTH_SHARE = 0.2
"""Minimum fraction of pixels with known depth in the middle of a face box; with fewer, no distance is read."""
DEPTH_LOOKUPS = 4
"""Maximum number of lookups in a depth map: where to look depends on the distance that the lookup gives."""
ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class CameraModel:
    """One camera of a rig: a pinhole with OpenCV's distortion model.

    ``matrix`` float64 [3, 3], pixels. ``distortion`` float64 [5]: k1, k2, p1, p2, k3. ``rotation`` [3, 3] and
    ``translation`` [3], mm, map a point from the rig's frame to this camera's frame, z forward. ``identity``: see
    `SourceInfo`. ``rms_px``: the calibration's reprojection error in this camera.
    """

    identity: str
    width: int
    height: int
    matrix: Vector
    distortion: Vector
    rotation: Vector
    translation: Vector
    rms_px: float = 0.0

    def rays(self, points: Vector) -> Vector:
        """Convert pixels [N, 2] to directions (x/z, y/z) [N, 2] without distortion."""
        ends = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-10)
        found = cv2.undistortPointsIter(
            points.reshape(-1, 1, 2), self.matrix, self.distortion, np.eye(3), np.eye(3), ends
        )
        return np.asarray(found, np.float64).reshape(-1, 2)

    def pixels(self, points: Vector) -> Vector:
        """Project points [N, 3] in this camera's frame, mm, to pixels [N, 2]."""
        found, _ = cv2.projectPoints(points.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), self.matrix, self.distortion)
        return np.asarray(found, np.float64).reshape(-1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class RigGeometry:
    """Two or three cameras in one frame, calibrated together.

    ``rms_px``: stereo reprojection error. ``held_out_px``: 95th percentile of the error of board corners predicted from
    one camera to the other in views that the fit had not seen; None if no views were held out. ``date``: ISO 8601, UTC.
    """

    cameras: Mapping[Modality, CameraModel]
    rms_px: float
    held_out_px: float | None
    views: int
    date: str

    def baseline_mm(self, source: Modality, target: Modality) -> float:
        """Return the distance between the centres of two cameras."""
        a, b = self.cameras[source], self.cameras[target]
        return float(np.linalg.norm(a.rotation.T @ a.translation - b.rotation.T @ b.translation))

    def require_cameras(self, infos: Mapping[Modality, SourceInfo], where: str) -> None:
        """Check that this geometry belongs to the open cameras. ``where``: the file, for messages.

        Raises:
            CalibrationInvalid: a camera is another one, delivers another size, or is missing from the geometry.
        """
        for modality, info in infos.items():
            field, again = f"cameras.{modality}", "Calibrate this rig with: adsn-calib rig"
            camera = self.cameras.get(modality)
            if camera is None:
                # Depth that is missing from the geometry is simply not used.
                if modality == "depth" and len(infos) > 2:
                    continue
                raise CalibrationInvalid(f"{where}: {field} is missing, but {info.uri} is open. {again}")
            if camera.identity != info.identity:
                raise CalibrationInvalid(
                    f"{where}: {field}.identity is {camera.identity!r}, but {info.uri} is {info.identity!r}. {again}, "
                    "or use the file of these cameras."
                )
            if (camera.width, camera.height) != (info.width, info.height):
                raise CalibrationInvalid(
                    f"{where}: {field} was calibrated at {camera.width}×{camera.height} pixels, but {info.uri} "
                    f"delivers {info.width}×{info.height}. Open the camera at the calibrated size, or calibrate at "
                    f"this one."
                )


MappingMethod = Literal["same", "depth", "face_width", "scale"]


@dataclass(frozen=True, slots=True)
class MappedBox:
    """A face's box in another image.

    ``by``: how it was mapped. ``tolerance_px``: possible error of its centre in pixels of that image, about two
    standard deviations; None if unknown. ``distance_mm``: the face's distance from the source image's camera, if it was
    needed.
    """

    box: Box
    by: MappingMethod
    tolerance_px: float | None
    distance_mm: float | None = None


class BoxMapper(Protocol):
    """Maps a face's box from one image to another image of the same pair. Thread-safe."""

    def map_box(self, box: Box, source: Modality, target: Modality, pair: Pair) -> MappedBox | None:
        """Map ``box`` from pixels of the pair's ``source`` to pixels of its ``target``; the result may cross the edge.
        Returns None if this mapper cannot tell: the face has to be detected in ``target``.

        Raises:
            ModalityMissing: the pair lacks one of the two.
            CalibrationInvalid: the images do not have the calibrated size.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScaleMapper:
    """Treats images that differ in scale alone as registered: aligned uploads, aligned depth, one lens."""

    aspect_tolerance: float = ASPECT_TOLERANCE

    def map_box(self, box: Box, source: Modality, target: Modality, pair: Pair) -> MappedBox | None:
        a, b = pair.image(source).shape, pair.image(target).shape
        sx, sy = b[1] / a[1], b[0] / a[0]
        if abs(sx / sy - 1) > self.aspect_tolerance:
            return None
        return MappedBox(box.scaled(sx, sy), "same" if sx == sy == 1 else "scale", None)


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedMapper:
    """Maps boxes by a rig's geometry.

    ``face_box_mm``: width of the detector's box on a face, see `FACE_BOX_MM`. ``use_depth``: read the distance from the
    pair's depth map if it has one that the geometry covers.
    """

    geometry: RigGeometry
    face_box_mm: float = FACE_BOX_MM
    use_depth: bool = True

    def map_box(self, box: Box, source: Modality, target: Modality, pair: Pair) -> MappedBox | None:
        cameras = self.geometry.cameras
        for modality in (source, target):
            shape = pair.image(modality).shape
            camera = cameras.get(modality)
            if camera is None:
                return None
            if shape[:2] != (camera.height, camera.width):
                raise CalibrationInvalid(
                    f"the rig's geometry was calibrated for {modality} images of {camera.width}×{camera.height} "
                    f"pixels, not {shape[1]}×{shape[0]}. Open the camera at the calibrated size, or calibrate at this "
                    f"one."
                )
        if source == target:
            return MappedBox(box, "same", 0.0)
        by: MappingMethod = "face_width"
        distance = face_distance(box, cameras[source], self.face_box_mm)
        if self.use_depth and pair.depth is not None and "depth" in cameras:
            measured = depth_distance(box, cameras[source], cameras["depth"], pair.depth, distance)
            if measured is not None:
                by, distance = "depth", measured
        if not NEAREST_MM <= distance <= FARTHEST_MM:
            return None
        placed = reproject_box(box, cameras[source], cameras[target], distance)
        if placed is None:
            return None
        return MappedBox(placed, by, self._tolerance(source, target, by, distance), distance)

    def _tolerance(self, source: Modality, target: Modality, by: MappingMethod, distance: float) -> float:
        focal = float(self.geometry.cameras[target].matrix[0, 0])
        parallax = focal * self.geometry.baseline_mm(source, target) / distance
        wrong = FACE_BOX_SPREAD if by == "face_width" else FACE_RELIEF_MM / distance
        known = self.geometry.held_out_px
        return math.hypot(parallax * wrong, known if known is not None else 2 * self.geometry.rms_px)


def face_distance(box: Box, camera: CameraModel, face_box_mm: float = FACE_BOX_MM) -> float:
    """Return a face's distance in mm from the undistorted width of its box; infinite for a box without width."""
    middle = box.y + box.h / 2
    left, right = camera.rays(np.array([[box.x, middle], [box.x + box.w, middle]]))
    width = float(np.hypot(*(right - left)))
    return face_box_mm / width if width > 0 else math.inf


def reproject_box(box: Box, source: CameraModel, target: CameraModel, distance: float) -> Box | None:
    """Return a box of ``source`` as ``target`` sees it, taken as a plane ``distance`` mm from ``source`` and facing it.

    The centre and the edge lengths are mapped, not the corners, so a camera rolled about its axis does not widen the
    box. Returns None if the box lies behind ``target``.
    """
    x, y, w, h = box.x, box.y, box.w, box.h
    marks = np.array([[x + w / 2, y + h / 2], [x, y + h / 2], [x + w, y + h / 2], [x + w / 2, y], [x + w / 2, y + h]])
    seen = (
        target.pixels(in_target)
        if (in_target := reproject_points(marks, source, target, distance)) is not None
        else None
    )
    if seen is None or not np.isfinite(seen).all():
        return None
    (cx, cy), left, right, top, bottom = seen
    width, height = float(np.hypot(*(right - left))), float(np.hypot(*(bottom - top)))
    return Box(float(cx) - width / 2, float(cy) - height / 2, width, height)


def parallax(box: Box, source: CameraModel, target: CameraModel, distance: float) -> tuple[float, float]:
    """Return how far a face at ``distance`` mm is from where it would be at infinity, across and down in ``target``'s
    pixels. A distance that is wrong by a tenth misplaces the face by a tenth of this."""
    near, far = (reproject_box(box, source, target, z) for z in (distance, FARTHEST_MM * 1e3))
    if near is None or far is None:
        return 0.0, 0.0
    return near.x + near.w / 2 - far.x - far.w / 2, near.y + near.h / 2 - far.y - far.h / 2


def reproject_points(
    points: Vector, source: CameraModel, target: CameraModel, distance: float | Vector
) -> Vector | None:
    """Convert pixels [N, 2] of ``source`` at ``distance`` mm (one number, or [N]) to points [N, 3] in ``target``'s
    frame, mm. Returns None if one of them is not in front of ``target``."""
    rays = source.rays(np.asarray(points, np.float64))
    there = np.column_stack([rays, np.ones(len(rays))]) * np.reshape(distance, (-1, 1))
    in_rig = (there - source.translation) @ source.rotation
    found = in_rig @ target.rotation.T + target.translation
    return found if (found[:, 2] > 1).all() else None


def depth_distance(
    box: Box, source: CameraModel, depth_camera: CameraModel, depth: DepthMap, guess: float
) -> float | None:
    """Return a face's distance from ``source`` in mm, read from a depth map that another camera may have taken.

    Where to look in the map depends on the distance, so the lookup is repeated with each new distance. ``guess``:
    initial distance in mm. Returns None if the middle of the face has too little depth, or if the lookups do not
    converge.

    Raises:
        CalibrationInvalid: the map does not have the calibrated size.
    """
    if depth.shape[:2] != (depth_camera.height, depth_camera.width):
        raise CalibrationInvalid(
            f"the rig's geometry was calibrated for depth of {depth_camera.width}×{depth_camera.height} pixels, not "
            f"{depth.shape[1]}×{depth.shape[0]}. Open the camera at the calibrated size, or calibrate at this one."
        )
    distance = min(max(guess, NEAREST_MM), FARTHEST_MM)
    for _ in range(DEPTH_LOOKUPS):
        seen = reproject_box(box, source, depth_camera, distance)
        if seen is None:
            return None
        there = median_depth(depth, seen)
        if there is None:
            return None
        centre = np.array([[seen.x + seen.w / 2, seen.y + seen.h / 2]])
        back = reproject_points(centre, depth_camera, source, there)
        if back is None:
            return None
        before, distance = distance, float(back[0, 2])
        if abs(distance - before) <= 0.01 * before:
            return distance
    return None


def median_depth(depth: DepthMap, box: Box) -> float | None:
    """Return the median depth in mm of the middle half of a box in each direction; None if less than
    `MIN_DEPTH_SHARE` of it is known."""
    x0, x1 = round(box.x + box.w / 4), round(box.x + box.w * 3 / 4)
    y0, y1 = round(box.y + box.h / 4), round(box.y + box.h * 3 / 4)
    part: NDArray[Any] = depth[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    known = part[np.isfinite(part) & (part >= NEAREST_MM) & (part <= FARTHEST_MM)]
    whole = (x1 - x0) * (y1 - y0)
    return float(np.median(known)) if whole > 0 and known.size >= MIN_DEPTH_SHARE * whole else None
