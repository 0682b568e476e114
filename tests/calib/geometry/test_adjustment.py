"""The bundle adjustment: its derivatives, its result on exact corners, and its robustness to wrong corners."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from calib.geometry.adjustment import (
    LENS,
    SHARED,
    BoardCorners,
    BundleParameters,
    adjust,
    lens_of,
    matrix_of,
    residuals,
    rms,
    view_residuals,
)
from calib.geometry.board import Board
from tests.support.geometry.boards import poses
from tests.support.geometry.rigs import rig

RIG, BOARD = rig(), Board()
Views = list[tuple[BoardCorners, BoardCorners]]


def exact(count: int = 8) -> tuple[BundleParameters, Views]:
    """Return the true bundle and the corners that its cameras see."""
    rgb, ir = RIG.cameras["rgb"], RIG.cameras["ir"]
    corners = BOARD.corners_mm().astype(np.float64)
    middle = np.array([BOARD.width_mm / 2, BOARD.height_mm / 2, 0])
    boards, views = [], []
    for where in poses(count):
        shift = where.translation - where.rotation @ middle
        points = corners @ where.rotation.T + shift
        boards.append(np.concatenate([cv2.Rodrigues(where.rotation)[0].ravel(), shift]))
        seen = [
            BoardCorners(corners, camera.pixels(points @ camera.rotation.T + camera.translation))
            for camera in (rgb, ir)
        ]
        views.append((seen[0], seen[1]))
    pose = np.concatenate([cv2.Rodrigues(ir.rotation)[0].ravel(), ir.translation])
    lenses = np.array([lens_of(camera.matrix, camera.distortion) for camera in (rgb, ir)])
    return BundleParameters(lenses, pose, np.array(boards)), views


def disturbed(bundle: BundleParameters, seed: int = 0) -> BundleParameters:
    rng = np.random.default_rng(seed)
    lens = rng.normal(0, [6, 6, 3, 3, 0.01, 0.01, 1e-3, 1e-3], (2, LENS))
    turn_and_shift = [0.01, 0.01, 0.01, 3, 3, 3]
    return BundleParameters(
        bundle.lenses + lens,
        bundle.pose + rng.normal(0, turn_and_shift),
        bundle.boards + rng.normal(0, turn_and_shift, bundle.boards.shape),
    )


def test_a_lens_is_its_matrix_and_distortion() -> None:
    camera = RIG.cameras["ir"]
    matrix, distortion = matrix_of(lens_of(camera.matrix, camera.distortion))
    assert np.array_equal(matrix, camera.matrix)
    assert np.array_equal(distortion, camera.distortion)


@pytest.mark.parametrize("number", [0, 3])
def test_derivatives_are_those_of_the_residuals(number: int) -> None:
    true, views = exact(4)
    bundle = disturbed(true)
    step = np.random.default_rng(1).normal(0, 1e-6, SHARED + 6 * len(views))
    own = step[SHARED + 6 * number : SHARED + 6 * number + 6]
    before, after = (
        view_residuals(bundle, number, views[number]),
        view_residuals(bundle.moved(step), number, views[number]),
    )
    for which in (0, 1):
        lens = step[which * LENS : (which + 1) * LENS]
        expected = before[which][1] @ np.concatenate([lens, step[2 * LENS : SHARED], own])
        change = (after[which][0] - before[which][0]).ravel()
        assert np.abs(change - expected).max() < 1e-4 * np.abs(change).max()


def test_exact_corners_give_the_exact_rig() -> None:
    true, views = exact()
    found = adjust(disturbed(true), views)
    assert rms([part for pair in residuals(found, views) for part in pair]) < 1e-3
    assert np.abs(found.pose - true.pose).max() < 1e-2
    assert np.abs(found.lenses - true.lenses).max() < 0.05


def test_a_few_wrong_corners_hardly_bend_it() -> None:
    true, views = exact()
    rng = np.random.default_rng(2)
    noisy: Views = []
    for a, b in views:
        pixels = b.pixels + rng.normal(0, 0.1, b.pixels.shape)
        pixels[:3] += 5.0
        noisy.append(
            (BoardCorners(a.board, a.pixels + rng.normal(0, 0.1, a.pixels.shape)), BoardCorners(b.board, pixels))
        )
    found = adjust(disturbed(true), noisy)
    assert np.abs(found.pose[3:] - true.pose[3:]).max() < 0.6
    clean = [(a, BoardCorners(b.board[3:], b.pixels[3:])) for a, b in noisy]
    assert rms([part for pair in residuals(found, clean) for part in pair]) < 0.25
