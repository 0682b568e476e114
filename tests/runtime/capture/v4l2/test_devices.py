"""The list of the kernel's cameras, and their names that survive renumbering."""

from __future__ import annotations

import errno
import os

import pytest

from runtime.capture.uri import parse_uri
from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.devices import list_devices
from runtime.capture.v4l2.kernel import LinuxKernel
from runtime.capture.v4l2.source import open_v4l2
from tests.support.fake_v4l2 import GREY, HELLO, META, FakeKernel, FakeNode


def laptop() -> FakeKernel:
    """Return a kernel with RGB and IR in one housing, each with a metadata node, a second camera owned by another user,
    and a decoder."""
    kernel = FakeKernel(
        {
            "/dev/video0": FakeNode(card="Integrated C", formats=HELLO),
            "/dev/video1": FakeNode(card="Integrated C", caps=META, formats={"UVCH": {}}),
            "/dev/video2": FakeNode(card="Integrated I", formats=GREY),
            "/dev/video3": FakeNode(card="Integrated I", caps=META, formats={"UVCM": {}}),
            "/dev/video8": FakeNode(card="Webcam", bus="usb-0000:00:14.0-4", formats=HELLO),
            "/dev/video9": FakeNode(card="Codec", bus="platform:codec", caps=abi.CAP_VIDEO_M2M | abi.CAP_STREAMING),
            "/dev/video10": FakeNode(),
        }
    )
    kernel.open_errors["/dev/video10"] = errno.EACCES
    kernel.by_id = {"usb-Webcam_77-video-index0": "/dev/video8", "usb-Integrated-video-index0": "/dev/video2"}
    kernel.by_port = {
        "pci-0000:00:14.0-usb-0:1:1.0-video-index0": "/dev/video0",
        "pci-0000:00:14.0-usb-0:1:1.2-video-index0": "/dev/video2",
        "pci-0000:00:14.0-usb-0:4:1.0-video-index0": "/dev/video8",
    }
    return kernel


def test_cameras_are_listed_with_what_they_offer_and_how_to_open_them() -> None:
    kernel = laptop()
    found = {d.path: d for d in list_devices(kernel)}
    assert list(found) == ["/dev/video0", "/dev/video2", "/dev/video8", "/dev/video10"]
    colour, infrared, webcam, denied = found.values()
    assert (colour.card, colour.driver, colour.kind, colour.modality) == ("Integrated C", "uvcvideo", "video", "rgb")
    assert str(colour.formats[0]) == "YUYV 640x360@30 640x480@30/15"
    assert (infrared.modality, infrared.metadata, colour.metadata) == ("ir", "/dev/video3", "/dev/video1")
    # Two cameras in one housing share its serial number, so only the USB port tells them apart.
    assert infrared.uri == "v4l2:/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.2-video-index0"
    assert webcam.uri == "v4l2:/dev/v4l/by-id/usb-Webcam_77-video-index0"
    assert parse_uri(webcam.uri).path == "/dev/v4l/by-id/usb-Webcam_77-video-index0"
    assert denied.problem_code == "camera_denied"
    assert "usermod" in denied.problem
    assert not kernel.by_fd, "listing leaves nothing open"


def test_a_camera_opened_by_its_link_has_its_identity_and_its_metadata() -> None:
    kernel = laptop()
    infrared = next(d for d in list_devices(kernel) if d.modality == "ir")
    source = open_v4l2(parse_uri(infrared.uri), "ir", 0, kernel=kernel)
    assert source.info.identity == infrared.identity
    assert kernel.by_path["/dev/video3"].streaming
    source.close()


def test_every_node_is_listed_when_asked_for() -> None:
    kinds = {d.path: d.kind for d in list_devices(laptop(), cameras_only=False)}
    assert len(kinds) == 7
    assert (kinds["/dev/video3"], kinds["/dev/video9"]) == ("metadata", "other")


def test_two_cameras_of_one_model_are_told_apart_by_their_sockets() -> None:
    kernel = FakeKernel(
        {"/dev/video0": FakeNode(card="Twin", bus="usb-1"), "/dev/video2": FakeNode(card="Twin", bus="usb-2")}
    )
    kernel.by_id = {"usb-Twin-video-index0": "/dev/video2"}
    kernel.by_port = {"port-1": "/dev/video0", "port-2": "/dev/video2"}
    assert [d.identity for d in list_devices(kernel)] == ["port-1", "port-2"]


def test_a_camera_without_links_is_called_by_what_it_says_of_itself() -> None:
    (device,) = list_devices(
        FakeKernel({"/dev/video0": FakeNode(driver="vivid", card="vivid", bus="platform:vivid-0")})
    )
    assert device.identity == "vivid:vivid:platform:vivid-0"
    assert device.uri == "v4l2:/dev/video0"


@pytest.mark.parametrize(("caps", "code"), [(abi.CAP_VIDEO_CAPTURE_MPLANE, "camera_unsupported")])
def test_board_cameras_are_listed_with_what_they_need(caps: int, code: str) -> None:
    (device,) = list_devices(FakeKernel({"/dev/video0": FakeNode(caps=caps)}))
    assert device.problem_code == code
    assert "gst:" in device.problem


def test_a_camera_that_goes_away_meanwhile_is_listed_with_that() -> None:
    (device,) = list_devices(FakeKernel({"/dev/video0": FakeNode(fail={"ENUM_FMT": errno.ENODEV})}))
    assert device.problem_code == "camera_lost"


def test_depth_formats_suggest_depth_and_unknown_ones_nothing() -> None:
    kernel = FakeKernel(
        {
            "/dev/video0": FakeNode(formats={"Z16": {(640, 480): (30.0,)}}),
            "/dev/video1": FakeNode(formats={"H264": {(640, 480): (30.0,)}}),
        }
    )
    assert [d.modality for d in list_devices(kernel)] == ["depth", None]


def test_this_machine_can_be_asked() -> None:
    list_devices(cameras_only=False)


def test_the_real_kernel_answers_as_the_interface_says() -> None:
    kernel = LinuxKernel()
    with pytest.raises(FileNotFoundError):
        kernel.open("/dev/video-that-is-not-there")
    fd = kernel.open("/dev/null")
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        kernel.ioctl(fd, abi.QUERYCAP, abi.Capability())
    kernel.close(fd)
    ready, write = kernel.waker()
    assert kernel.wait([ready], 0) == set()
    kernel.wake(write)
    assert kernel.wait([ready], 1) == {ready}
    for end in (ready, write):
        kernel.close(end)
    assert kernel.links("/dev/v4l/by-nothing") == {}
    assert kernel.parameter("no_such_module", "x") is None
    assert kernel.group_of("/dev/null") == "root"
    assert kernel.group_of("/dev/video-that-is-not-there") == "video"
    assert isinstance(kernel.holders(f"/proc/{os.getpid()}/exe"), list)


def test_memory_is_mapped_and_given_back(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "buffer")
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 32)
    kernel = LinuxKernel()
    fd = kernel.open(path)
    mapping = kernel.map(fd, 4096, 4096)
    assert mapping.view.tolist() == list(range(256)) * 16
    held = mapping.view[:4]
    mapping.close()
    assert held.tolist() == [0, 1, 2, 3], "memory with a live view stays mapped"
    kernel.close(fd)
