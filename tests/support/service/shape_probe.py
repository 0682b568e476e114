"""Measure the cost of uploads of any shape, and print the worst cases as a JSON object. ``test_shapes`` runs this in a
separate process, because the memory of the decoders can only be measured per process.

Memory is the peak resident set (``VmHWM``, reset before each upload through ``clear_refs``) minus the resident set
before the upload. Time is wall time or, if that is less, the CPU time of this process on all cores, so that other
processes have no effect.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from service.app import create_app
from service.config.settings import Settings
from service.liveness.loading import open_model
from service.process.memory import keep_freed_memory
from synthetic import Presentation, render_frame

MOST_PIXELS = 17_000_000
EDGES = st.one_of(
    st.integers(1, 64),
    st.integers(200, 4000),
    st.sampled_from((1, 2, 4, 15, 16, 480, 640, 1080, 1920, 2160, 2448, 3264, 3840, 65_500)),
)
CAMERAS = st.builds(
    lambda short, aspect, tall: (short, round(short * aspect)) if tall else (round(short * aspect), short),
    st.one_of(st.integers(16, 2400), st.integers(1500, 2448)),
    st.sampled_from((1.0, 4 / 3, 16 / 9, 32 / 9, 4.0)),
    st.booleans(),
)
"""Sizes that are accepted, up to the memory limit."""
SIZES = st.one_of(st.tuples(EDGES, EDGES), CAMERAS, CAMERAS)
JPEGS: dict[str, list[int]] = {
    "jpg": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "progressive-444": [
        cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ],
}  # fmt: skip
KINDS = (*JPEGS, "png", "webp", "bmp")


def status(key: str) -> float:
    """Return a memory figure of this process in MiB."""
    found = re.search(key + r":\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


def file_of(picture: np.ndarray[Any, Any], width: int, height: int, kind: str) -> bytes:
    pixels = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    suffix = "." + ("jpg" if kind in JPEGS else kind)
    limit = 16_383 if kind == "webp" else 65_500
    if max(width, height) > limit:
        suffix = ".png"
    good, data = cv2.imencode(suffix, pixels, JPEGS.get(kind, []))
    assert good
    return data.tobytes()


class Probe:
    """Probe that posts uploads and keeps the worst cases."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.worst: dict[str, Any] = {"mib": 0.0, "seconds": 0.0, "mib_of": "", "seconds_of": ""}
        self.statuses: dict[str, int] = {}

    def post(self, files: dict[str, Any], what: str) -> None:
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")
        seconds, answer = self._timed(files)
        mib = status("VmHWM") - before
        code = str(answer.status_code)
        self.statuses[code] = self.statuses.get(code, 0) + 1
        for name, value in (("mib", mib), ("seconds", seconds)):
            if value > self.worst[name]:
                self.worst |= {name: value, f"{name}_of": f"{what}: {code} {answer.text[:200]}"}

    def _timed(self, files: dict[str, Any]) -> tuple[float, Any]:
        wall, own = time.perf_counter(), time.process_time()
        answer = self.client.post("/liveness", files=files)
        return min(time.perf_counter() - wall, time.process_time() - own), answer


def shapes(probe: Probe, rgb: np.ndarray[Any, Any], ir: np.ndarray[Any, Any], examples: int) -> Callable[[], None]:
    """Return the property test over any two shapes and file types, with or without a face box."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        size=SIZES,
        other=st.one_of(st.none(), SIZES, st.sampled_from(((640, 480), (1280, 800)))),
        kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
        grey_as_colour=st.booleans(),
        boxed=st.booleans(),
    )
    def check(
        size: tuple[int, int],
        other: tuple[int, int] | None,
        kinds: tuple[str, str],
        grey_as_colour: bool,
        boxed: bool,
    ) -> None:
        second = other or size
        if max(w * h for w, h in (size, second)) > MOST_PIXELS:
            return
        infrared = cv2.cvtColor(ir, cv2.COLOR_GRAY2BGR) if grey_as_colour else ir
        files: dict[str, Any] = {"rgb": file_of(rgb, *size, kinds[0]), "ir": file_of(infrared, *second, kinds[1])}
        if boxed:
            width, height = size
            files["meta"] = json.dumps({"face_box": [0, height - min(height, 4), min(width, 4), min(height, 4)]})
        probe.post(files, f"{size} {second} {kinds} {grey_as_colour} {boxed}")

    return check


def main(examples: int) -> None:
    frame = render_frame(Presentation(seed=107, subject=0))
    rgb, ir = np.ascontiguousarray(frame.rgb[:, :, ::-1]), frame.ir[:, :, 0]
    keep_freed_memory()
    setup = Settings()
    with TestClient(create_app(setup, lambda: open_model(setup)), base_url="http://127.0.0.1") as client:
        until = time.monotonic() + 60
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        probe = Probe(client)
        for _ in range(8):
            # One-time allocations of the workers must not count, so let all of them run once.
            probe.post({"rgb": file_of(rgb, 640, 480, "jpg"), "ir": file_of(ir, 640, 480, "png")}, "warm-up")
        probe = Probe(client)
        shapes(probe, rgb, ir, examples)()
    sys.stdout.write(json.dumps({**probe.worst, "statuses": probe.statuses}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
