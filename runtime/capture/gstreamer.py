"""A GStreamer pipeline as a camera, for board cameras (Jetson, i.MX, Raspberry Pi) and any other source with a plugin.

Needs PyGObject and GStreamer's introspection data from the system's packages. The pipeline runs on the system's
monotonic clock, like all capture times in this package. Live sources set the time of a buffer to the start or the end
of the exposure; the calibrated offset of the stream corrects for the difference.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.capture.pixels import ImageConverter
from runtime.capture.reader_thread import ReaderThread
from runtime.capture.source import SourceInfo
from runtime.capture.uri import CameraUri, redact
from runtime.capture.v4l2.abi import CLOCK_MONOTONIC
from runtime.capture.v4l2.timestamps import TimestampMapper
from runtime.core.errors import (
    CameraBusy,
    CameraData,
    CameraDenied,
    CameraLost,
    CameraMissing,
    CameraUnsupported,
    CaptureError,
    ConfigError,
    StreamEnded,
)
from runtime.core.values import Frame, Modality

OPTIONS = ("bits", "unit_mm", "stamp", "timeout")
FORMATS: dict[Modality, str] = {"rgb": "{RGB,BGR}", "ir": "{GRAY8,GRAY16_LE}", "depth": "GRAY16_LE"}
STEP_NS = 100_000_000
"""Longest time that one library call may block, after which the reader thread checks whether it should stop."""
TimedSample = tuple[NDArray[Any], int, int | None]
"""Pixels, arrival time in ns, and time of the buffer in ns of CLOCK_MONOTONIC, or None if the buffer has no time."""


def import_gstreamer() -> tuple[Any, Any]:
    """Return the modules Gst and GstVideo.

    Raises:
        CameraUnsupported: they are not installed.
    """
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import Gst, GstVideo
    except (ImportError, ValueError) as error:
        raise CameraUnsupported(
            "GStreamer needs PyGObject and GStreamer's introspection data from the system's packages: apt install "
            "python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base, and an environment made with "
            "--system-site-packages."
        ) from error
    Gst.init(None)
    return Gst, GstVideo


def open_gst(options: CameraUri, modality: Modality, generation: int) -> GstSource:
    """Open ``gst:PIPELINE``; docs/cameras.md lists the options and has examples.

    Raises:
        ConfigError: an option or the pipeline's text is wrong.
        CameraUnsupported: GStreamer is missing, or the pipeline cannot supply this modality.
        CameraMissing, CameraBusy, CameraDenied, CameraLost: the pipeline does not start.
    """
    bits, unit_mm, timestamp, timeout_s = _settings(options)
    stream = GstStream(options.path, options.text, modality)
    try:
        first = stream.pull(round(timeout_s * 1e9))
        if first is None:
            raise CameraLost(f"{options.text}: the pipeline delivered no image within {timeout_s:g} s.")
    except BaseException:
        stream.stop()
        raise
    converter = ImageConverter(modality, options.text, order=stream.order, bits=bits, unit_mm=unit_mm)
    return GstSource(stream, converter, options, modality, generation, arrival=timestamp == "arrival")


def check_gst(options: CameraUri, modality: Modality) -> None:
    """Check the options of an address. Whether the elements of the pipeline exist is known only when it is opened.

    Raises:
        ConfigError: an option is unknown or wrong, or the pipeline is empty.
    """
    _settings(options)


def _settings(options: CameraUri) -> tuple[int | None, float, Literal["auto", "arrival"], float]:
    """Return significant bits, mm per depth step, timestamp source, and timeout for the first image in seconds."""
    options.allow(*OPTIONS)
    timestamps: tuple[Literal["auto", "arrival"], ...] = ("auto", "arrival")
    found = (
        options.integer("bits", 0, 8, 16) or None,
        options.number("unit_mm", 1.0, 0.001, 1000),
        options.choice("stamp", timestamps, "auto"),
        options.number("timeout", 10, 0.1, 120),
    )
    if not options.path.strip():
        raise ConfigError(f"{options.text}: gst needs a pipeline, e.g. gst:v4l2src ! videoconvert.")
    return found


class GstStream:
    """A running pipeline that ends in an appsink; one is appended if it is missing."""

    ORDERS: ClassVar[dict[str, str]] = {"RGB": "rgb", "BGR": "bgr"}

    def __init__(self, pipeline: str, name: str, modality: Modality) -> None:
        self._gst, self._video = import_gstreamer()
        gst, self._name = self._gst, name
        text = pipeline if "appsink" in pipeline else f"{pipeline} ! videoconvert ! appsink"
        try:
            self._pipeline = gst.parse_launch(text)
        except Exception as error:
            # The exception classes of PyGObject vary; the text is GStreamer's.
            raise ConfigError(f"{name}: {_error_text(error)}. Try the pipeline with gst-launch-1.0.") from error
        sinks = [] if not isinstance(self._pipeline, gst.Bin) else self._appsinks()
        if len(sinks) != 1:
            raise ConfigError(f"{name}: the pipeline has {len(sinks)} appsinks; it needs exactly one.")
        (self._sink,) = sinks
        self._sink.set_property("caps", gst.Caps.from_string(f"video/x-raw,format=(string){FORMATS[modality]}"))
        for key, value in {"sync": False, "max-buffers": 4, "drop": True}.items():
            self._sink.set_property(key, value)
        clock = gst.SystemClock.obtain()
        self._pipeline.use_clock(clock)
        self.width = self.height = 0
        self.format, self.fps = "", None
        self._pipeline.set_state(gst.State.PLAYING)

    @property
    def order(self) -> Any:
        return self.ORDERS.get(self.format, "rgb")

    def _appsinks(self) -> list[Any]:
        found: list[Any] = []
        iterator = self._pipeline.iterate_sinks()
        while True:
            result, element = iterator.next()
            if result != self._gst.IteratorResult.OK:
                return found
            if element.get_factory().get_name() == "appsink":
                found.append(element)

    def pull(self, timeout_ns: int = STEP_NS) -> TimedSample | None:
        """Return the next image, or None if none came in time.

        Raises:
            CaptureError: the pipeline reported an error. StreamEnded: it has ended.
        """
        sample = self._sink.emit("try-pull-sample", timeout_ns)
        arrival_ns = time.monotonic_ns()
        if sample is None:
            self._raise_bus_error()
            return None
        return self._pixels(sample), arrival_ns, self._time_of(sample)

    def _raise_bus_error(self) -> None:
        gst = self._gst
        ended = self._sink.get_property("eos")
        # The appsink ends before the bus reports why, both at the end of the stream and on an error. Wait for the bus.
        patience_ns = STEP_NS if ended else 0
        message = self._pipeline.get_bus().timed_pop_filtered(patience_ns, gst.MessageType.ERROR | gst.MessageType.EOS)
        if message is None and not ended:
            return
        if message is None or message.type == gst.MessageType.EOS:
            raise StreamEnded(f"{self._name}: the pipeline has ended.")
        error, _ = message.parse_error()
        raise self._as_capture_error(error)

    def _as_capture_error(self, error: Any) -> CaptureError:
        resource, said = self._gst.ResourceError, f"{self._name}: {_error_text(error)}"
        kinds: tuple[tuple[type[CaptureError], tuple[Any, ...]], ...] = (
            (CameraMissing, (resource.NOT_FOUND,)),
            (CameraBusy, (resource.BUSY, resource.NO_SPACE_LEFT)),
            (CameraDenied, (resource.OPEN_READ, resource.OPEN_READ_WRITE, resource.NOT_AUTHORIZED)),
        )
        for kind, codes in kinds:
            if any(error.matches(resource.quark(), code) for code in codes):
                return kind(f"{said}.")
        if error.matches(self._gst.StreamError.quark(), self._gst.StreamError.FAILED) or error.matches(
            self._gst.CoreError.quark(), self._gst.CoreError.NEGOTIATION
        ):
            return CameraUnsupported(f"{said}. The pipeline may not deliver a format that this modality accepts.")
        return CameraLost(f"{said}.")

    def _time_of(self, sample: Any) -> int | None:
        buffer, none = sample.get_buffer(), self._gst.CLOCK_TIME_NONE
        if buffer.pts == none:
            return None
        running = sample.get_segment().to_running_time(self._gst.Format.TIME, buffer.pts)
        return None if running == none else int(self._pipeline.get_base_time() + running)

    def _pixels(self, sample: Any) -> NDArray[Any]:
        caps = sample.get_caps().get_structure(0)
        self.format = caps.get_value("format")
        self.width, self.height = caps.get_value("width"), caps.get_value("height")
        known, numerator, denominator = caps.get_fraction("framerate")
        self.fps = numerator / denominator if known and numerator and denominator else None
        each = {"RGB": 3, "BGR": 3, "GRAY8": 1, "GRAY16_LE": 2}[self.format]
        buffer = sample.get_buffer()
        meta = self._video.buffer_get_video_meta(buffer)
        # Without video metadata, rows start at multiples of four bytes.
        stride, offset = (meta.stride[0], meta.offset[0]) if meta else (-(-self.width * each // 4) * 4, 0)
        mapped, info = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            raise CameraData(f"{self._name}: a buffer of the pipeline cannot be mapped for reading.")
        try:
            data = np.frombuffer(info.data, np.uint8, offset=offset)
            if len(data) < stride * (self.height - 1) + self.width * each:
                raise CameraData(f"{self._name}: a buffer has {len(data)} bytes, too few for {self.format}.")
            rows = np.ndarray((self.height, self.width * each), np.uint8, data, strides=(stride, 1)).copy()
            del data
        finally:
            buffer.unmap(info)
        if each == 2:
            return rows.view("<u2")
        return rows.reshape(self.height, self.width, each) if each == 3 else rows

    def stop(self) -> None:
        self._pipeline.set_state(self._gst.State.NULL)


class GstSource:
    """`runtime.capture.source.Source` of the images from a pipeline."""

    def __init__(
        self,
        stream: GstStream,
        converter: ImageConverter,
        options: CameraUri,
        modality: Modality,
        generation: int,
        *,
        arrival: bool,
    ) -> None:
        self._converter, self._generation = converter, generation
        self._timestamps = TimestampMapper(None if arrival else "start", options.text)
        self._info = SourceInfo(
            modality=modality,
            uri=options.text,
            identity=options.text.rpartition("?")[0] or options.text,
            backend="gst",
            width=stream.width,
            height=stream.height,
            pixel_format=stream.format,
            fps=stream.fps,
            timestamp_source="arrival" if arrival else "device_mapped",
        )
        self._reader_thread: ReaderThread[TimedSample] = ReaderThread(stream.pull, stream.stop, options.text)

    @property
    def info(self) -> SourceInfo:
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        """See `Source.read`. Raises `StreamEnded` when the pipeline ends."""
        taken = self._reader_thread.get(timeout_s)
        if taken is None:
            return None
        pixels, arrival_ns, timestamp_ns = taken
        image = self._converter.convert(pixels)
        capture_ns, timestamp_source = self._timestamps.capture(timestamp_ns or 0, CLOCK_MONOTONIC, arrival_ns, None)
        self._info = self._info.timed_by("arrival" if timestamp_source == "arrival" else "device_mapped")
        return Frame(
            modality=self._info.modality,
            image=image,
            t_capture_ns=capture_ns,
            t_arrival_ns=arrival_ns,
            seq=None,
            timestamp_source=self._info.timestamp_source,
            generation=self._generation,
        )

    def close(self) -> None:
        """See `Source.close`."""
        self._reader_thread.close()


def _error_text(error: Any) -> str:
    """Return the message from GStreamer, without secrets."""
    return redact(str(getattr(error, "message", error)).strip().rstrip("."))
