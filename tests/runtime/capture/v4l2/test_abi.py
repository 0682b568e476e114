"""The kernel's structures and numbers, compared with gcc's for <linux/videodev2.h> on x86_64. If a C compiler is
installed, it checks them again, also for aarch64 if it can."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.capture.v4l2 import abi

SIZES = {
    "v4l2_capability": (abi.Capability, 104),
    "v4l2_fmtdesc": (abi.FmtDesc, 64),
    "v4l2_pix_format": (abi.PixFormat, 48),
    "v4l2_meta_format": (abi.MetaFormat, 8),
    "v4l2_format": (abi.Format, 208),
    "v4l2_requestbuffers": (abi.RequestBuffers, 20),
    "v4l2_buffer": (abi.Buffer, 88),
    "v4l2_frmsizeenum": (abi.FrmSize, 44),
    "v4l2_frmivalenum": (abi.FrmIval, 52),
    "v4l2_captureparm": (abi.CaptureParm, 40),
    "v4l2_streamparm": (abi.StreamParm, 204),
    "v4l2_queryctrl": (abi.QueryCtrl, 68),
    "v4l2_querymenu": (abi.QueryMenu, 44),
    "v4l2_control": (abi.Control, 8),
}
IOCTLS = {
    "QUERYCAP": 0x80685600,
    "ENUM_FMT": 0xC0405602,
    "S_FMT": 0xC0D05605,
    "REQBUFS": 0xC0145608,
    "QUERYBUF": 0xC0585609,
    "QBUF": 0xC058560F,
    "DQBUF": 0xC0585611,
    "STREAMON": 0x40045612,
    "STREAMOFF": 0x40045613,
    "G_PARM": 0xC0CC5615,
    "S_PARM": 0xC0CC5616,
    "G_CTRL": 0xC008561B,
    "S_CTRL": 0xC008561C,
    "QUERYCTRL": 0xC0445624,
    "QUERYMENU": 0xC02C5625,
    "ENUM_FRAMESIZES": 0xC02C564A,
    "ENUM_FRAMEINTERVALS": 0xC034564B,
}
OFFSETS = {
    ("v4l2_format", "fmt"): (abi.Format.fmt.offset, 8),
    ("v4l2_buffer", "flags"): (abi.Buffer.flags.offset, 12),
    ("v4l2_buffer", "timestamp"): (abi.Buffer.timestamp.offset, 24),
    ("v4l2_buffer", "sequence"): (abi.Buffer.sequence.offset, 56),
    ("v4l2_buffer", "m"): (abi.Buffer.m.offset, 64),
    ("v4l2_buffer", "length"): (abi.Buffer.length.offset, 72),
    ("v4l2_frmsizeenum", "stepwise"): (abi.FrmSize.size.offset, 12),
    ("v4l2_frmivalenum", "discrete"): (abi.FrmIval.ival.offset, 20),
    ("v4l2_capability", "device_caps"): (abi.Capability.device_caps.offset, 88),
}
CONSTANTS = {
    "V4L2_CAP_VIDEO_CAPTURE": abi.CAP_VIDEO_CAPTURE,
    "V4L2_CAP_VIDEO_CAPTURE_MPLANE": abi.CAP_VIDEO_CAPTURE_MPLANE,
    "V4L2_CAP_VIDEO_M2M": abi.CAP_VIDEO_M2M,
    "V4L2_CAP_VIDEO_M2M_MPLANE": abi.CAP_VIDEO_M2M_MPLANE,
    "V4L2_CAP_META_CAPTURE": abi.CAP_META_CAPTURE,
    "V4L2_CAP_STREAMING": abi.CAP_STREAMING,
    "V4L2_CAP_DEVICE_CAPS": abi.CAP_DEVICE_CAPS,
    "V4L2_CAP_TIMEPERFRAME": abi.CAP_TIMEPERFRAME,
    "V4L2_BUF_TYPE_VIDEO_CAPTURE": abi.BUF_VIDEO,
    "V4L2_BUF_TYPE_META_CAPTURE": abi.BUF_META,
    "V4L2_MEMORY_MMAP": abi.MEMORY_MMAP,
    "V4L2_FIELD_NONE": abi.FIELD_NONE,
    "V4L2_BUF_FLAG_ERROR": abi.FLAG_ERROR,
    "V4L2_BUF_FLAG_TIMESTAMP_MASK": abi.CLOCK_MASK,
    "V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC": abi.CLOCK_MONOTONIC,
    "V4L2_BUF_FLAG_TIMESTAMP_COPY": abi.CLOCK_COPY,
    "V4L2_BUF_FLAG_TSTAMP_SRC_MASK": abi.TSTAMP_SRC_MASK,
    "V4L2_BUF_FLAG_TSTAMP_SRC_SOE": abi.TSTAMP_SRC_SOE,
    "V4L2_FRMSIZE_TYPE_DISCRETE": abi.SIZE_DISCRETE,
    "V4L2_CTRL_FLAG_DISABLED": abi.CTRL_DISABLED,
    "V4L2_CTRL_FLAG_READ_ONLY": abi.CTRL_READ_ONLY,
    "V4L2_CTRL_FLAG_VOLATILE": abi.CTRL_VOLATILE,
    "V4L2_CTRL_TYPE_MENU": abi.CTRL_MENU,
    "V4L2_CTRL_TYPE_INTEGER_MENU": abi.CTRL_INTEGER_MENU,
    "V4L2_CID_BRIGHTNESS": abi.CID_BRIGHTNESS,
    "V4L2_CID_AUTOGAIN": abi.CID_AUTOGAIN,
    "V4L2_CID_GAIN": abi.CID_GAIN,
    "V4L2_CID_POWER_LINE_FREQUENCY": abi.CID_POWER_LINE,
    "V4L2_CID_BACKLIGHT_COMPENSATION": abi.CID_BACKLIGHT,
    "V4L2_CID_EXPOSURE_AUTO": abi.CID_EXPOSURE_AUTO,
    "V4L2_CID_EXPOSURE_ABSOLUTE": abi.CID_EXPOSURE_ABSOLUTE,
    "V4L2_CID_EXPOSURE_AUTO_PRIORITY": abi.CID_EXPOSURE_PRIORITY,
    "V4L2_CID_PRIVACY": abi.CID_PRIVACY,
    "V4L2_EXPOSURE_MANUAL": abi.EXPOSURE_MANUAL,
    "V4L2_EXPOSURE_APERTURE_PRIORITY": abi.EXPOSURE_APERTURE_PRIORITY,
    "V4L2_PIX_FMT_Y10": abi.fourcc("Y10"),
    "V4L2_PIX_FMT_GREY": abi.fourcc("GREY"),
    "V4L2_PIX_FMT_MJPEG": abi.fourcc("MJPG"),
    "V4L2_PIX_FMT_Z16": abi.fourcc("Z16"),
}


def test_structures_have_the_kernels_sizes_and_ioctls_its_numbers() -> None:
    assert {n: ctypes.sizeof(s) for n, (s, _) in SIZES.items()} == {n: size for n, (_, size) in SIZES.items()}
    assert {n: getattr(abi, n) for n in IOCTLS} == IOCTLS
    assert [ours for ours, _ in OFFSETS.values()] == [kernels for _, kernels in OFFSETS.values()]


@pytest.mark.parametrize("compiler", ["gcc", "aarch64-linux-gnu-gcc"])
def test_a_compiler_agrees(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    claims = [f"sizeof(struct {name}) == {size}" for name, (_, size) in SIZES.items()]
    claims += [f"VIDIOC_{name} == {number}u" for name, number in IOCTLS.items()]
    claims += [f"offsetof(struct {s}, {member}) == {at}" for (s, member), (_, at) in OFFSETS.items()]
    claims += [f"{name} == {number}u" for name, number in CONSTANTS.items()]
    source = tmp_path / "abi.c"
    lines = "\n".join(f'_Static_assert({c}, "{c}");' for c in claims)
    headers = "#include <stddef.h>\n#include <linux/videodev2.h>\n"
    source.write_text(headers)
    if subprocess.run([compiler, "-fsyntax-only", source], capture_output=True, check=False).returncode:
        pytest.skip(f"{compiler} has no kernel headers")
    source.write_text(f"{headers}{lines}\n")
    checked = subprocess.run([compiler, "-fsyntax-only", source], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_names_of_pixel_formats() -> None:
    for name in ("GREY", "Y10", "MJPG", "YUYV"):
        assert abi.fourcc_name(abi.fourcc(name)) == name
    assert abi.fourcc_name(abi.fourcc("Y16") | 0x80000000) == "Y16-BE"
    assert abi.fourcc_name(7) == "0x00000007"
