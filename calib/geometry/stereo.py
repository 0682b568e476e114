"""Stereo calibration: determine the lenses of two cameras and their relative pose from views of the board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calib.geometry.adjustment import BoardCorners, BundleParameters, adjust, lens_of, matrix_of, residuals, rms
from calib.geometry.board import LEAST_CORNERS, Board
from calib.geometry.coverage import BoardView, CoverageGap, common, gaps
from runtime.core.errors import CalibrationInvalid
from runtime.core.values import MODALITY_NAMES, Modality
from runtime.geometry.box_mapping import CameraModel, RigGeometry, Vector, reproject_points

FOLDS = 5
"""Number of folds in cross-validation: each fifth of the views is predicted by a fit on the others."""
LARGEST_RMS = 1.0
"""Largest accepted reprojection error, in pixels of a 640 px wide image. Good cameras and a flat board give 0.1 to
0.4."""
LARGEST_HELD_OUT = 1.5
"""Largest accepted 95th percentile of the transfer error, in pixels of a 640 px wide image. It is 1 % of a 150 px wide
face."""
OUTLIER = 4.0
"""A view is an outlier if its error is more than this many times the median and above half a pixel."""
LARGEST_OUTLIERS = 0.25
HOPELESS_PX = 5.0
"""Median error above which the problem is not in single views."""
FARTHEST_APART_MM = 300.0
LARGEST_TURN_DEG = 30.0
FIT = cv2.CALIB_FIX_K3
"""The third radial term is not fitted. It would fit noise, because boards rarely reach the corners of the image, and
lenses of up to 90° do not need it."""


@dataclass(frozen=True, slots=True, eq=False)
class StereoFit:
    """Two cameras fitted to a set of views, with reprojection errors in pixels."""

    bundle: BundleParameters
    rms_px: float
    each_px: tuple[float, float]
    views_px: Vector


@dataclass(frozen=True, slots=True)
class StereoCalibration:
    """A calibration and its quality.

    ``used``: names of the views on which it is based. ``left_out``: names of outlier views. ``held_out_px``: median and
    95th percentile of the transfer error. This is the distance, in the image of the second camera, between observed
    corners and those predicted from the first camera and the distance of the board; each view is predicted by a fit on
    other views. ``advice``: views that would improve the calibration.
    """

    geometry: RigGeometry
    used: tuple[str, ...]
    left_out: tuple[str, ...]
    held_out_px: tuple[float, float]
    advice: tuple[str, ...]


def calibrate(
    views: Sequence[BoardView],
    sizes: Mapping[Modality, tuple[int, int]],
    identities: Mapping[Modality, str],
    board: Board,
    date: str,
) -> StereoCalibration:
    """Calibrate two cameras.

    ``sizes``: modality → width and height of the images; the first camera is the origin of the rig's coordinates.
    ``identities``: modality → identity of the camera, see `SourceInfo`. ``date``: ISO 8601, UTC.

    Raises:
        CalibrationInvalid: the views are insufficient or contradict each other. The message says what to do.
    """
    first, second = sizes
    usable = [view for view in views if common(view, first, second).size >= LEAST_CORNERS]
    require_enough(usable, len(views), sizes, board)
    kept, left_out, found = consistent(usable, sizes, board)
    missing = require_enough(kept, len(views), sizes, board)
    cameras = cameras_of(found, sizes, identities)
    for modality, camera in cameras.items():
        require_rms(camera.rms_px, camera.width, f"the {MODALITY_NAMES[modality]} camera")
    require_rms(found.rms_px, sizes[second][0], "the two cameras together")
    require_plausible(cameras[second])
    errors = []
    for fold in range(FOLDS):
        without = [view for number, view in enumerate(kept) if number % FOLDS != fold]
        others = cameras_of(fit_stereo(without, sizes, board, found), sizes, identities)
        errors += [transfer_errors(v, others, first, second, board) for v in kept[fold::FOLDS]]
    median, worst = (float(v) for v in np.percentile(np.concatenate(errors), (50, 95)))
    limit = LARGEST_HELD_OUT * sizes[second][0] / 640
    if not worst <= limit:
        raise CalibrationInvalid(
            f"the transfer error in held-out views is {worst:.2f} pixels (95th percentile; at most {limit:.2f}), "
            f"although the fit's own error is {found.rms_px:.2f}: the views are too similar. Take more, at other "
            "tilts and distances and near the edges of the images."
        )
    return StereoCalibration(
        geometry=RigGeometry(cameras, rms_px=found.rms_px, held_out_px=worst, views=len(kept), date=date),
        used=tuple(view.name for view in kept),
        left_out=tuple(left_out),
        held_out_px=(median, worst),
        advice=tuple(gap.says for gap in missing),
    )


def require_enough(
    views: Sequence[BoardView], offered: int, sizes: Mapping[Modality, tuple[int, int]], board: Board
) -> list[CoverageGap]:
    """Check that there are enough views to determine the geometry, and return the gaps that remain.

    Raises:
        CalibrationInvalid: required views are missing. The message names all of them.
    """
    missing = gaps(views, sizes, board)
    needed = [gap.says for gap in missing if gap.needed]
    if needed:
        raise CalibrationInvalid(
            f"{len(views)} of {offered} views are usable, which is not enough to calibrate the rig. Missing: "
            f"{'; '.join(needed)}."
        )
    return missing


def cameras_of(
    found: StereoFit, sizes: Mapping[Modality, tuple[int, int]], identities: Mapping[Modality, str]
) -> dict[Modality, CameraModel]:
    """Return the two cameras. The first one is the origin of the rig's coordinates."""
    pose = found.bundle.pose
    turns = (np.eye(3), as_floats(cv2.Rodrigues(pose[:3])[0]))
    shifts = (np.zeros(3), pose[3:])
    cameras = {}
    for number, (modality, (width, height)) in enumerate(sizes.items()):
        matrix, distortion = matrix_of(found.bundle.lenses[number])
        cameras[modality] = CameraModel(
            identity=identities[modality],
            width=width,
            height=height,
            matrix=matrix,
            distortion=distortion,
            rotation=turns[number],
            translation=shifts[number],
            rms_px=found.each_px[number],
        )
    return cameras


def fit_stereo(
    views: Sequence[BoardView],
    sizes: Mapping[Modality, tuple[int, int]],
    board: Board,
    start: StereoFit | None = None,
) -> StereoFit:
    """Fit both cameras to ``views``. ``start``: initial values; by default each camera is first fitted by itself."""
    corners = board.corners_mm().astype(np.float64)
    seen = [
        tuple(BoardCorners(corners[view.seen[m].numbers], view.seen[m].pixels.astype(np.float64)) for m in sizes)
        for view in views
    ]
    if start is None:
        lenses = np.array([fit_lens([s[n] for s in seen], size) for n, size in enumerate(sizes.values())])
    else:
        lenses = start.bundle.lenses
    stands = [[board_pose(part, lens) for part, lens in zip(pair, lenses, strict=True)] for pair in seen]
    # Take the median, because a single view whose images are of different moments would distort the mean.
    pose = np.median([relative(a, b) for a, b in stands], axis=0)
    pairs = [(a, b) for a, b in seen]
    bundle = adjust(BundleParameters(lenses, pose, np.array([a for a, _ in stands])), pairs)
    errors = residuals(bundle, pairs)
    return StereoFit(
        bundle,
        rms([part for pair in errors for part in pair]),
        (rms([a for a, _ in errors]), rms([b for _, b in errors])),
        np.array([rms(pair) for pair in errors]),
    )


def fit_lens(seen: Sequence[BoardCorners], size: tuple[int, int]) -> Vector:
    """Fit the lens of one camera by itself."""
    _, matrix, distortion, _, _ = cv2.calibrateCamera(
        [part.board.astype(np.float32) for part in seen],
        [part.pixels.astype(np.float32) for part in seen],
        size,
        np.eye(3),
        np.zeros(5),
        flags=FIT,
    )
    return lens_of(as_floats(matrix), as_floats(distortion))


def board_pose(corners: BoardCorners, lens: Vector) -> Vector:
    """Return the pose [6] of the board relative to a camera: rotation vector, translation in mm."""
    _, turn, shift = cv2.solvePnP(corners.board, corners.pixels, *matrix_of(lens), flags=cv2.SOLVEPNP_ITERATIVE)
    return np.concatenate([as_floats(turn).ravel(), as_floats(shift).ravel()])


def relative(a: Vector, b: Vector) -> Vector:
    """Return the pose [6] from a first to a second camera. ``a``, ``b``: poses of the board relative to each of
    them."""
    turn = as_floats(cv2.Rodrigues(b[:3])[0]) @ as_floats(cv2.Rodrigues(a[:3])[0]).T
    return np.concatenate([as_floats(cv2.Rodrigues(turn)[0]).ravel(), b[3:] - turn @ a[3:]])


def as_floats(values: object) -> Vector:
    return np.array(values, np.float64)


def consistent(
    views: Sequence[BoardView], sizes: Mapping[Modality, tuple[int, int]], board: Board
) -> tuple[list[BoardView], list[str], StereoFit]:
    """Return the consistent views, the names of the outliers, and the fit on the consistent views.

    Typical outliers are views in which the board moved between the exposures, or whose images are not of the same
    moment.

    Raises:
        CalibrationInvalid: there are too many outliers.
    """
    kept = list(views)
    limit = max(1, int(LARGEST_OUTLIERS * len(views)))
    scale = max(size[0] for size in sizes.values()) / 640
    while True:
        found = fit_stereo(kept, sizes, board)
        errors = found.views_px
        wrong = errors > max(OUTLIER * float(np.median(errors)), 0.5 * scale)
        if not wrong.any() or float(np.median(errors)) > HOPELESS_PX * scale:
            break
        # Remove only the worst view, because it may distort the fit so that good views look wrong.
        kept.pop(int(np.argmax(errors)))
        if len(views) - len(kept) > limit:
            names = sorted({view.name for view in views} - {view.name for view in kept})
            raise CalibrationInvalid(
                f"more than {limit} of {len(views)} views contradict the others ({', '.join(names[:6])}). Hold the "
                "board still until a view is taken, and check that the images of a pair show the same moment."
            )
    remaining = {view.name for view in kept}
    return kept, [view.name for view in views if view.name not in remaining], found


def transfer_errors(
    view: BoardView, cameras: Mapping[Modality, CameraModel], first: Modality, second: Modality, board: Board
) -> NDArray[np.float64]:
    """Return the transfer errors [N] of one view in pixels of the second camera.

    The expected place of a corner is computed from its pixels in the first camera and the distance of the board, which
    is measured with the first camera alone.
    """
    a, b = cameras[first], cameras[second]
    corners, seen = board.corners_mm().astype(np.float64), view.seen[first]
    lens = lens_of(a.matrix, a.distortion)
    pose = board_pose(BoardCorners(corners[seen.numbers], seen.pixels.astype(np.float64)), lens)
    numbers = common(view, first, second)
    distance = (corners[numbers] @ as_floats(cv2.Rodrigues(pose[:3])[0]).T + pose[3:])[:, 2]
    points = reproject_points(seen.of(numbers).astype(np.float64), a, b, distance)
    if points is None:
        return np.full(numbers.size, np.inf)
    off: Vector = np.linalg.norm(b.pixels(points) - view.seen[second].of(numbers), axis=1)
    return off


def require_rms(error: float, width: int, what: str) -> None:
    """Check that the reprojection error is not too large; otherwise raise `CalibrationInvalid`."""
    limit = LARGEST_RMS * width / 640
    if not error <= limit:
        raise CalibrationInvalid(
            f"{what} fit the board only to {error:.2f} pixels (at most {limit:.2f}). Check that the images of a pair "
            "show the same moment and are sharp, that the board is flat, and that --columns and --rows are right."
        )


def require_plausible(second: CameraModel) -> None:
    """Check that the relative pose of the cameras is plausible for a face rig; otherwise raise `CalibrationInvalid`."""
    angle = float(np.degrees(np.linalg.norm(cv2.Rodrigues(second.rotation)[0])))
    apart = float(np.linalg.norm(second.translation))
    if angle > LARGEST_TURN_DEG or apart > FARTHEST_APART_MM:
        raise CalibrationInvalid(
            f"the cameras would be {apart:.0f} mm apart and rotated by {angle:.0f}° to each other (at most "
            f"{FARTHEST_APART_MM:.0f} mm and {LARGEST_TURN_DEG:.0f}°). Check that pairs show the same moment, that no "
            "camera's image is rotated, and that --square-mm is right."
        )
