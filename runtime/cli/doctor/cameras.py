"""``adsn-doctor``'s checks of cameras, clocks and USB buses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.capture.v4l2.devices import list_devices
from runtime.capture.v4l2.kernel import Kernel, LinuxKernel
from runtime.cli.doctor.report import Diagnosis

CLOCKSOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
SLOW_CLOCKS = ("acpi_pm", "hpet", "jiffies", "refined-jiffies")
PERIODIC = 0.8
"""Fraction of a high-speed microframe that is available to isochronous transfers such as camera streams (USB 2.0,
5.6.4)."""
ONE_STREAM = 3 * 1024 * 8000
"""Maximum bytes/s of one high-bandwidth endpoint at high speed: three transactions of 1024 bytes per microframe."""
BYTES_PER_PIXEL = {
    "GREY": 1.0, "Y8": 1.0, "BA81": 1.0, "GRBG": 1.0, "RGGB": 1.0, "YUYV": 2.0, "UYVY": 2.0, "Y10": 2.0, "Y12": 2.0,
    "Y16": 2.0, "Z16": 2.0, "NV12": 1.5, "YU12": 1.5, "RGB3": 3.0, "BGR3": 3.0, "MJPG": 0.35, "JPEG": 0.35, "H264": 0.1,
}  # fmt: skip
"""Bytes per pixel of each format. The values for compressed formats are generous estimates."""


@dataclass(frozen=True, slots=True)
class UsbStream:
    """Load of one camera on its bus. ``mbit``: speed of the bus in Mbit/s, 480 for USB 2."""

    name: str
    bus: str
    mbit: float
    bytes_per_s: float


def camera_diagnoses(kernel: Kernel | None = None) -> list[Diagnosis]:
    """Return one line for each V4L2 camera: its description, or why it cannot be used."""
    devices = list_devices(kernel)
    if not devices:
        return [Diagnosis("ok", "cameras", "no /dev/video*; cameras of other kinds appear only when opened.")]
    diagnoses = []
    for device in devices:
        if device.problem:
            denied = device.problem_code == "camera_denied"
            diagnoses.append(Diagnosis("fail" if denied else "warn", device.path, device.problem))
        else:
            what = " ".join(filter(None, (device.card, device.modality or "")))
            diagnoses.append(Diagnosis("ok", device.path, f"{what}: {device.uri}"))
    return diagnoses


def clock_diagnoses(kernel: Kernel | None = None, clocksource: Path = CLOCKSOURCE) -> list[Diagnosis]:
    """Check that frame times can be compared.

    This depends on the clock of the machine and on the clock of the timestamps of USB cameras.
    """
    diagnoses = []
    try:
        name = clocksource.read_text().strip()
    except OSError:
        name = ""
    if name in SLOW_CLOCKS:
        detail = f"the kernel uses {name}, which is slow and coarse; look for 'tsc' in the kernel's messages."
        diagnoses.append(Diagnosis("warn", "clock", detail))
    else:
        diagnoses.append(Diagnosis("ok", "clock", f"CLOCK_MONOTONIC from {name or 'an unnamed source'}"))
    timestamp = (kernel or LinuxKernel()).parameter("uvcvideo", "clock")
    if timestamp is not None:
        if "MONOTONIC" in timestamp.upper():
            diagnoses.append(Diagnosis("ok", "USB cameras' clock", "CLOCK_MONOTONIC, as used for pairing"))
        else:
            diagnoses.append(
                Diagnosis(
                    "fail",
                    "USB cameras' clock",
                    f"the module uvcvideo uses {timestamp} for timestamps. Put 'options uvcvideo "
                    "clock=CLOCK_MONOTONIC' into /etc/modprobe.d/uvcvideo.conf and reload the module.",
                )
            )
    return diagnoses


def bytes_per_second(width: int, height: int, pixel_format: str, fps: float | None) -> float:
    """Return the bytes/s of a stream on its bus. Unknown formats count as 2 bytes per pixel, unknown rates as 30
    frames/s."""
    return width * height * BYTES_PER_PIXEL.get(pixel_format.strip(), 2.0) * (fps or 30.0)


def usb_stream(name: str, device: Path, bytes_per_s: float) -> UsbStream | None:
    """Return the load of a video node on its USB bus, or None if it is not a USB device.

    ``device``: folder in sysfs, such as /sys/class/video4linux/video0/device, which is an interface of the USB device.
    """
    try:
        above = device.resolve(strict=True).parent
        return UsbStream(
            name,
            f"USB bus {(above / 'busnum').read_text().strip()}",
            float((above / "speed").read_text()),
            bytes_per_s,
        )
    except (OSError, ValueError):
        return None


def bandwidth_diagnoses(streams: Sequence[UsbStream]) -> list[Diagnosis]:
    """Check that each USB bus has the bandwidth for its streams. A bus of at least 5 Gbit/s always has enough for the
    cameras of a rig."""
    diagnoses = []
    for bus in sorted({stream.bus for stream in streams}):
        on_it = [stream for stream in streams if stream.bus == bus]
        total = sum(stream.bytes_per_s for stream in on_it)
        mbit = min(stream.mbit for stream in on_it)
        names = ", ".join(f"{s.name} {s.bytes_per_s / 1e6:.1f} MB/s" for s in on_it)
        room = mbit / 8 * 1e6 * PERIODIC
        fix = "Use MJPEG for RGB, a smaller size or a lower frame rate, or plug one camera into another controller."
        if total > room:
            detail = f"{names}: together more than the {room / 1e6:.0f} MB/s of the bus. {fix}"
            diagnoses.append(Diagnosis("fail", bus, detail))
        elif mbit <= 480 and max(s.bytes_per_s for s in on_it) > ONE_STREAM:
            detail = f"{names}: at this speed one stream carries at most {ONE_STREAM / 1e6:.1f} MB/s. {fix}"
            diagnoses.append(Diagnosis("fail", bus, detail))
        elif total > 0.8 * room:
            diagnoses.append(Diagnosis("warn", bus, f"{names}: nearly all of {room / 1e6:.0f} MB/s is used. {fix}"))
        else:
            diagnoses.append(Diagnosis("ok", bus, f"{names} of {room / 1e6:.0f} MB/s"))
    return diagnoses
