"""What ``adsn-doctor`` says of the machine's cameras, its clocks and the buses between."""

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
"""Of a high-speed microframe, what isochronous transfers may take (USB 2.0, 5.6.4); cameras' streams are such."""
ONE_STREAM = 3 * 1024 * 8000
"""Bytes a second of one high-bandwidth endpoint at high speed: three transactions of 1024 bytes a microframe."""
BYTES_PER_PIXEL = {
    "GREY": 1.0, "Y8": 1.0, "BA81": 1.0, "GRBG": 1.0, "RGGB": 1.0, "YUYV": 2.0, "UYVY": 2.0, "Y10": 2.0, "Y12": 2.0,
    "Y16": 2.0, "Z16": 2.0, "NV12": 1.5, "YU12": 1.5, "RGB3": 3.0, "BGR3": 3.0, "MJPG": 0.35, "JPEG": 0.35, "H264": 0.1,
}  # fmt: skip
"""Of compressed formats: a generous estimate."""


@dataclass(frozen=True, slots=True)
class UsbStream:
    """What a camera sends over its bus. ``bus``: which one; ``mbit``: its speed, 480 for USB 2."""

    name: str
    bus: str
    mbit: float
    bytes_per_s: float


def camera_diagnoses(kernel: Kernel | None = None) -> list[Diagnosis]:
    """One line for each camera of the kernel: what it is, or why it cannot be used."""
    devices = list_devices(kernel)
    if not devices:
        return [Diagnosis("ok", "cameras", "no /dev/video*; cameras of other kinds show when they are opened.")]
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
    """Whether times of frames can be compared: the machine's clock, and the one that USB cameras are stamped with."""
    diagnoses = []
    try:
        name = clocksource.read_text().strip()
    except OSError:
        name = ""
    if name in SLOW_CLOCKS:
        detail = f"the kernel reads {name}, which is slow and coarse; look for 'tsc' in the kernel's messages."
        diagnoses.append(Diagnosis("warn", "clock", detail))
    else:
        diagnoses.append(Diagnosis("ok", "clock", f"CLOCK_MONOTONIC from {name or 'an unnamed source'}"))
    timestamp = (kernel or LinuxKernel()).parameter("uvcvideo", "clock")
    if timestamp is not None:
        if "MONOTONIC" in timestamp.upper():
            diagnoses.append(Diagnosis("ok", "USB cameras' clock", "CLOCK_MONOTONIC, the one that pairs are made by"))
        else:
            diagnoses.append(
                Diagnosis(
                    "fail",
                    "USB cameras' clock",
                    f"the module uvcvideo stamps frames with {timestamp}. Put 'options uvcvideo clock=CLOCK_MONOTONIC' "
                    "into /etc/modprobe.d/uvcvideo.conf and load it anew.",
                )
            )
    return diagnoses


def bytes_per_second(width: int, height: int, pixel_format: str, fps: float | None) -> float:
    """What a stream of pictures takes on its bus; two bytes a pixel and 30 frames a second where it is not known."""
    return width * height * BYTES_PER_PIXEL.get(pixel_format.strip(), 2.0) * (fps or 30.0)


def usb_stream(name: str, device: Path, bytes_per_s: float) -> UsbStream | None:
    """The USB bus that a video node hangs on; None where it is on none.

    ``device``: e.g. /sys/class/video4linux/video0/device, an interface of the USB device above it.
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
    """Whether the streams of each bus fit it. Buses of 5 Gbit/s and more always do, for cameras of a rig."""
    diagnoses = []
    for bus in sorted({stream.bus for stream in streams}):
        on_it = [stream for stream in streams if stream.bus == bus]
        total = sum(stream.bytes_per_s for stream in on_it)
        mbit = min(stream.mbit for stream in on_it)
        names = ", ".join(f"{s.name} {s.bytes_per_s / 1e6:.1f} MB/s" for s in on_it)
        room = mbit / 8 * 1e6 * PERIODIC
        fix = "Use MJPEG for colour, a smaller size or fewer frames, or plug one camera into another controller."
        if total > room:
            detail = f"{names}: together more than the {room / 1e6:.0f} MB/s that fit. {fix}"
            diagnoses.append(Diagnosis("fail", bus, detail))
        elif mbit <= 480 and max(s.bytes_per_s for s in on_it) > ONE_STREAM:
            detail = f"{names}: one stream carries {ONE_STREAM / 1e6:.1f} MB/s at most at this speed. {fix}"
            diagnoses.append(Diagnosis("fail", bus, detail))
        elif total > 0.8 * room:
            diagnoses.append(Diagnosis("warn", bus, f"{names}: little is left of {room / 1e6:.0f} MB/s. {fix}"))
        else:
            diagnoses.append(Diagnosis("ok", bus, f"{names} of {room / 1e6:.0f} MB/s"))
    return diagnoses
