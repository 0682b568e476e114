"""GStreamer pipelines as cameras, with the real library. Run ``pytest -m gst`` where PyGObject is installed.

If the environment does not see the system's ``gi`` package, add its folder to ``PYTHONPATH``.
"""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from runtime.capture.gstreamer import import_gstreamer, open_gst
from runtime.capture.open import open_source
from runtime.capture.source import Source
from runtime.capture.uri import parse_uri
from runtime.core.errors import CameraLost, CameraUnsupported, CaptureError, ConfigError, StreamEnded
from runtime.core.values import Frame, Modality

# PyGObject of 2022 causes a warning on import with newer Python versions.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ImportWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
LIVE = "videotestsrc is-live=true pattern=red ! video/x-raw,width=62,height=48,framerate=30/1"


def open_pipeline(text: str, modality: Modality = "rgb") -> Source:
    try:
        import_gstreamer()
    except CameraUnsupported as error:
        pytest.skip(error.message)
    return open_source(f"gst:{text}", modality, 4)


def frames(source: Source, count: int) -> list[Frame]:
    return [f for f in (source.read(20) for _ in range(count)) if f is not None]


def test_without_the_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    with pytest.raises(CameraUnsupported, match="apt install python3-gi"):
        open_gst(parse_uri("gst:videotestsrc"), "rgb", 0)


@pytest.mark.parametrize("text", ["gst:", "gst:videotestsrc?fps=3", "gst:videotestsrc?timeout=x"])
def test_options_that_are_wrong(text: str) -> None:
    with pytest.raises(ConfigError):
        open_gst(parse_uri(text), "rgb", 0)


@pytest.mark.gst
@pytest.mark.parametrize("ending", ["", " ! videoconvert ! appsink"])
def test_colour_of_a_live_pipeline(ending: str) -> None:
    source = open_pipeline(LIVE + ending)
    read = frames(source, 6)
    source.close()
    # A width of 62 pixels is not a multiple of four bytes.
    assert {f.image.shape for f in read} == {(48, 62, 3)}
    np.testing.assert_allclose(read[-1].image[20, 20], (255, 0, 0), atol=3)
    assert {(f.timestamp_source, f.generation) for f in read} == {("device_mapped", 4)}
    steps = np.diff([f.t_capture_ns for f in read]) / 1e6
    np.testing.assert_allclose(steps, 100 / 3, atol=0.1)
    assert all(-100 < (f.t_arrival_ns - f.t_capture_ns) / 1e6 < 2000 for f in read)
    info = source.info
    assert (info.width, info.height, info.fps) == (62, 48, 30.0)
    assert info.pixel_format in ("RGB", "BGR")


@pytest.mark.gst
@pytest.mark.parametrize(
    ("caps", "modality", "shape", "dtype"),
    [
        ("GRAY8", "ir", (48, 62, 1), "uint8"),
        ("GRAY16_LE", "ir", (48, 62, 1), "uint8"),
        ("GRAY16_LE", "depth", (48, 62, 1), "float32"),
        ("BGR", "rgb", (48, 62, 3), "uint8"),
    ],
)
def test_other_formats(caps: str, modality: Modality, shape: tuple[int, ...], dtype: str) -> None:
    source = open_pipeline(f"{LIVE.replace('red', 'white')},format={caps}", modality)
    (frame,) = frames(source, 1)
    source.close()
    assert (frame.image.shape, frame.image.dtype.name) == (shape, dtype)
    assert frame.image.max() >= (230 if dtype == "uint8" else 60_000)
    if caps == "BGR":
        assert source.info.pixel_format == "BGR"


@pytest.mark.gst
@pytest.mark.parametrize(
    ("text", "modality", "error", "told"),
    [
        ("no_such_element ! fakesink", "rgb", ConfigError, 'no element "no_such_element"'),
        ("videotestsrc ! appsink videotestsrc ! appsink", "rgb", ConfigError, "has 2 appsinks"),
        ("v4l2src device=/dev/video77", "rgb", CaptureError, "video77"),
        ("videotestsrc ! video/x-raw,format=RGB ! appsink", "ir", CameraUnsupported, "that this modality accepts"),
        ("videotestsrc num-buffers=0", "rgb", StreamEnded, "end"),
        ("appsrc?timeout=0.2", "rgb", CameraLost, "no image within 0.2 s"),
    ],
)
def test_pipelines_that_do_not_start(text: str, modality: Modality, error: type[Exception], told: str) -> None:
    try:
        import_gstreamer()
    except CameraUnsupported as missing:
        pytest.skip(missing.message)
    with pytest.raises(error, match=told):
        open_source(f"gst:{text}", modality, 0)


@pytest.mark.gst
def test_the_end_of_a_pipeline() -> None:
    source = open_pipeline("videotestsrc num-buffers=3 ! video/x-raw,width=64,height=48")
    with pytest.raises(StreamEnded, match="has ended"):
        frames(source, 10)
    source.close()


@pytest.mark.gst
def test_close_ends_a_read_that_waits() -> None:
    source = open_pipeline("videotestsrc is-live=true ! video/x-raw,framerate=1/30")
    result: list[object] = []

    def read() -> None:
        try:
            result.append([source.read(60), source.read(60)])
        except CameraLost as error:
            result.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    source.close()
    reader.join(20)
    assert len(result) == 1
    with pytest.raises(CameraLost, match="closed"):
        source.read(1)


@pytest.mark.gst
def test_arrival_can_be_asked_for() -> None:
    source = open_pipeline(f"{LIVE}?stamp=arrival")
    (frame,) = frames(source, 1)
    source.close()
    assert (frame.timestamp_source, frame.t_capture_ns) == ("arrival", frame.t_arrival_ns)
