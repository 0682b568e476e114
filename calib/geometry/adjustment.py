"""Bundle adjustment of the lenses of two cameras, their relative pose, and all poses of the board together.

OpenCV's stereo calibration minimises the same error but converges slowly: when focal length and distance are hard to
separate, it needs a thousand steps, and this adjustment a few dozen. This adjustment also uses corners that only one
camera sees, and gives outlying corners less weight (Huber loss).

SciPy's ``least_squares`` (trust region, same derivatives, Huber loss) finds the same minimum but needs a hundred times
the CPU time, 5.4 s instead of 0.05 s for eight views, because it does not eliminate the board poses first. A
calibration runs a dozen adjustments, so this module has its own implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.geometry.box_mapping import Vector

LENS = 8
"""Number of lens parameters: focal lengths (2), centre (2), k1, k2, p1, p2."""
SHARED = 2 * LENS + 6
STEPS = 60
ENOUGH = 1e-6
"""Relative decrease of the error at which the adjustment stops."""
HUBER = 2.5
"""Error in standard deviations above which a corner gets less weight."""


@dataclass(frozen=True, slots=True, eq=False)
class BoardCorners:
    """Board corners seen by one camera in one view. ``board``: float64 [N, 3], mm. ``pixels``: float64 [N, 2]."""

    board: Vector
    pixels: Vector


@dataclass(slots=True, eq=False)
class BundleParameters:
    """All adjusted parameters.

    ``lenses``: [2, LENS]. ``pose``: [6], from the first camera to the second. ``boards``: [V, 6], from the board to the
    first camera in each view. A pose is a rotation vector followed by a translation in mm.
    """

    lenses: Vector
    pose: Vector
    boards: Vector

    def moved(self, step: Vector) -> BundleParameters:
        split = 2 * LENS
        return BundleParameters(
            self.lenses + step[:split].reshape(2, LENS),
            self.pose + step[split : split + 6],
            self.boards + step[split + 6 :].reshape(-1, 6),
        )


def lens_of(matrix: Vector, distortion: Vector) -> Vector:
    """Return the parameters [LENS] of a lens."""
    return np.array([matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *distortion.ravel()[:4]])


def matrix_of(lens: Vector) -> tuple[Vector, Vector]:
    """Return the camera matrix [3, 3] and distortion [5] of a lens."""
    fx, fy, cx, cy = lens[:4]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.append(lens[4:], 0.0)


def residuals(
    bundle: BundleParameters, views: Sequence[tuple[BoardCorners, BoardCorners]]
) -> list[tuple[Vector, Vector]]:
    """Return the residuals [N, 2] of both cameras for each view: projected minus observed corners, in pixels."""
    return [(seen[0][0], seen[1][0]) for seen in (view_residuals(bundle, n, pair) for n, pair in enumerate(views))]


def view_residuals(
    bundle: BundleParameters, number: int, pair: tuple[BoardCorners, BoardCorners]
) -> tuple[tuple[Vector, Vector], tuple[Vector, Vector]]:
    """Return, for each camera, the residuals [N, 2] and their derivatives [2N, LENS + 12] by lens, pose and board."""
    turn, shift = bundle.boards[number, :3], bundle.boards[number, 3:]
    first, second = pair
    error, by = _project(first, turn, shift, bundle.lenses[0])
    one = np.zeros((len(by), LENS + 12))
    one[:, :LENS], one[:, LENS + 6 :] = by[:, 6:], by[:, :6]
    found = cv2.composeRT(turn, shift, bundle.pose[:3], bundle.pose[3:])
    turn2, shift2, rr1, rt1, rr2, rt2, tr1, tt1, tr2, tt2 = (np.asarray(value, np.float64) for value in found)
    error2, by2 = _project(second, turn2, shift2, bundle.lenses[1])
    two = np.zeros((len(by2), LENS + 12))
    two[:, :LENS] = by2[:, 6:]
    two[:, LENS : LENS + 6] = by2[:, :6] @ np.block([[rr2, rt2], [tr2, tt2]])
    two[:, LENS + 6 :] = by2[:, :6] @ np.block([[rr1, rt1], [tr1, tt1]])
    return (error, one), (error2, two)


def _project(corners: BoardCorners, turn: Vector, shift: Vector, lens: Vector) -> tuple[Vector, Vector]:
    """Return the residuals [N, 2] and their derivatives [2N, 6 + LENS] by pose and lens."""
    matrix, distortion = matrix_of(lens)
    pixels, by = cv2.projectPoints(corners.board, turn, shift, matrix, distortion)
    return np.asarray(pixels, np.float64).reshape(-1, 2) - corners.pixels, np.asarray(by, np.float64)[:, : 6 + LENS]


def _weights(errors: Sequence[Vector], scale: float) -> list[Vector]:
    """Return the weights [2N] of the residuals in each part: 1 up to a distance of ``scale``, decreasing beyond it."""
    return [np.repeat(np.minimum(1, scale / np.maximum(np.linalg.norm(e, axis=1), 1e-12)), 2) for e in errors]


def _cost(errors: Sequence[Vector], scale: float) -> float:
    """Return the Huber cost of the residuals."""
    far = np.concatenate([np.linalg.norm(e, axis=1) for e in errors])
    return float(np.where(far <= scale, far**2, 2 * scale * far - scale**2).sum())


@dataclass(slots=True, eq=False)
class NormalEquations:
    """Normal equations in blocks.

    ``shared``: block of the lenses and the pose [22, 22]. ``own``: blocks of the boards [V, 6, 6]. ``mixed``: blocks
    that couple the two [V, 22, 6]. ``shared_slope`` and ``own_slope``: gradients of the cost.
    """

    shared: Vector
    own: Vector
    mixed: Vector
    shared_slope: Vector
    own_slope: Vector

    def step(self, damping: float) -> Vector:
        """Return the damped step. The boards are eliminated first (Schur complement), which leaves a small system to
        solve."""
        own = self.own + damping * (self.own * np.eye(6)) + 1e-12 * np.eye(6)
        inverse = np.linalg.inv(own)
        through = self.mixed @ inverse
        shared = self.shared + damping * np.diag(np.diag(self.shared)) + 1e-12 * np.eye(SHARED)
        left = shared - (through @ self.mixed.transpose(0, 2, 1)).sum(axis=0)
        right = self.shared_slope - (through @ self.own_slope[:, :, None]).sum(axis=0)[:, 0]
        first = np.linalg.solve(left, right)
        rest = self.own_slope - (self.mixed.transpose(0, 2, 1) @ first)
        boards = (inverse @ rest[:, :, None])[:, :, 0]
        return -np.concatenate([first, boards.ravel()])


def normal_equations(seen: Sequence[tuple[tuple[Vector, Vector], ...]], weights: Sequence[Vector]) -> NormalEquations:
    """Return the normal equations for the results of `view_residuals` and the weights of each part."""
    count = len(seen)
    found = NormalEquations(
        np.zeros((SHARED, SHARED)),
        np.zeros((count, 6, 6)),
        np.zeros((count, SHARED, 6)),
        np.zeros(SHARED),
        np.zeros((count, 6)),
    )
    for number, pair in enumerate(seen):
        for which, (error, by) in enumerate(pair):
            lens = np.arange(which * LENS, (which + 1) * LENS)
            where = np.concatenate([lens, np.arange(2 * LENS, SHARED)])
            weighted = by * weights[2 * number + which][:, None]
            product, slope = by.T @ weighted, weighted.T @ error.ravel()
            found.shared[np.ix_(where, where)] += product[:-6, :-6]
            found.mixed[number][where] += product[:-6, -6:]
            found.own[number] += product[-6:, -6:]
            found.shared_slope[where] += slope[:-6]
            found.own_slope[number] += slope[-6:]
    return found


def adjust(bundle: BundleParameters, views: Sequence[tuple[BoardCorners, BoardCorners]]) -> BundleParameters:
    """Return the parameters that fit the views best, starting from ``bundle`` (Levenberg-Marquardt method)."""
    damping = 1e-3
    for _ in range(STEPS):
        seen = [view_residuals(bundle, number, pair) for number, pair in enumerate(views)]
        errors = [part[0] for pair in seen for part in pair]
        # In two dimensions the median distance is 1.18 standard deviations of one coordinate.
        scale = HUBER * float(np.median(np.concatenate([np.linalg.norm(e, axis=1) for e in errors]))) / 1.18 + 1e-6
        normal = normal_equations(seen, _weights(errors, scale))
        before = _cost(errors, scale)
        while damping < 1e9:
            trial = bundle.moved(normal.step(damping))
            after = _cost([part for pair in residuals(trial, views) for part in pair], scale)
            if after <= before:
                break
            damping *= 10
        else:
            return bundle
        bundle, damping = trial, max(damping / 10, 1e-12)
        if before - after <= ENOUGH * before:
            return bundle
    return bundle


def rms(errors: Sequence[NDArray[np.float64]]) -> float:
    """Return the root mean square of the distances in pixels."""
    return float(np.sqrt(np.mean(np.concatenate([np.square(e).sum(axis=1) for e in errors]))))
