"""The kernel interface of Video4Linux2: structures, ioctl numbers and constants, for 64-bit Linux only.

Written from the documented interface (<linux/videodev2.h>, the same on x86_64 and aarch64). A test compares every size
and number with the output of a C compiler. 32-bit systems are not supported: they have two layouts, depending on the
size of the time type.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int32, c_int64, c_uint8, c_uint32, c_uint64


class Capability(ctypes.Structure):
    """struct v4l2_capability."""

    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class FmtDesc(ctypes.Structure):
    """struct v4l2_fmtdesc."""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class PixFormat(ctypes.Structure):
    """struct v4l2_pix_format."""

    _fields_ = (
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    )


class MetaFormat(ctypes.Structure):
    """struct v4l2_meta_format."""

    _fields_ = (("dataformat", c_uint32), ("buffersize", c_uint32))


class _Fmt(ctypes.Union):
    # The kernel's union contains a structure with pointers, so its alignment is eight bytes.
    _fields_ = (("pix", PixFormat), ("meta", MetaFormat), ("raw", c_uint8 * 200), ("align", c_uint64))


class Format(ctypes.Structure):
    """struct v4l2_format."""

    _fields_ = (("type", c_uint32), ("fmt", _Fmt))


class RequestBuffers(ctypes.Structure):
    """struct v4l2_requestbuffers."""

    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    )


class TimeVal(ctypes.Structure):
    """struct timeval."""

    _fields_ = (("tv_sec", c_int64), ("tv_usec", c_int64))


class _Memory(ctypes.Union):
    _fields_ = (("offset", c_uint32), ("userptr", c_uint64), ("fd", c_int32))


class Buffer(ctypes.Structure):
    """struct v4l2_buffer."""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("timestamp", TimeVal),
        ("timecode", c_uint32 * 4),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _Memory),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    )

    @property
    def timestamp_ns(self) -> int:
        """The driver's timestamp in nanoseconds. The flags say which clock it is on."""
        return int(self.timestamp.tv_sec) * 1_000_000_000 + int(self.timestamp.tv_usec) * 1000


class Fract(ctypes.Structure):
    """struct v4l2_fract."""

    _fields_ = (("numerator", c_uint32), ("denominator", c_uint32))


class FrmSize(ctypes.Structure):
    """struct v4l2_frmsizeenum. A discrete size uses the first two of the six numbers. Otherwise the six numbers are
    minimum, maximum and step of the width, then of the height."""

    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("size", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    )


class FrmIval(ctypes.Structure):
    """struct v4l2_frmivalenum. A discrete interval is in ``ival[0]``. Otherwise ``ival`` is the shortest, the longest
    and the step."""

    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("ival", Fract * 3),
        ("reserved", c_uint32 * 2),
    )


class CaptureParm(ctypes.Structure):
    """struct v4l2_captureparm."""

    _fields_ = (
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("timeperframe", Fract),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint32 * 4),
    )


class _Parm(ctypes.Union):
    _fields_ = (("capture", CaptureParm), ("raw", c_uint8 * 200))


class StreamParm(ctypes.Structure):
    """struct v4l2_streamparm."""

    _fields_ = (("type", c_uint32), ("parm", _Parm))


class QueryCtrl(ctypes.Structure):
    """struct v4l2_queryctrl."""

    _fields_ = (
        ("id", c_uint32),
        ("type", c_uint32),
        ("name", c_char * 32),
        ("minimum", c_int32),
        ("maximum", c_int32),
        ("step", c_int32),
        ("default_value", c_int32),
        ("flags", c_uint32),
        ("reserved", c_uint32 * 2),
    )


class QueryMenu(ctypes.Structure):
    """struct v4l2_querymenu."""

    _fields_ = (("id", c_uint32), ("index", c_uint32), ("name", c_char * 32), ("reserved", c_uint32))


class Control(ctypes.Structure):
    """struct v4l2_control."""

    _fields_ = (("id", c_uint32), ("value", c_int32))


def _ioc(direction: int, number: int, structure: type[ctypes._CData]) -> int:
    """_IOC of <asm-generic/ioctl.h> for the type 'V'."""
    return direction << 30 | ctypes.sizeof(structure) << 16 | ord("V") << 8 | number


_READ, _WRITE = 2, 1
QUERYCAP = _ioc(_READ, 0, Capability)
ENUM_FMT = _ioc(_READ | _WRITE, 2, FmtDesc)
S_FMT = _ioc(_READ | _WRITE, 5, Format)
REQBUFS = _ioc(_READ | _WRITE, 8, RequestBuffers)
QUERYBUF = _ioc(_READ | _WRITE, 9, Buffer)
QBUF = _ioc(_READ | _WRITE, 15, Buffer)
DQBUF = _ioc(_READ | _WRITE, 17, Buffer)
STREAMON = _ioc(_WRITE, 18, c_int32)
STREAMOFF = _ioc(_WRITE, 19, c_int32)
G_PARM = _ioc(_READ | _WRITE, 21, StreamParm)
S_PARM = _ioc(_READ | _WRITE, 22, StreamParm)
G_CTRL = _ioc(_READ | _WRITE, 27, Control)
S_CTRL = _ioc(_READ | _WRITE, 28, Control)
QUERYCTRL = _ioc(_READ | _WRITE, 36, QueryCtrl)
QUERYMENU = _ioc(_READ | _WRITE, 37, QueryMenu)
ENUM_FRAMESIZES = _ioc(_READ | _WRITE, 74, FrmSize)
ENUM_FRAMEINTERVALS = _ioc(_READ | _WRITE, 75, FrmIval)

CAP_VIDEO_CAPTURE = 0x1
CAP_VIDEO_CAPTURE_MPLANE = 0x1000
CAP_VIDEO_M2M_MPLANE = 0x4000
CAP_VIDEO_M2M = 0x8000
CAP_META_CAPTURE = 0x800000
CAP_STREAMING = 0x4000000
CAP_DEVICE_CAPS = 0x80000000

BUF_VIDEO = 1
BUF_META = 13
MEMORY_MMAP = 1
FIELD_ANY, FIELD_NONE = 0, 1

FLAG_ERROR = 0x40
CLOCK_MASK, CLOCK_UNKNOWN, CLOCK_MONOTONIC, CLOCK_COPY = 0xE000, 0x0, 0x2000, 0x4000
TSTAMP_SRC_MASK, TSTAMP_SRC_EOF, TSTAMP_SRC_SOE = 0x70000, 0x0, 0x10000

CAP_TIMEPERFRAME = 0x1000
SIZE_DISCRETE = 1

CTRL_DISABLED, CTRL_READ_ONLY, CTRL_VOLATILE = 0x1, 0x4, 0x80
CTRL_MENU, CTRL_INTEGER_MENU = 3, 9
CID_BRIGHTNESS = 0x980900
CID_AUTOGAIN = 0x980912
CID_GAIN = 0x980913
CID_POWER_LINE = 0x980918
CID_BACKLIGHT = 0x98091C
CID_EXPOSURE_AUTO = 0x9A0901
CID_EXPOSURE_ABSOLUTE = 0x9A0902
"""Exposure time in units of 100 microseconds."""
CID_EXPOSURE_PRIORITY = 0x9A0903
"""exposure_dynamic_framerate: whether automatic exposure may lower the frame rate."""
CID_PRIVACY = 0x9A0910
EXPOSURE_AUTO, EXPOSURE_MANUAL, EXPOSURE_APERTURE_PRIORITY = 0, 1, 3


def fourcc(name: str) -> int:
    """Return the number of a pixel format. ``name`` is padded with spaces to four characters."""
    return int.from_bytes(name.ljust(4).encode("ascii")[:4], "little")


def fourcc_name(number: int) -> str:
    """Return the name of a pixel format without padding, or a hexadecimal number if it is not printable."""
    raw = (number & 0x7FFFFFFF).to_bytes(4, "little")
    big_endian = "-BE" if number & 0x80000000 else ""
    return raw.decode("ascii").rstrip() + big_endian if all(32 <= c < 127 for c in raw) else f"0x{number:08x}"
