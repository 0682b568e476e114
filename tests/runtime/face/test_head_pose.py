"""Head angles from five landmarks, on heads whose angles and proportions are known."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.face.head_pose import FIT, HEAD_MM, head_angles
from synthetic.rendering import rotation


@pytest.mark.parametrize("yaw", [-50, -30, -10, 0, 20, 40])
@pytest.mark.parametrize("pitch", [-25, 0, 15])
@pytest.mark.parametrize("roll", [-20, 0, 10])
def test_the_model_itself_is_read_exactly(yaw: float, pitch: float, roll: float) -> None:
    points = (HEAD_MM @ rotation(yaw, pitch, roll).T.astype(np.float64))[:, :2] * 2.1 + [300, 200]
    found = head_angles(points.astype(np.float32))
    assert found is not None
    forward = rotation(yaw, pitch, roll)[:, 2].astype(np.float64)
    # Roll rotates the image and does not change yaw and pitch.
    level = rotation(yaw, pitch, 0)[:, 2].astype(np.float64)
    assert forward[2] == pytest.approx(level[2])
    assert np.cos(np.radians(found[0])) * np.cos(np.radians(found[1])) == pytest.approx(forward[2], abs=0.01)
    if roll == 0:
        assert found[0] == pytest.approx(np.degrees(np.arctan2(level[0], level[2])), abs=0.5)


def test_other_proportions_and_perspective_cost_some_degrees() -> None:
    rng = np.random.default_rng(0)
    yaw_errors, pitch_errors = [], []
    for _ in range(300):
        head = HEAD_MM * rng.normal(1, 0.07, 3) + rng.normal(0, 1.5, (5, 3))
        yaw, pitch = rng.uniform(-40, 40), rng.uniform(-20, 20)
        turned = head @ rotation(yaw, pitch, rng.uniform(-10, 10)).T.astype(np.float64)
        points = turned[:, :2] / (500 - turned[:, 2:]) * 600
        found = head_angles(points.astype(np.float32))
        assert found is not None
        yaw_errors.append(found[0] - yaw)
        pitch_errors.append(found[1] + pitch)
    assert np.percentile(np.abs(yaw_errors), 90) < 9
    assert np.percentile(np.abs(pitch_errors), 90) < 14


def test_the_angles_are_those_of_the_nearest_rotation() -> None:
    """The reference finds the rotation by singular value decomposition."""
    rng = np.random.default_rng(1)
    compared = 0
    for _ in range(400):
        turn = rotation(rng.uniform(-60, 60), rng.uniform(-40, 40), rng.uniform(-40, 40)).T.astype(np.float64)
        points = (HEAD_MM @ turn)[:, :2] * rng.uniform(0.2, 4) + rng.normal(0, 4, (5, 2)) + rng.uniform(-500, 500, 2)
        across, down = (FIT @ (points - points.mean(0))).T
        scale = np.sqrt(np.linalg.norm(across) * np.linalg.norm(down))
        u, _, v = np.linalg.svd(np.stack([across / scale, down / scale, np.cross(across, down) / scale**2]))
        nearest = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        if nearest[2, 2] < 0.05:
            continue
        compared += 1
        roll = np.arctan2(-nearest[0, 1], nearest[1, 1])
        x = np.cos(roll) * nearest[0, 2] + np.sin(roll) * nearest[1, 2]
        y = -np.sin(roll) * nearest[0, 2] + np.cos(roll) * nearest[1, 2]
        expected = np.degrees([np.arctan2(x, nearest[2, 2]), np.arctan2(y, np.hypot(x, nearest[2, 2]))])
        assert head_angles(points.astype(np.float32)) == pytest.approx(tuple(expected), abs=0.01)
    assert compared > 300


def test_landmarks_on_a_line_or_mirrored_never_pass_as_a_frontal_face() -> None:
    line = np.array([[0, 0], [10, 10], [20, 20], [30, 30], [40, 40]], np.float32)
    assert head_angles(line) == (180.0, 180.0)
    assert head_angles(HEAD_MM[[1, 0, 2, 4, 3], :2].astype(np.float32)) == (180.0, 180.0)


def test_what_is_no_face_has_no_angles() -> None:
    assert head_angles(np.zeros((5, 2), np.float32)) is None
    assert head_angles(np.full((5, 2), np.nan, np.float32)) is None
    assert head_angles(np.zeros((4, 2), np.float32)) is None
