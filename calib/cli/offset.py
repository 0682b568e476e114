"""``adsn-calib offset``: measure the offset to add to the capture times of a stream."""

from __future__ import annotations

import threading
import time
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import Console

from calib.capture import read_cameras
from calib.cli.rig import Ir, Rgb
from calib.timing.offset import Floats, LevelSeries, OffsetUnknown, TimeOffset, by_blink
from calib.timing.offset_other import by_motion, by_strobe
from runtime.core.errors import ConfigError
from runtime.core.values import Frame, IlluminationState, Modality

GRACE_S = 5.0
Method = Literal["auto", "blink", "motion", "strobe"]


class StreamLevels:
    """Mean grey levels of the frames of several streams. The readers add them; no images are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Modality, list[tuple[int, float, IlluminationState, int | None]]] = {}
        self._generations: dict[Modality, int] = {}

    def add(self, frame: Frame) -> None:
        level = float(frame.image.mean())
        with self._lock:
            # The offset may change when a camera is opened again.
            if self._generations.setdefault(frame.modality, frame.generation) != frame.generation:
                self._generations[frame.modality] = frame.generation
                self._rows[frame.modality] = []
            self._rows.setdefault(frame.modality, []).append((frame.t_capture_ns, level, frame.lit, frame.exposure_ns))

    def series(self, modality: Modality, origin_ns: int, dark: bool = True) -> LevelSeries:
        """Return the levels so far, with times in ms since ``origin_ns``. ``dark``: whether to include dark frames."""
        with self._lock:
            rows = [row for row in self._rows.get(modality, []) if dark or row[2] != "dark"]
        exposures = [row[3] for row in rows if row[3]]
        return LevelSeries(
            np.array([(row[0] - origin_ns) / 1e6 for row in rows]),
            np.array([row[1] for row in rows]),
            float(np.median(exposures)) / 1e6 if exposures else None,
        )

    def lit(self, modality: Modality, origin_ns: int) -> tuple[Floats, bool]:
        """Return the times of frames with the strobe on, and whether there are frames with it off.

        Times are in ms since ``origin_ns``.
        """
        with self._lock:
            rows = list(self._rows.get(modality, []))
        return np.array([(row[0] - origin_ns) / 1e6 for row in rows if row[2] == "lit"]), any(
            row[2] == "dark" for row in rows
        )


def offset(
    rgb: Rgb = None,
    ir: Ir = None,
    seconds: Annotated[float, typer.Option(help="Length of the measurement in seconds.", min=10, max=3600)] = 120,
    method: Annotated[
        Method,
        typer.Option(
            help="blink: a light switched at irregular times in view of both cameras. motion: a hand waved in front of "
            "a lamp. strobe: the rig's own strobe, if the RGB camera sees it. auto: the most precise of these."
        ),
    ] = "auto",
) -> None:
    """Measure the offset between the capture times of the RGB stream and those of the IR stream."""
    if not (rgb and ir):
        raise ConfigError("pass both cameras with --rgb and --ir.")
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"Measuring for {seconds:g} s: switch a light on and off in view of both cameras, irregularly.")
    levels = StreamLevels()
    origin = time.monotonic_ns()
    with read_cameras({"rgb": rgb, "ir": ir}, levels.add) as readers:
        end, ending = time.monotonic() + seconds, False
        while time.monotonic() < end and not all(reader.ended for reader in readers.values()):
            time.sleep(0.1)
            if not ending and any(reader.ended for reader in readers.values()):
                # Two recordings may end at different times, so wait for the other one. A lost camera is not reopened
                # here.
                ending, end = True, min(end, time.monotonic() + GRACE_S)
        try:
            found = measured(levels, origin, method)
        except OffsetUnknown:
            # If a camera was lost, raise that as the reason.
            for reader in readers.values():
                reader.require_running()
            raise
    setting = f"rgb_offset_ms = {found.ms:.1f}"
    console.print(
        f"{found.ms:+.1f} ms ± {2 * found.sigma_ms:.1f} ms (95 %), by {found.method}, {found.events} events.\n"
        f"To use it, set {setting} in the section [rig]. It is valid for this format, frame rate and exposure. "
        "Measure again when they change."
    )


def measured(levels: StreamLevels, origin_ns: int, method: Method) -> TimeOffset:
    """Return the offset measured by ``method``. With ``auto``, return the most precise result.

    Raises:
        OffsetUnknown: no method gives a result. The message gives the reason for each.
    """
    rgb = levels.series("rgb", origin_ns)
    lit, strobes = levels.lit("ir", origin_ns)
    # With an alternating strobe, the lit frames alone show the room's light without the strobe's pattern.
    ir = levels.series("ir", origin_ns, dark=False)
    ways = {
        "blink": lambda: by_blink(rgb, ir),
        "motion": lambda: by_motion(rgb, ir),
        "strobe": lambda: by_strobe(rgb, lit),
    }
    wanted = [method] if method != "auto" else ["blink", "motion", *(["strobe"] if strobes else [])]
    found, reasons = [], []
    for way in wanted:
        try:
            found.append(ways[way]())
        except OffsetUnknown as error:
            reasons.append(f"{way}: {error.message}")
    if not found:
        raise OffsetUnknown(" ".join(reasons))
    return min(found, key=lambda offset: offset.sigma_ms)
