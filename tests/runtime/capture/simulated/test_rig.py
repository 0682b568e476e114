"""Simulated cameras in real time, with small images so that the whole cycle is rendered quickly."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from runtime.capture.open import open_source
from runtime.capture.simulated.rig import SCENES
from runtime.capture.source import Source
from runtime.capture.uri import parse_uri
from runtime.core.errors import CameraData, CameraLost, CameraMissing, ConfigError
from runtime.core.values import Frame, Modality
from tests.support.waiting import until

_runs = itertools.count()


def scene(options: str = "") -> str:
    """Return a scene that no other test uses."""
    return f"synthetic:?size=160x160&moments=2&fps=60&run={next(_runs)}&{options}"


@contextmanager
def opened(uri: str, modality: Modality, generation: int = 0) -> Iterator[Source]:
    source = open_source(uri, modality, generation)
    try:
        yield source
    finally:
        source.close()


def frames(source: Source, count: int) -> list[Frame]:
    found: list[Frame] = []
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline
        frame = source.read(0.5)
        if frame is not None:
            found.append(frame)
    return found


def test_a_frame_says_what_it_is() -> None:
    with opened(scene("exposure_ms=4&latency_ms=2"), "rgb", generation=3) as source:
        assert (source.info.width, source.info.height, source.info.fps) == (160, 160, 60)
        assert source.info.backend == source.info.timestamp_source == "synthetic"
        got = frames(source, 5)
        now = time.monotonic_ns()
    for frame in got:
        assert frame.image.shape == (160, 160, 3)
        assert frame.image.dtype == np.uint8
        assert (frame.generation, frame.lit, frame.exposure_ns) == (3, "unknown", 4_000_000)
        assert frame.t_arrival_ns - frame.t_capture_ns == 4_000_000
        assert frame.t_arrival_ns <= now
    assert all(a.t_capture_ns < b.t_capture_ns for a, b in itertools.pairwise(got))
    # No two frames are equal, whatever they show.
    assert all(not np.array_equal(a.image, b.image) for a, b in itertools.combinations(got, 2))


def test_all_modalities_stand_before_one_scene() -> None:
    uri = scene("wait=1")
    with opened(uri, "rgb") as rgb, opened(uri, "ir") as ir, opened(uri, "depth") as depth:
        shapes = {m: frames(s, 1)[0].image for m, s in (("rgb", rgb), ("ir", ir), ("depth", depth))}
    assert shapes["ir"].shape == shapes["depth"].shape == (160, 160, 1)
    assert shapes["depth"].dtype == np.float32
    known = shapes["depth"][shapes["depth"] > 0]
    assert 300 < np.percentile(known, 5) < 900


def test_the_same_address_shows_the_same() -> None:
    def shown(options: str, grain: int = 4) -> bytes:
        stage = SCENES.of(parse_uri(scene(options))).stage
        at = 50_000_000
        until(lambda: stage.complete(at))
        image = stage.picture("rgb", at, True, grain, 0)
        assert image is not None
        return image.tobytes()

    assert shown("seed=5") == shown("seed=5")
    assert shown("seed=5") != shown("seed=5", grain=5)
    assert shown("seed=5") != shown("seed=6")


def read_on(source: Source) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        source.read(0.1)


def open_again_and_again(uri: str, modality: Modality) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        open_source(uri, modality).close()


@pytest.mark.parametrize("tagged", [0, 1])
def test_a_strobe_lights_every_second_frame(tagged: int) -> None:
    with opened(scene(f"strobe=1:1&metadata={tagged}&wait=1"), "ir") as source:
        got = frames(source, 12)
    bright: dict[bool, list[tuple[float, str]]] = {True: [], False: []}
    for frame in got:
        assert frame.seq is not None
        bright[bool(frame.seq % 2)].append((float(frame.image.mean()), frame.lit))
    means = {odd: np.mean([m for m, _ in values]) for odd, values in bright.items()}
    lit = max(means, key=lambda odd: means[odd])
    assert means[lit] > means[not lit] + 8
    assert {state for _, state in bright[lit]} == ({"lit"} if tagged else {"unknown"})
    assert {state for _, state in bright[not lit]} == ({"dark"} if tagged else {"unknown"})


def test_unplugged_replugged() -> None:
    uri = scene("script=unplug@0.4s:1.5s")
    source = open_source(uri, "ir", 0)
    with pytest.raises(CameraLost, match="unplugged"):
        read_on(source)
    source.close()
    with pytest.raises(CameraMissing, match="unplugged"):
        open_again_and_again(uri, "ir")

    def plugged_in() -> bool:
        with contextlib.suppress(CameraMissing):
            open_source(uri, "ir").close()
            return True
        return False

    until(plugged_in)
    with opened(uri, "ir", 1) as source:
        assert frames(source, 1)[0].generation == 1


def test_a_stalled_camera_gives_nothing_and_goes_on() -> None:
    with opened(scene("script=stall@0s:0.4s"), "ir") as source:
        assert source.read(0.05) is None
        assert frames(source, 1)[0].seq is not None


def test_corrupt_pictures_are_errors_and_the_next_read_may_succeed() -> None:
    with opened(scene("script=corrupt@0s:0.5s"), "ir") as source:
        with pytest.raises(CameraData, match="cannot be decoded"):
            frames(source, 1)
        for _ in range(10_000):
            try:
                assert frames(source, 1)
                break
            except CameraData:
                continue


def test_a_covered_lens() -> None:
    uri = scene("script=cover@0s")
    with opened(uri, "rgb") as rgb, opened(uri, "ir") as ir:
        assert frames(rgb, 1)[0].image.mean() < 2
        assert frames(ir, 1)[0].image.mean() > 250


def test_nobody_there_is_another_picture() -> None:
    uri = scene("presence=100s:1s&wait=1")
    with opened(uri, "depth") as source:
        empty = frames(source, 1)[0].image
    with opened(scene("wait=1"), "depth") as source:
        someone = frames(source, 1)[0].image
    assert np.median(empty[60:100, 60:100]) > np.median(someone[60:100, 60:100]) + 200


def test_closing_ends_a_read_that_waits() -> None:
    source = open_source(scene("script=stall@0s"), "rgb", 0)
    threading.Timer(0.2, source.close).start()
    with pytest.raises(CameraLost, match="closed"):
        source.read(60)
    source.close()


@pytest.mark.parametrize(
    "options",
    [
        "colour=red",
        "fps=0",
        "seed=-1",
        "family=C",
        "size=10x10",
        "species=ghost",
        "strobe=3:1",
        "script=x",
        "baseline_mm=99",
    ],
)
def test_wrong_options_are_refused(options: str) -> None:
    with pytest.raises(ConfigError):
        open_source(f"synthetic:?{options}", "ir", 0)
