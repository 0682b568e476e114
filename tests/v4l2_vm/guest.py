"""Program that runs in the emulated machine: it tests the reader with ``vivid``, the kernel's simulated camera.

It prints one line of JSON for each check, which `test_v4l2_vm` evaluates.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from runtime.capture.open import open_source
from runtime.capture.source import Source
from runtime.capture.v4l2 import abi
from runtime.capture.v4l2.devices import list_devices
from runtime.config.rig import RigSettings
from runtime.core.errors import CaptureError
from runtime.core.values import Frame, Modality
from runtime.pairing.rig import Rig
from tests.support.machines.vm_kernel import MARK

FIRST, METADATA, SECOND = "/dev/video0", "/dev/video2", "/dev/video4"
NEXT_CONTROL = 0x80000000
Check = Callable[[], dict[str, Any]]
CHECKS: list[tuple[str, Check]] = []


def check(function: Check) -> Check:
    CHECKS.append((function.__name__, function))
    return function


def control(path: str, name: str, value: int) -> None:
    """Set a control of vivid by its name, from outside the stream."""
    fd = os.open(path, os.O_RDWR)
    try:
        found = abi.QueryCtrl(id=NEXT_CONTROL)
        while True:
            fcntl.ioctl(fd, abi.QUERYCTRL, found)
            if found.name.decode() == name:
                break
            found = abi.QueryCtrl(id=found.id | NEXT_CONTROL)
        fcntl.ioctl(fd, abi.S_CTRL, abi.Control(id=found.id, value=value))
    finally:
        os.close(fd)


@contextlib.contextmanager
def opened(uri: str, modality: Modality = "ir") -> Iterator[Source]:
    source = open_source(uri, modality, 1)
    try:
        yield source
    finally:
        source.close()


def frames(source: Source, count: int, timeout_s: float = 10) -> list[Frame]:
    found: list[Frame] = []
    until = time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < until:
        frame = source.read(1.0)
        if frame is not None:
            found.append(frame)
    return found


def missing(read: list[Frame]) -> int:
    """Return the number of frames between the first and the last that are missing according to the sequence numbers."""
    numbers = [f.seq for f in read if f.seq is not None]
    return numbers[-1] - numbers[0] + 1 - len(numbers)


def refusal(uri: str, modality: Modality = "ir") -> dict[str, str]:
    try:
        open_source(uri, modality, 0).close()
    except CaptureError as error:
        return {"error": type(error).__name__, "message": error.message}
    return {"error": "", "message": ""}


@check
def listing() -> dict[str, Any]:
    found = list_devices(cameras_only=False)
    return {
        "nodes": [[d.path, d.kind, d.card, d.metadata, d.identity] for d in found],
        "formats": {f.name: [str(s) for s in f.sizes] for f in found[0].formats},
    }


@check
def formats() -> dict[str, Any]:
    found: dict[str, Any] = {}
    pictures: dict[str, Any] = {}
    wanted: list[tuple[str, Modality]] = [(n, "ir") for n in ("GREY", "Y10", "Y12", "Y16")]
    wanted += [(n, "rgb") for n in ("YUYV", "UYVY", "NV12", "RGB3", "BGR3")]
    for name, modality in wanted:
        try:
            with opened(f"v4l2:{FIRST}?fourcc={name}&size=640x480", modality) as source:
                frame = frames(source, 2)[-1]
        except CaptureError as error:
            found[name] = {"error": error.message}
            continue
        pictures[name] = frame.image
        found[name] = {
            "shape": list(frame.image.shape),
            "dtype": str(frame.image.dtype),
            "mean": float(frame.image.mean()),
            "max": float(frame.image.max()),
            "seq": frame.seq,
        }
    # The simulated camera shows the same test image in every format, so colours must agree wherever the image does not
    # move.
    for name in ("YUYV", "UYVY", "NV12", "BGR3"):
        if name in pictures:
            difference = np.abs(pictures[name].astype(int) - pictures["RGB3"].astype(int))
            found[name]["median_difference"] = float(np.median(difference[200:]))
    for name in ("Y10", "Y12", "Y16"):
        if name in pictures:
            difference = np.abs(pictures[name].astype(int) - pictures["GREY"].astype(int))
            found[name]["median_difference"] = float(np.median(difference[200:]))
    return found


@check
def times() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting, name in ((0, "end"), (1, "start")):
        control(FIRST, "Timestamp Source", setting)
        with opened(f"v4l2:{FIRST}?fourcc=GREY&size=640x360&fps=30") as source:
            read = frames(source, 40)
            captures = np.array([f.t_capture_ns for f in read])
            ahead = [(f.t_capture_ns - f.t_arrival_ns) / 1e6 for f in read]
            found[name] = {
                "info": source.info.timestamp_source,
                "sources": sorted({f.timestamp_source for f in read}),
                "frames": len(read),
                "interval_ms": float(np.median(np.diff(captures)) / 1e6),
                "ahead_ms": [min(ahead), max(ahead)],
                "gaps": missing(read),
            }
    control(FIRST, "Timestamp Source", 0)
    return found


@check
def wrapped_times() -> dict[str, Any]:
    control(FIRST, "Wrap Timestamp", 1)
    with opened(f"v4l2:{FIRST}?fourcc=GREY&size=640x360") as source:
        read = frames(source, 5)
        info = source.info.timestamp_source
    control(FIRST, "Wrap Timestamp", 0)
    return {"sources": [f.timestamp_source for f in read], "info": info}


@check
def wrapped_sequence() -> dict[str, Any]:
    control(FIRST, "Wrap Sequence Number", 1)
    with opened(f"v4l2:{FIRST}?fourcc=GREY&size=320x180&fps=60") as source:
        read = frames(source, 160, 20)
    control(FIRST, "Wrap Sequence Number", 0)
    numbers = [f.seq for f in read if f.seq is not None]
    return {"first": numbers[0], "last": numbers[-1], "rising": numbers == sorted(set(numbers))}


@check
def dropped_frames() -> dict[str, Any]:
    control(FIRST, "Percentage of Dropped Buffers", 20)
    with opened(f"v4l2:{FIRST}?fourcc=GREY&size=320x180&fps=30") as source:
        read = frames(source, 60, 20)
    control(FIRST, "Percentage of Dropped Buffers", 0)
    return {"frames": len(read), "gaps": missing(read)}


@check
def damaged_frame() -> dict[str, Any]:
    found = []
    with opened(f"v4l2:{FIRST}?fourcc=GREY&size=320x180") as source:
        frames(source, 3)
        control(FIRST, "Inject V4L2_BUF_FLAG_ERROR", 1)
        for _ in range(12):
            try:
                found.append("frame" if source.read(2) else "none")
            except CaptureError as error:
                found.append(f"{type(error).__name__}: {error.message}")
    return {"read": found}


@check
def busy() -> dict[str, Any]:
    with opened(f"v4l2:{FIRST}?fourcc=GREY&size=320x180") as source:
        frames(source, 2)
        again = refusal(f"v4l2:{FIRST}?fourcc=YUYV&size=640x480", "rgb")
        same = refusal(f"v4l2:{FIRST}?fourcc=GREY&size=320x180")
        still = len(frames(source, 2))
    return {"again": again, "same": same, "still": still}


@check
def injected_errors() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("Inject VIDIOC_STREAMON Error", "Inject VIDIOC_REQBUFS Error"):
        control(FIRST, name, 1)
        found[name] = refusal(f"v4l2:{FIRST}?fourcc=GREY&size=320x180")
        with opened(f"v4l2:{FIRST}?fourcc=GREY&size=320x180") as source:
            found[f"after {name}"] = len(frames(source, 2))
    return found


@check
def refusals() -> dict[str, Any]:
    return {
        "absent": refusal("v4l2:/dev/video77"),
        "size": refusal(f"v4l2:{FIRST}?fourcc=GREY&size=500x500"),
        "format": refusal(f"v4l2:{FIRST}?fourcc=MJPG", "rgb"),
        "output": refusal("v4l2:/dev/video1"),
        "metadata": refusal(f"v4l2:{METADATA}"),
        "no illumination": refusal(f"v4l2:{FIRST}?fourcc=GREY&metadata={METADATA}"),
        "no such control": refusal(f"v4l2:{FIRST}?fourcc=GREY&exposure=10"),
        "denied": _as_nobody(lambda: refusal(f"v4l2:{FIRST}?fourcc=GREY")),
    }


def _as_nobody(function: Callable[[], dict[str, str]]) -> dict[str, str]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        os.write(write, json.dumps(function()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return dict(json.loads(os.read(read, 100_000)))


@check
def brightness() -> dict[str, Any]:
    means = {}
    for value in (128, 200):
        with opened(f"v4l2:{FIRST}?fourcc=GREY&size=320x180&gain=90&brightness={value}") as source:
            means[str(value)] = [float(f.image.mean()) for f in frames(source, 6)]
    return {"means": means, "out of range": refusal(f"v4l2:{FIRST}?fourcc=GREY&gain=5000")}


@check
def close_ends_a_read() -> dict[str, Any]:
    control(SECOND, "Percentage of Dropped Buffers", 100)
    source = open_source(f"v4l2:{SECOND}?fourcc=GREY&size=320x180", "ir", 0)
    result: list[Any] = []
    reader = threading.Thread(target=lambda: result.append(source.read(60)))
    reader.start()
    time.sleep(0.3)
    began = time.monotonic()
    source.close()
    reader.join(20)
    control(SECOND, "Percentage of Dropped Buffers", 0)
    return {"alive": reader.is_alive(), "result": [r is None for r in result], "close_s": time.monotonic() - began}


@check
def two_cameras() -> dict[str, Any]:
    read: dict[str, list[Frame]] = {}

    def run(path: str, uri: str, modality: Modality) -> None:
        with opened(uri, modality) as source:
            read[path] = frames(source, 30, 20)

    threads = [
        threading.Thread(target=run, args=(FIRST, f"v4l2:{FIRST}?fourcc=YUYV&size=640x360", "rgb")),
        threading.Thread(target=run, args=(SECOND, f"v4l2:{SECOND}?fourcc=Y16&size=640x360", "ir")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return {path: [len(f), list(f[0].image.shape), f[-1].seq] for path, f in read.items()}


@check
def opencv() -> dict[str, Any]:
    found: dict[str, Any] = {}
    wanted: tuple[tuple[str, Modality], ...] = (("GREY", "ir"), ("Y16", "ir"), ("YUYV", "ir"), ("YUYV", "rgb"))
    for name, modality in wanted:
        with opened(f"opencv:0?fourcc={name}&size=640x360", modality) as source:
            frame = frames(source, 3)[-1]
            found[f"{name} {modality}"] = {
                "shape": list(frame.image.shape),
                "dtype": str(frame.image.dtype),
                "max": float(frame.image.max()),
                "source": frame.timestamp_source,
                "info": source.info.pixel_format,
            }
    return found


@check
def rig() -> dict[str, Any]:
    options = "size=640x360&fps=30"
    settings = RigSettings(
        rgb=f"v4l2:{FIRST}?fourcc=YUYV&{options}",
        ir=f"v4l2:{SECOND}?fourcc=GREY&{options}",
        strobe="none",
        # Two free-running cameras can be half a period apart.
        max_skew_ms=20,
    )
    rig = Rig(settings)
    rig.start()
    skews = []
    number = -1
    try:
        for _ in range(20):
            captured = rig.wait(number, 10)
            if captured is None:
                break
            number = captured.number
            skews.append((captured.pair.skew_ns or 0) / 1e6)
        status = rig.status()
    finally:
        rig.close()
    return {
        "pairs": len(skews),
        "skew_ms": [min(skews, default=-1), max(skews, default=-1)],
        "states": [c.state for c in status.cameras],
        "rejected": dict(status.rejected),
        "advice": status.advice,
    }


@check
def nothing_stays_open() -> dict[str, Any]:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with opened(f"v4l2:{FIRST}?fourcc=GREY&size=320x180") as source:
            source.read(2)
        refusal(f"v4l2:{FIRST}?fourcc=GREY&size=500x500")
    with open("/proc/self/maps", encoding="ascii") as maps:
        mapped = sum("/dev/video" in line for line in maps)
    return {"before": before, "after": len(os.listdir("/proc/self/fd")), "mapped": mapped}


@check
def unplugged() -> dict[str, Any]:
    source = open_source(f"v4l2:{FIRST}?fourcc=GREY&size=320x180", "ir", 0)
    frames(source, 3)
    control(FIRST, "Disconnect", 1)
    found: dict[str, Any] = {"error": ""}
    began = time.monotonic()
    for _ in range(20):
        try:
            source.read(1)
        except CaptureError as error:
            found = {"error": type(error).__name__, "message": error.message}
            break
    found["noticed_s"] = time.monotonic() - began
    source.close()
    found["reopened"] = refusal(f"v4l2:{FIRST}?fourcc=GREY")
    return found


def main() -> None:
    for name, function in CHECKS:
        began = time.monotonic()
        try:
            result = function()
        except BaseException:
            result = {"failed": traceback.format_exc()}
        line = {"check": name, "seconds": round(time.monotonic() - began, 2), "kernel": os.uname().release, **result}
        print(MARK + json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
