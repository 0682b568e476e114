"""The V4L2 reader on a real kernel. The machine is booted once for all tests; `guest` runs in it. See also
docs/cameras.md.

The timestamp of the simulated camera is the planned end of a frame, about 29 ms after the frame was delivered, so no
test requires that a frame is captured before it arrives. An emulated CPU is slow, so no test measures speed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.machines.vm_kernel import cache_folder, missing_programs
from tests.v4l2_vm import machine

pytestmark = [pytest.mark.v4l2_vm, pytest.mark.timeout(600)]
Results = dict[str, dict[str, Any]]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def results() -> Results:
    missing = missing_programs()
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    found = {r["check"]: r for r in machine.run(REPOSITORY, cache_folder(), 500)}
    for name, result in found.items():
        assert "failed" not in result, f"{name}: {result['failed']}"
    return found


def test_cameras_are_told_from_other_nodes(results: Results) -> None:
    nodes = results["listing"]["nodes"]
    assert [n[1] for n in nodes] == ["video", "other", "metadata", "other"] * 2
    assert [n[3] for n in nodes if n[1] == "video"] == ["/dev/video2", "/dev/video6"]
    assert "640x480@25/15/12.5/10/5/4/2/1" in results["listing"]["formats"]["GREY"]


@pytest.mark.parametrize("name", ["GREY", "Y10", "Y12", "Y16", "YUYV", "UYVY", "NV12", "RGB3", "BGR3"])
def test_every_format_shows_the_same_picture(results: Results, name: str) -> None:
    found = results["formats"][name]
    assert found["shape"] == [480, 640, 1 if name in ("GREY", "Y10", "Y12", "Y16") else 3]
    assert found["dtype"] == "uint8"
    assert found["max"] > 150
    assert found.get("median_difference", 0) <= 3


def test_stamps_are_the_drivers_and_say_which_end_they_mark(results: Results) -> None:
    end, start = results["times"]["end"], results["times"]["start"]
    assert (end["info"], end["sources"]) == ("kernel_eof", ["kernel_eof"])
    assert (start["info"], start["sources"]) == ("kernel_soe", ["kernel_soe"])
    assert end["frames"] == start["frames"] == 40


def test_stamps_of_another_clock_give_way_to_the_arrival(results: Results) -> None:
    assert set(results["wrapped_times"]["sources"]) == {"arrival"}
    assert results["wrapped_times"]["info"] == "arrival"


def test_sequence_numbers_go_on_beyond_32_bits(results: Results) -> None:
    found = results["wrapped_sequence"]
    assert found["first"] < 2**32 < found["last"]
    assert found["rising"]


def test_dropped_frames_are_gaps_in_the_sequence(results: Results) -> None:
    assert results["dropped_frames"]["frames"] == 60
    assert results["dropped_frames"]["gaps"] > 0


def test_a_damaged_frame_is_an_error_and_the_next_ones_come(results: Results) -> None:
    read = results["damaged_frame"]["read"]
    wrong = [r for r in read if r != "frame"]
    assert len(wrong) == 1
    assert wrong[0].startswith("CameraData: /dev/video0 (vivid): the driver marks frame")
    assert read[-1] == "frame"


def test_a_camera_in_use_is_busy_and_goes_on(results: Results) -> None:
    assert results["busy"]["again"]["error"] == results["busy"]["same"]["error"] == "CameraBusy"
    assert results["busy"]["still"] == 2


def test_errors_of_the_driver_leave_a_camera_that_opens_again(results: Results) -> None:
    found = results["injected_errors"]
    for name in ("Inject VIDIOC_STREAMON Error", "Inject VIDIOC_REQBUFS Error"):
        assert found[name]["error"] == "CameraUnsupported"
        assert found[f"after {name}"] == 2


@pytest.mark.parametrize(
    ("case", "error", "told"),
    [
        ("absent", "CameraMissing", "Existing nodes: /dev/video0"),
        ("size", "CameraUnsupported", "no GREY of 500x500"),
        ("format", "CameraUnsupported", "has no MJPG. It offers YUYV"),
        ("output", "CameraUnsupported", "is not a camera"),
        ("metadata", "CameraUnsupported", "delivers metadata"),
        ("no illumination", "CameraUnsupported", "it delivers"),
        ("no such control", "CameraUnsupported", "exposure=10"),
        ("denied", "CameraDenied", "usermod -aG"),
    ],
)
def test_what_is_refused_and_why(results: Results, case: str, error: str, told: str) -> None:
    found = results["refusals"][case]
    assert found["error"] == error
    assert told in found["message"]


def test_controls_reach_the_camera(results: Results) -> None:
    means = results["brightness"]["means"]
    assert means["200"][-1] > means["128"][-1] + 20
    assert "takes 0 to 255" in results["brightness"]["out of range"]["message"]


def test_close_ends_a_read_that_waits(results: Results) -> None:
    found = results["close_ends_a_read"]
    assert not found["alive"]
    assert found["result"] == [True]


def test_two_cameras_at_once(results: Results) -> None:
    assert results["two_cameras"]["/dev/video0"][:2] == [30, [360, 640, 3]]
    assert results["two_cameras"]["/dev/video4"][:2] == [30, [360, 640, 1]]


@pytest.mark.parametrize("name", ["GREY ir", "Y16 ir", "YUYV ir", "YUYV rgb"])
def test_opencv_reads_the_same_camera_with_the_kernels_times(results: Results, name: str) -> None:
    found = results["opencv"][name]
    assert found["shape"] == [360, 640, 3 if name.endswith("rgb") else 1]
    assert (found["dtype"], found["source"]) == ("uint8", "kernel_eof")
    assert found["max"] > 150
    assert found["info"] == name.split()[0]


def test_a_rig_of_two_cameras_forms_pairs(results: Results) -> None:
    assert results["rig"]["pairs"] == 20, results["rig"]
    assert results["rig"]["states"] == ["running", "running"]


def test_nothing_stays_open(results: Results) -> None:
    found = results["nothing_stays_open"]
    assert found["before"] == found["after"]
    assert found["mapped"] == 0


def test_an_unplugged_camera_is_lost_and_opens_again_when_it_is_back(results: Results) -> None:
    found = results["unplugged"]
    assert found["error"] == "CameraLost"
    assert "unplugged" in found["message"]
    # The simulated camera reconnects once no program has it open.
    assert found["reopened"]["error"] == "", found["reopened"]
