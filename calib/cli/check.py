"""``adsn-calib check``: use faces in view to check that a rig's cameras are still in their calibrated positions."""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from calib.capture import read_cameras
from calib.cli.rig import Ir, Rgb
from runtime.core.errors import CalibrationInvalid, ConfigError
from runtime.core.values import Frame, Modality, Pair
from runtime.face.open import open_detector
from runtime.geometry.box_mapping import FACE_BOX_SPREAD, CalibratedMapper, parallax
from runtime.geometry.calibration_file import load_geometry
from runtime.geometry.drift import LIMIT_PX, DriftMonitor, DriftState

MAX_SKEW_NS = 20_000_000
"""Maximum skew of a pair. With this skew, a head moving at 0.3 m/s at half a metre is off by six pixels, which the
median over many pairs tolerates."""
EVERY_NS = 500_000_000
ENOUGH = 40
LOOK_S = 0.05


class NewestFrames:
    """The newest frames of each camera. The readers add them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frames: dict[Modality, deque[Frame]] = {"rgb": deque(maxlen=6), "ir": deque(maxlen=6)}

    def add(self, frame: Frame) -> None:
        if frame.lit != "dark":
            with self._lock:
                self._frames[frame.modality].append(frame)

    def nearest(self) -> tuple[Frame, Frame] | None:
        """Remove all frames and return the two whose capture times are closest, or None if no two are close enough."""
        with self._lock:
            pairs = [(a, b) for a in self._frames["rgb"] for b in self._frames["ir"]]
            if not pairs:
                return None
            best = min(pairs, key=lambda pair: abs(pair[0].t_capture_ns - pair[1].t_capture_ns))
            if abs(best[0].t_capture_ns - best[1].t_capture_ns) > MAX_SKEW_NS:
                return None
            for frames in self._frames.values():
                frames.clear()
            return best


def check(
    geometry: Annotated[Path, typer.Argument(help="Geometry file, as adsn-calib rig writes it.", show_default=False)],
    rgb: Rgb = None,
    ir: Ir = None,
    seconds: Annotated[float, typer.Option(help="Time limit in seconds.", min=1)] = 120,
) -> None:
    """Check from faces in view whether both cameras are still in their calibrated positions. Stores no images."""
    if not (rgb and ir):
        raise ConfigError("pass both cameras with --rgb and --ir.")
    console = Console(soft_wrap=True, highlight=False, markup=False)
    found = load_geometry(geometry)
    box_mapper, detector, newest = CalibratedMapper(found, use_depth=False), open_detector(), NewestFrames()
    with read_cameras({"rgb": rgb, "ir": ir}, newest.add) as readers:
        found.require_cameras({modality: reader.info for modality, reader in readers.items()}, str(geometry))
        monitor = DriftMonitor(limit_px=LIMIT_PX * readers["ir"].info.width / 640, every_ns=EVERY_NS)
        console.print("Stand in front of the cameras in good light. Several people give a better result than one.")
        end, state = time.monotonic() + seconds, monitor.state()
        while time.monotonic() < end and state.readings < ENOUGH:
            time.sleep(LOOK_S)
            for reader in readers.values():
                reader.require_running()
            frames = newest.nearest()
            if frames is None or not monitor.due(frames[0].t_capture_ns):
                continue
            pair = Pair(rgb=frames[0].image, ir=frames[1].image, source="camera")
            face = detector.detect(frames[0].image)
            placed = box_mapper.map_box(face.box, "rgb", "ir", pair) if face is not None else None
            if face is not None and placed is not None and placed.distance_mm is not None:
                way = parallax(face.box, found.cameras["rgb"], found.cameras["ir"], placed.distance_mm)
                state = monitor.update(
                    frames[0].image,
                    frames[1].image,
                    face.box,
                    placed.box,
                    frames[0].t_capture_ns,
                    (FACE_BOX_SPREAD * way[0], FACE_BOX_SPREAD * way[1]),
                )
    console.print(verdict(state, seconds))


def verdict(state: DriftState, seconds: float) -> str:
    """Return the result as a sentence.

    Raises:
        CalibrationInvalid: the cameras have moved, or there were too few faces to decide.
    """
    if state.drifted is None:
        raise CalibrationInvalid(
            f"{state.readings} clear readings in {seconds:g} s ({state.rejected} were unclear) are too few to tell "
            "whether the cameras have moved. Stand in front of both in good light for longer."
        )
    if state.drifted:
        raise CalibrationInvalid(state.advice)
    return (
        f"The cameras have not moved: faces are {state.x:+.1f} pixels (x) and {state.y:+.1f} pixels (y) from their "
        f"expected place, as the median of {state.readings} readings."
    )
