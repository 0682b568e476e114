"""Wrong camera addresses of a rig are reported before any camera is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.capture.check import check_cameras
from runtime.capture.open import SCHEMES, Scheme, check_camera
from runtime.config.rig import RigSettings
from runtime.core.errors import ConfigError
from runtime.core.values import Modality
from runtime.pairing.rig import Rig
from tests.support.images import encode

IR = "synthetic:"


@pytest.fixture(autouse=True)
def all_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check options as on a machine that has every package."""
    for name, scheme in SCHEMES.items():
        monkeypatch.setitem(SCHEMES, name, Scheme(scheme.module, scheme.what, scheme.example))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("v4l2:/dev/video98?size=640*480", "the option size must be a width and a height such as 640x480"),
        ("v4l2:/dev/video98?zoom=2", "v4l2 cameras have no option 'zoom'; the options are backlight"),
        ("v4l2:/dev/video98?fps=fast", "the option fps must be a number"),
        ("v4l2:/dev/video98?buffers=1", "the option buffers must be 2 or more"),
        ("v4l2:/dev/video98?exposure=-1", "the option exposure must be 0.1 or more"),
        ("v4l2:/dev/video98?fourcc=H264", "unsupported pixel format 'H264'; use one of GREY"),
        ("v4l2:/dev/video98?fourcc=GREY", "GREY does not give rgb; use MJPG"),
        ("v4l2:/dev/video98?fourcc=YUYV&bits=10", "bits applies to two-byte grey formats only, not to YUYV"),
        ("v4l2:/dev/video98?metadata=on", "metadata must be auto, off or a node"),
        ("v4l2:video98", "v4l2 needs a node"),
        ("v4l2:/etc/passwd", "/etc/passwd is not a device"),
        ("opencv:7?size=640*480", "the option size must be"),
        ("opencv:7?zoom=2", "opencv cameras have no option 'zoom'"),
        ("opencv:7?timeout=2", "opencv cameras have no option 'timeout'"),
        ("opencv:rtsp://host/stream?size=640x480", "opencv cameras have no option 'size'"),
        ("opencv:rtsp://", "not a network address"),
        ("opencv:rtsp://host:port/stream", "not a network address"),
        ("opencv:clip.mkv", "use file: for a video"),
        ("file:/absent.mkv", "no such file"),
        ("file:/etc/passwd?loop=yes", "the option loop must be one of 0, 1"),
        ("file:/etc/passwd?zoom=2", "file cameras have no option 'zoom'"),
        ("file:/etc/passwd?bits=7", "the option bits must be 8 or more"),
        ("gst:", "gst needs a pipeline"),
        ("gst:videotestsrc?zoom=2", "gst cameras have no option 'zoom'"),
        ("gst:videotestsrc?timeout=never", "the option timeout must be a number"),
        ("realsense:123?size=640*480", "the option size must be"),
        ("realsense:123?zoom=2", "realsense cameras have no option 'zoom'"),
        ("realsense:123?ir=3", "the option ir must be 2 or less"),
        ("realsense:123?align=yes", "the option align must be one of 0, 1"),
        ("mcap:/absent.mcap", "/absent.mcap"),
        ("mcap:/etc/passwd", "/etc/passwd"),
        ("mcap:/etc/passwd?zoom=2", "mcap cameras have no option 'zoom'"),
        ("synthetic:?size=640*480", "the option size must be"),
        ("synthetic:?size=16x16", "size must be"),
        ("synthetic:?zoom=2", "synthetic cameras have no option 'zoom'"),
        ("synthetic:?species=ghost", "unknown species 'ghost'"),
        ("synthetic:?script=explode@2s", "a script is event@SECONDSs"),
        ("synthetic:?fps=1000", "the option fps must be 240 or less"),
        ("synthetic:?strobe=3:1", "the option strobe must be one of"),
        ("synthetic:?metadata=yes", "the option metadata must be one of 0, 1"),
    ],
)
def test_a_wrong_address_is_named_with_its_setting(address: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_cameras({"rgb": address, "ir": IR})
    assert caught.value.message.startswith("rig.rgb: ")
    assert says in caught.value.message
    with pytest.raises(ConfigError, match=r"rig\.rgb"):
        Rig(RigSettings(rgb=address, ir=IR))


@pytest.mark.parametrize(
    ("address", "modality"),
    [(scheme.example, "rgb") for name, scheme in SCHEMES.items() if name not in ("file", "mcap")]
    + [
        ("v4l2:0?fourcc=mjpeg&size=1280x720&fps=29.97&exposure=auto&gain=3", "rgb"),
        ("v4l2:/dev/video98?fourcc=Y16&bits=10&metadata=/dev/video99&power_line=50", "ir"),
        ("realsense:123?ir=2&emitter=alternate", "ir"),
        ("synthetic:?species=bona_fide,replay_screen&presence=2s:6s&strobe=1:1&metadata=1", "ir"),
    ],
)
def test_a_good_address_is_taken(address: str, modality: Modality) -> None:
    assert check_camera(address, modality).text == address


def test_one_camera_is_not_two(tmp_path: Path) -> None:
    node, link = tmp_path / "video98", tmp_path / "by-id"
    link.symlink_to(node)
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture = encode(np.zeros((64, 64), np.uint8), ".png")
    (folder / "1.png").write_bytes(picture)
    for rgb, ir in (
        ("v4l2:/dev/video98", "v4l2:/dev/video98"),
        ("v4l2:/dev/video98?fourcc=YUYV", "v4l2:98?fourcc=GREY"),
        ("opencv:98", "v4l2:/dev/video98"),
        (f"v4l2:{node}", f"v4l2:{link}"),
        ("gst:nvarguscamerasrc ! appsink", "gst:nvarguscamerasrc  ! appsink"),
        (f"file:{folder}", f"file:{folder}/../pictures"),
    ):
        with pytest.raises(ConfigError, match=r"rig\.rgb and rig\.ir name the same camera.*Use another"):
            check_cameras({"rgb": rgb, "ir": ir})
    for rgb, ir in (
        ("v4l2:/dev/video97", "v4l2:/dev/video98"),
        ("realsense:123", "realsense:123"),
        ("gst:v4l2src device=/dev/video97", "gst:v4l2src device=/dev/video98"),
        (IR, IR),
    ):
        check_cameras({"rgb": rgb, "ir": ir})


def test_a_missing_package_is_said_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        SCHEMES, "gst", Scheme("runtime.capture.gstreamer", "a pipeline", "", "no_such_package", "apt x")
    )
    with pytest.raises(ConfigError, match=r"rig\.ir: gst:videotestsrc: a pipeline needs a package .*: apt x"):
        check_cameras({"rgb": IR, "ir": "gst:videotestsrc"})
