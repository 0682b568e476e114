"""No shape of an upload exceeds the stated memory and time: see ``shape_probe``."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.images import encode, rgb_file, textured
from tests.support.service.running_service import RunningService

MOST_MIB, MOST_SECONDS = 64.0, 1.0


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_an_upload_of_any_shape_is_bounded_in_memory_and_time() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.service.shape_probe", "120"], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["mib"] <= MOST_MIB, found["mib_of"]
    assert found["seconds"] <= MOST_SECONDS, found["seconds_of"]
    # The measurement needs both accepted and refused uploads.
    assert found["statuses"].get("200", 0) >= 10, found["statuses"]
    assert found["statuses"].get("422", 0) >= 10, found["statuses"]
    assert set(found["statuses"]) <= {"200", "413", "422"}, found["statuses"]


@pytest.mark.parametrize("height", [20_000, 200_000])
@pytest.mark.parametrize("meta", [b"", b'{"face_box": [200, 120, 200, 200]}', b'{"face_box": [0, 0, 640, 480]}'])
def test_a_strip_of_pixels_is_no_camera_s_picture(service: RunningService, height: int, meta: bytes) -> None:
    strip = encode(textured(90, (height, 4)), ".png")
    files = {"rgb": rgb_file(), "ir": strip} | ({"meta": meta} if meta else {})
    response = service.judge(files)
    assert (response.status_code, response.json()["code"]) == (422, "wrong_shape")
    assert f"4×{height}" in response.json()["detail"]


def test_two_pictures_that_no_rig_took(service: RunningService) -> None:
    files = {"rgb": rgb_file(), "ir": encode(textured(180, (1900, 500)), ".png")}
    response = service.judge({**files, "meta": b'{"face_box": [200, 120, 200, 200]}'})
    assert (response.status_code, response.json()["code"]) == (422, "wrong_shape")
    assert "not of one rig" in response.json()["detail"]


def test_pictures_that_are_too_much_together(service: RunningService) -> None:
    large = encode(textured(120, (3000, 4000, 3)), ".jpg")
    response = service.judge({"rgb": large, "ir": encode(textured(180, (480, 640)), ".png")})
    assert (response.status_code, response.json()["code"]) == (413, "image_too_large")
    assert "56 accepted" in response.json()["detail"]
