"""Map the box of a face from the image of one camera to that of another.

In the images of two cameras next to each other, a face is displaced by ``f·b/Z`` pixels (``f``: focal length in pixels,
``b``: baseline, ``Z``: distance), so no single mapping between the images is right at every distance. A calibrated rig
therefore maps the box as if it lay on a plane at distance Z. Z comes from a depth map or, without one, from the
apparent width of the face. That is good enough because the width of faces varies less than the distance at which people
stand.
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
"""Default width, in mm, of a face box on a life-size face. Microsoft's requirements for infrared cameras assume 15 cm.
A second estimate agrees: the boxes of OpenCV's frontal cascade alt2 are 1.13 times as wide as the cheekbones of
simulated heads (benchmarks/geometry.md), and people's cheekbones measure 133.8 mm (men) and 130.1 mm (women) on average
(doi:10.1186/s40902-019-0191-7, table 9). In other surveys heads are up to a tenth wider. For a detector with different
boxes, pass the width to `CalibratedMapper`."""
FACE_BOX_SPREAD = 0.20
"""Two standard deviations of the width of a face box, as a fraction of the width. One standard deviation of head width
is 3 to 5 %. Including the scatter of the cascade it is 9 % on simulated faces."""
FACE_RELIEF_MM = 25.0
"""Maximum distance, in mm, of the relevant parts of a face from the plane that the depth map gives."""
NEAREST_MM, FARTHEST_MM = 100.0, 10_000.0
"""Range of plausible distances of a face, in mm."""
MIN_DEPTH_SHARE = 0.2
"""Minimum fraction of pixels with known depth in the middle of a face box. Below it the depth map gives no distance."""
DEPTH_LOOKUPS = 4
"""Maximum number of lookups in a depth map: where to look depends on the distance that the lookup gives."""
ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class CameraModel:
    """One camera of a rig: a pinhole camera with OpenCV's distortion model.

    ``matrix``: camera matrix, float64 [3, 3], pixels. ``distortion``: float64 [5]: k1, k2, p1, p2, k3. ``rotation`` [3,
    3] and ``translation`` [3], mm, map a point from the rig's coordinates to this camera's, with z forward.
    ``identity``: see `SourceInfo`. ``rms_px``: the calibration's reprojection error in this camera.
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
        """Return the undistorted directions (x/z, y/z) [N, 2] of pixels [N, 2]."""
        ends = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-10)
        found = cv2.undistortPointsIter(
            points.reshape(-1, 1, 2), self.matrix, self.distortion, np.eye(3), np.eye(3), ends
        )
        return np.asarray(found, np.float64).reshape(-1, 2)

    def pixels(self, points: Vector) -> Vector:
        """Project points [N, 3] in this camera's coordinates, mm, to pixels [N, 2]."""
        found, _ = cv2.projectPoints(points.reshape(-1, 1, 3), np.zeros(3), np.zeros(3), self.matrix, self.distortion)
        return np.asarray(found, np.float64).reshape(-1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class RigGeometry:
    """Two or three cameras in common coordinates, calibrated together.

    ``rms_px``: stereo reprojection error. ``held_out_px``: 95th percentile of the error when board corners seen by one
    camera are used to predict their position in the other, on views that were not used in the fit; None if no views
    were held out.
    ``date``: ISO 8601, UTC.
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
        """Check that this geometry belongs to the open cameras. ``where``: name of the file, for messages.

        Raises:
            CalibrationInvalid: a camera is not the calibrated one, delivers a different image size, or is missing from
                the geometry.
        """
        for modality, info in infos.items():
            field, again = f"cameras.{modality}", "Calibrate this rig with: adsn-calib rig"
            camera = self.cameras.get(modality)
            if camera is None:
                # A depth camera that the geometry does not cover is not used, so this is no error.
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
    """The box of a face, mapped to another image.

    ``by``: method of the mapping. ``tolerance_px``: possible error of the centre of the box, in pixels of the target
    image, about two standard deviations; None if unknown. ``distance_mm``: distance of the face from the source camera;
    None if the mapping did not need it.
    """

    box: Box
    by: MappingMethod
    tolerance_px: float | None
    distance_mm: float | None = None


class BoxMapper(Protocol):
    """Mapping of a face box from one image to another image of the same pair. Thread-safe."""

    def map_box(self, box: Box, source: Modality, target: Modality, pair: Pair) -> MappedBox | None:
        """Map ``box`` from pixels of the ``source`` image of ``pair`` to pixels of its ``target`` image.

        The result may extend beyond the edge of the image. Returns None if this mapper cannot map the box, so that the
        face has to be detected in ``target``.

        Raises:
            ModalityMissing: the pair lacks one of the two images.
            CalibrationInvalid: the images do not have the calibrated size.
        """
        ...


@dataclass(frozen=True, slots=True)
class ScaleMapper:
    """`BoxMapper` for registered images that differ at most in scale: aligned uploads, aligned depth, or one lens."""

    def map_box(self, box: Box, source: Modality, target: Modality, pair: Pair) -> MappedBox | None:
        a, b = pair.image(source).shape, pair.image(target).shape
        sx, sy = b[1] / a[1], b[0] / a[0]
        if abs(sx / sy - 1) > ASPECT_TOLERANCE:
            return None
        return MappedBox(box.scaled(sx, sy), "same" if sx == sy == 1 else "scale", None)


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedMapper:
    """`BoxMapper` that uses the geometry of a rig.

    ``face_box_mm``: width of the detector's box on a life-size face; see `FACE_BOX_MM`. ``use_depth``: whether to read
    the distance from the pair's depth map, if it has one and the geometry includes its camera.
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
    """Return the distance of a face in mm, computed from the undistorted width of its box (infinite if that is 0)."""
    middle = box.y + box.h / 2
    left, right = camera.rays(np.array([[box.x, middle], [box.x + box.w, middle]]))
    width = float(np.hypot(*(right - left)))
    return face_box_mm / width if width > 0 else math.inf


def reproject_box(box: Box, source: CameraModel, target: CameraModel, distance: float) -> Box | None:
    """Return where ``target`` sees a box of ``source`` that lies on a plane ``distance`` mm in front of ``source``.

    The centre and the lengths of the edges are mapped, not the corners, so that a camera rolled about its axis does not
    widen the box. Returns None if the box lies behind ``target``.
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
    """Return the parallax of a face at ``distance`` mm, across and down, in pixels of ``target``.

    Parallax is the displacement from the place where the face would be at infinite distance. If the distance is wrong
    by a tenth, the face is misplaced by a tenth of the parallax.
    """
    near, far = (reproject_box(box, source, target, z) for z in (distance, FARTHEST_MM * 1e3))
    if near is None or far is None:
        return 0.0, 0.0
    return near.x + near.w / 2 - far.x - far.w / 2, near.y + near.h / 2 - far.y - far.h / 2


def reproject_points(
    points: Vector, source: CameraModel, target: CameraModel, distance: float | Vector
) -> Vector | None:
    """Convert pixels [N, 2] of ``source`` at ``distance`` mm to points [N, 3] in the coordinates of ``target``, mm.

    ``distance``: one number, or one for each pixel [N]. Returns None if any point is not in front of ``target``.
    """
    rays = source.rays(np.asarray(points, np.float64))
    there = np.column_stack([rays, np.ones(len(rays))]) * np.reshape(distance, (-1, 1))
    in_rig = (there - source.translation) @ source.rotation
    found = in_rig @ target.rotation.T + target.translation
    return found if (found[:, 2] > 1).all() else None


def depth_distance(
    box: Box, source: CameraModel, depth_camera: CameraModel, depth: DepthMap, guess: float
) -> float | None:
    """Return the distance of a face from ``source`` in mm, read from a depth map that may come from another camera.

    The place of the face in the map depends on its distance, so the lookup is repeated with the distance just read, at
    most `DEPTH_LOOKUPS` times. ``guess``: initial distance in mm. Returns None if too few pixels in the middle of the
    face have a depth, or if the lookups do not converge.

    Raises:
        CalibrationInvalid: the depth map does not have the calibrated size.
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
    """Return the median depth in mm over the middle of a box: half of its width and half of its height.

    Returns None if the fraction of pixels with known depth is below `MIN_DEPTH_SHARE`.
    """
    x0, x1 = round(box.x + box.w / 4), round(box.x + box.w * 3 / 4)
    y0, y1 = round(box.y + box.h / 4), round(box.y + box.h * 3 / 4)
    part: NDArray[Any] = depth[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    known = part[np.isfinite(part) & (part >= NEAREST_MM) & (part <= FARTHEST_MM)]
    whole = (x1 - x0) * (y1 - y0)
    return float(np.median(known)) if whole > 0 and known.size >= MIN_DEPTH_SHARE * whole else None
