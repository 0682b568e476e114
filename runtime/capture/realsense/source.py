"""Intel RealSense cameras through pyrealsense2. RGB, IR and depth of one device are separate sources.

The streams of a device run in one pipeline, so sources with the same serial number share a hub. Adding a stream later
restarts the pipeline, which causes a short gap in the others.
"""

from __future__ import annotations

import threading

from runtime.capture.mailbox import Mailbox
from runtime.capture.reader_thread import CLOSE_S
from runtime.capture.realsense.device import EMITTERS, DeviceDriver, PipelineDriver, StreamRequest, import_realsense
from runtime.capture.realsense.frames import FrameReader
from runtime.capture.realsense.hub import DeviceHub
from runtime.capture.source import SourceInfo
from runtime.capture.uri import CameraUri
from runtime.core.values import Frame, Modality

OPTIONS = ("size", "fps", "ir", "emitter", "align")

HUBS: dict[str, DeviceHub] = {}
_hubs_lock = threading.Lock()


def open_realsense(
    options: CameraUri, modality: Modality, generation: int, *, driver: DeviceDriver | None = None
) -> RealSenseSource:
    """Open ``realsense:SERIAL``; docs/cameras.md lists the options.

    Raises:
        ConfigError: an option is unknown or wrong, or several cameras are attached and the address does not name one.
        CameraUnsupported, CameraMissing, CameraBusy, CameraDenied, CameraLost: the camera cannot be used.
    """
    wanted = _wanted(options, modality)
    rs = import_realsense()
    driver = driver or PipelineDriver(rs, options.path, options.text)
    # An address without a serial number must give the same hub as one with it.
    key = driver.serial
    with _hubs_lock:
        hub = HUBS.get(key)
        if hub is None:
            hub = DeviceHub(rs, driver, options.text)
            HUBS[key] = hub
    try:
        # Starting takes seconds. The lock is not held, so that other devices can be opened and closed meanwhile.
        box = hub.add_stream(wanted, lambda unit: FrameReader(rs, modality, generation, options.text, unit))
    except BaseException:
        _forget(key, hub)
        raise
    with _hubs_lock:
        HUBS.setdefault(key, hub)
    return RealSenseSource(hub, key, box, wanted, options)


def check_realsense(options: CameraUri, modality: Modality) -> None:
    """Check an address's options without opening the camera.

    Raises:
        ConfigError: an option is unknown or wrong.
    """
    _wanted(options, modality)


def _wanted(options: CameraUri, modality: Modality) -> StreamRequest:
    options.allow(*OPTIONS)
    # Parsed for every stream: a wrong value is a mistake even if this stream does not use it.
    index, align = options.integer("ir", 1, 1, 2), options.flag("align")
    return StreamRequest(
        modality=modality,
        size=options.size() or (640, 480),
        fps=options.integer("fps", 30, 1, 300),
        index=index if modality == "ir" else 0,
        emitter=options.choice("emitter", EMITTERS, "leave"),
        align=align and modality == "depth",
    )


def _forget(key: str, hub: DeviceHub) -> None:
    with _hubs_lock:
        if hub.empty and HUBS.get(key) is hub:
            del HUBS[key]


class RealSenseSource:
    """`runtime.capture.source.Source` of one stream of a device."""

    def __init__(
        self, hub: DeviceHub, key: str, box: Mailbox[Frame], wanted: StreamRequest, options: CameraUri
    ) -> None:
        self._hub, self._key, self._box, self._modality = hub, key, box, wanted.modality
        self._closing, self._closed = threading.Lock(), False
        self._info = SourceInfo(
            modality=wanted.modality,
            uri=options.text,
            identity=f"realsense-{key}-{wanted.modality}{wanted.index or ''}",
            backend="realsense",
            width=wanted.size[0],
            height=wanted.size[1],
            pixel_format={"rgb": "RGB8", "ir": "Y8", "depth": "Z16"}[wanted.modality],
            fps=float(wanted.fps),
            timestamp_source="device_mapped",
        )

    @property
    def info(self) -> SourceInfo:
        return self._info

    def read(self, timeout_s: float) -> Frame | None:
        """See `Source.read`."""
        return self._box.get(timeout_s)

    def close(self) -> None:
        """See `Source.close`."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._box.close()
        # Another stream of the device may be starting, and waiting for that would exceed the time allowed for closing.
        leaving = threading.Thread(target=self._leave, name=f"leave {self._info.uri}", daemon=True)
        leaving.start()
        leaving.join(CLOSE_S)

    def _leave(self) -> None:
        self._hub.remove_stream(self._modality)
        _forget(self._key, self._hub)
