"""Mapping of face boxes between cameras, checked on rigs with known geometry."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.capture.source import SourceInfo
from runtime.core.errors import CalibrationInvalid, ModalityMissing
from runtime.core.values import Box, Modality, Pair
from runtime.geometry.box_mapping import (
    CalibratedMapper,
    RigGeometry,
    ScaleMapper,
    depth_distance,
    face_distance,
    parallax,
    reproject_box,
)
from runtime.geometry.calibration_file import load_geometry, open_box_mapper, save_geometry
from tests.support.geometry.rigs import blank, camera, centre, depth_of_plane, face, rig

Z = st.floats(350, 1000)
WAYS: list[tuple[Modality, Modality]] = [("rgb", "ir"), ("ir", "rgb")]
ACROSS = st.tuples(st.floats(-0.22, 0.22), st.floats(-0.12, 0.12))


def error_px(found: Box, true: Box) -> float:
    return float(np.hypot(*(centre(found) - centre(true))))


@settings(deadline=None)
@given(z=Z, across=ACROSS, way=st.sampled_from(WAYS))
def test_at_a_known_distance_a_box_is_where_the_other_camera_sees_it(
    z: float, across: tuple[float, float], way: tuple[Modality, Modality]
) -> None:
    geometry = rig()
    source, target = (geometry.cameras[m] for m in way)
    point = (across[0] * z, across[1] * z, z)
    seen = source.rotation @ np.array(point) + source.translation
    found = reproject_box(face(source, point), source, target, float(seen[2]))
    assert found is not None
    true = face(target, point)
    assert error_px(found, true) < 0.5
    # A plane that faces one camera is turned by one degree relative to the other.
    assert found.w == pytest.approx(true.w, rel=0.01)
    assert found.h == pytest.approx(true.h, rel=0.01)


@settings(deadline=None)
@given(z=Z, across=ACROSS)
def test_by_face_width_a_face_of_150_mm_is_placed_within_2_percent_of_it(z: float, across: tuple[float, float]) -> None:
    geometry = rig()
    point = (across[0] * z, across[1] * z, z)
    for source, target in WAYS:
        true = face(geometry.cameras[target], point)
        found = CalibratedMapper(geometry).map_box(
            face(geometry.cameras[source], point),
            source,
            target,
            blank(geometry),
        )
        assert found is not None
        assert found.by == "face_width"
        assert found.distance_mm == pytest.approx(z, rel=0.02)
        assert error_px(found.box, true) <= 0.02 * true.w


@pytest.mark.parametrize("wrong", [-0.10, 0.10])
@pytest.mark.parametrize("z", [350.0, 500.0, 1000.0])
def test_a_face_of_another_width_is_off_by_baseline_over_width(z: float, wrong: float) -> None:
    """The error is f·b/Z·ε pixels, or b/150·ε of the face at any distance: 1.7 % for b = 25 mm and ε = 10 %."""
    geometry = rig(distortion=False)
    width = 150 * (1 + wrong)
    found = CalibratedMapper(geometry).map_box(
        face(geometry.cameras["rgb"], (0, 0, z), width), "rgb", "ir", blank(geometry)
    )
    assert found is not None
    true = face(geometry.cameras["ir"], (0, 0, z), width)
    off = error_px(found.box, true)
    assert off / true.w == pytest.approx(25 / 150 * 0.10, rel=0.15)
    # The tolerance is two standard deviations, and this face is off by one.
    assert found.tolerance_px is not None
    assert 0.35 * found.tolerance_px < off < 0.65 * found.tolerance_px


def test_one_fixed_distance_is_worse_than_the_face_width() -> None:
    geometry = rig()
    rgb, ir = geometry.cameras["rgb"], geometry.cameras["ir"]
    point = (0.0, 0.0, 1000.0)
    fixed = reproject_box(face(rgb, point), rgb, ir, 500.0)
    assert fixed is not None
    true = face(ir, point)
    assert error_px(fixed, true) / true.w > 0.15


@settings(deadline=None, max_examples=25)
@given(z=Z, across=ACROSS, width=st.floats(0.6, 1.4))
def test_depth_from_a_third_viewpoint_places_a_face_of_any_width(
    z: float, across: tuple[float, float], width: float
) -> None:
    geometry = rig(depth=True)
    point = (across[0] * z, across[1] * z, z)
    pair = dataclasses.replace(blank(geometry), depth=depth_of_plane(geometry, z))
    found = CalibratedMapper(geometry).map_box(face(geometry.cameras["rgb"], point, 150 * width), "rgb", "ir", pair)
    assert found is not None
    assert found.by == "depth"
    assert error_px(found.box, face(geometry.cameras["ir"], point, 150 * width)) < 0.5


def test_parallax_is_what_a_wrong_distance_costs() -> None:
    geometry = rig(distortion=False)
    rgb, ir = geometry.cameras["rgb"], geometry.cameras["ir"]
    box = face(rgb, (0, 0, 500))
    across, down = parallax(box, rgb, ir, 500)
    assert across == pytest.approx(-560 * 25 / 500, rel=0.03)
    assert abs(down) < 2
    right, wrong = reproject_box(box, rgb, ir, 500), reproject_box(box, rgb, ir, 500 / 1.1)
    assert right is not None
    assert wrong is not None
    assert centre(wrong)[0] - centre(right)[0] == pytest.approx(0.1 * across, rel=0.01)


def test_depth_is_also_a_target_and_a_source() -> None:
    geometry = rig(depth=True)
    point = (30.0, -20.0, 600.0)
    pair = dataclasses.replace(blank(geometry), depth=depth_of_plane(geometry, 600))
    ways: list[tuple[Modality, Modality]] = [("rgb", "depth"), ("ir", "depth"), ("depth", "rgb")]
    for source, target in ways:
        found = CalibratedMapper(geometry).map_box(
            face(geometry.cameras[source], point, 130),
            source,
            target,
            pair,
        )
        assert found is not None
        assert found.by == "depth"
        assert error_px(found.box, face(geometry.cameras[target], point, 130)) < 0.5


def test_a_depth_map_with_holes_or_nonsense_is_not_read() -> None:
    geometry = rig(depth=True)
    rgb, depth = geometry.cameras["rgb"], geometry.cameras["depth"]
    box = face(rgb, (0, 0, 600))
    plane = depth_of_plane(geometry, 600)
    some = np.where(np.random.default_rng(0).uniform(size=plane.shape) < 0.5, plane, 0).astype(np.float32)
    assert depth_distance(box, rgb, depth, some, 800) == pytest.approx(600, rel=0.01)
    few = np.where(np.random.default_rng(0).uniform(size=plane.shape) < 0.1, plane, 0).astype(np.float32)
    for bad in (few, plane * 0, plane * np.float32(np.nan), plane * 100):
        assert depth_distance(box, rgb, depth, bad.astype(np.float32), 600) is None
        pair = dataclasses.replace(blank(geometry), depth=bad.astype(np.float32))
        found = CalibratedMapper(geometry).map_box(box, "rgb", "ir", pair)
        assert found is not None
        assert found.by == "face_width"


def test_the_way_back_ends_where_it_began() -> None:
    geometry = rig()
    box = Box(250, 160, 170, 170)
    there = CalibratedMapper(geometry).map_box(box, "rgb", "ir", blank(geometry))
    assert there is not None
    back = CalibratedMapper(geometry).map_box(there.box, "ir", "rgb", blank(geometry))
    assert back is not None
    assert error_px(back.box, box) < 0.5


def test_a_camera_turned_about_its_axis_does_not_widen_the_box() -> None:
    geometry = rig(distortion=False)
    turned = camera("x", (640, 480), 600, turn_deg=(0, 0, 20))
    box = Box(270, 180, 100, 100)
    found = reproject_box(box, geometry.cameras["rgb"], turned, 600)
    assert found is not None
    assert found.w == pytest.approx(100, rel=0.01)


def test_what_cannot_be_placed_is_not_placed() -> None:
    geometry = rig()
    box_mapper = CalibratedMapper(geometry)
    pair = blank(geometry)
    assert box_mapper.map_box(Box(300, 200, 0, 0), "rgb", "ir", pair) is None
    assert box_mapper.map_box(Box(300, 200, 0.5, 0.5), "rgb", "ir", pair) is None  # further away than any face
    assert math.isinf(face_distance(Box(3, 3, 0, 0), geometry.cameras["rgb"]))
    with_depth = Pair(rgb=pair.rgb, ir=pair.ir, depth=np.zeros((240, 320, 1), np.float32))
    assert box_mapper.map_box(Box(300, 200, 90, 90), "rgb", "depth", with_depth) is None  # not in the geometry
    with pytest.raises(ModalityMissing):
        box_mapper.map_box(Box(300, 200, 90, 90), "rgb", "depth", pair)
    behind = rig()
    cameras = {**behind.cameras, "ir": dataclasses.replace(behind.cameras["ir"], translation=np.array([0, 0, -900.0]))}
    assert (
        CalibratedMapper(dataclasses.replace(behind, cameras=cameras)).map_box(
            Box(300, 200, 150, 150), "rgb", "ir", pair
        )
        is None
    )


def test_pictures_of_another_size_are_refused() -> None:
    geometry = rig()
    pair = blank(geometry)
    small = dataclasses.replace(pair, ir=np.zeros((200, 320, 1), np.uint8))
    with pytest.raises(CalibrationInvalid, match="ir images of 640×400 pixels, not 320×200"):
        CalibratedMapper(geometry).map_box(Box(300, 200, 90, 90), "rgb", "ir", small)
    with_depth = rig(depth=True)
    wrong = dataclasses.replace(blank(with_depth), depth=np.zeros((10, 10, 1), np.float32))
    with pytest.raises(CalibrationInvalid, match="depth of 320×240 pixels, not 10×10"):
        CalibratedMapper(with_depth).map_box(Box(300, 200, 90, 90), "rgb", "ir", wrong)


def test_without_a_calibration_pictures_of_one_shape_are_taken_as_one_view() -> None:
    rgb, ir = np.zeros((480, 640, 3), np.uint8), np.zeros((240, 320, 1), np.uint8)
    found = ScaleMapper().map_box(Box(100, 80, 60, 60), "rgb", "ir", Pair(rgb=rgb, ir=ir))
    assert found is not None
    assert (found.box, found.by, found.tolerance_px) == (Box(50, 40, 30, 30), "scale", None)
    other = Pair(rgb=rgb, ir=np.zeros((400, 640, 1), np.uint8))
    assert ScaleMapper().map_box(Box(100, 80, 60, 60), "rgb", "ir", other) is None


def info(modality: Modality, identity: str, size: tuple[int, int]) -> SourceInfo:
    uri = f"v4l2:/dev/{modality}"
    return SourceInfo(modality, uri, identity, "v4l2", *size, "GREY", 30.0, "kernel_soe")


def open_cameras() -> dict[Modality, SourceInfo]:
    return {"rgb": info("rgb", "usb-1-rgb", (640, 480)), "ir": info("ir", "usb-1-ir", (640, 400))}


def same(a: RigGeometry, b: RigGeometry) -> bool:
    return all(
        np.array_equal(getattr(a.cameras[m], f.name), getattr(b.cameras[m], f.name))
        for m in a.cameras
        for f in dataclasses.fields(a.cameras[m])
    )


def test_a_geometry_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    geometry = rig(depth=True)
    path = tmp_path / "rig.json"
    save_geometry(geometry, path)
    found = load_geometry(path)
    assert same(found, geometry)
    assert (found.rms_px, found.held_out_px, found.views, found.date) == (0.2, 0.1, 20, geometry.date)
    assert [p.name for p in tmp_path.iterdir()] == ["rig.json"]
    assert isinstance(open_box_mapper(path, open_cameras()), CalibratedMapper)
    assert isinstance(open_box_mapper(None, open_cameras()), ScaleMapper)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"rms_px": float("nan")}, "rms_px"),
        ({"date": "yesterday"}, "date"),
        ({"extra": 1}, "extra"),
        ({"cameras": {}}, "cameras"),
        ({"cameras.ir.identity": ""}, "cameras.ir.identity"),
        ({"cameras.ir.focal": [0, 500]}, "cameras.ir.focal"),
        ({"cameras.ir.centre": [9000, 3]}, "centre lies outside"),
        ({"cameras.ir.rotation": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, "not a rotation matrix"),
        ({"cameras.ir.rotation": [[1, 0, 0], [0, 1, 0], [0, 0.1, 1]]}, "not a rotation matrix"),
        ({"cameras.ir.translation_mm": [-25000, 0, 0]}, "translation_mm"),
        ({"cameras.ir.distortion": [-3, 0, 0, 0, 0]}, "folds over"),
        ({"cameras.nir": {}}, "cameras.nir"),
    ],
)
def test_a_damaged_file_is_refused_by_its_field(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "rig.json"
    save_geometry(rig(), path)
    content = json.loads(path.read_text())
    for key, value in change.items():
        at = content
        *way, last = key.split(".")
        for step in way:
            at = at[step]
        at[last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationInvalid, match=says) as caught:
        load_geometry(path)
    assert str(path) in str(caught.value)
    assert "adsn-calib rig" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b" " * (2 << 20)])
def test_what_is_no_geometry_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rig.json"
    path.write_bytes(content)
    with pytest.raises(CalibrationInvalid, match=r"rig\.json"):
        load_geometry(path)
    with pytest.raises(CalibrationInvalid, match="No such file"):
        load_geometry(tmp_path / "none.json")


def test_a_geometry_that_no_rig_has_is_not_written(tmp_path: Path) -> None:
    bad = dataclasses.replace(rig(), rms_px=math.nan)
    with pytest.raises(CalibrationInvalid, match="rms_px"):
        save_geometry(bad, tmp_path / "rig.json")
    assert not list(tmp_path.iterdir())


def test_other_cameras_than_the_calibrated_ones_are_refused() -> None:
    geometry = rig()
    geometry.require_cameras(open_cameras(), "rig.json")
    changes: list[tuple[dict[Modality, SourceInfo], str]] = [
        ({"ir": info("ir", "usb-2-ir", (640, 400))}, r"rig\.json: cameras\.ir\.identity is 'usb-1-ir'.*'usb-2-ir'"),
        ({"ir": info("ir", "usb-1-ir", (640, 480))}, "640×400 pixels, but v4l2:/dev/ir delivers 640×480"),
    ]
    for change, says in changes:
        with pytest.raises(CalibrationInvalid, match=says):
            geometry.require_cameras({**open_cameras(), **change}, "rig.json")
    depth: dict[Modality, SourceInfo] = {"depth": info("depth", "tof", (320, 240))}
    geometry.require_cameras({**open_cameras(), **depth}, "rig.json")
    with pytest.raises(CalibrationInvalid, match=r"cameras\.depth is missing"):
        geometry.require_cameras({"rgb": open_cameras()["rgb"], **depth}, "rig.json")
