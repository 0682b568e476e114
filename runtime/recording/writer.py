"""Record a rig as an MCAP file: every frame and every pair, with times exact to the nanosecond.

Images of people's faces are biometric data. Nothing is recorded without a statement of who consented. The statement is
stored in the file, only the owner can read the folder, and the log and the status of the rig show that a recording is
running.

Images are on the topics ``/rgb``, ``/ir`` and ``/depth``. The publish time of a message is the capture time of the
frame, and its log time is the arrival time. Its sequence number is the driver's, or 0 if there is none. Before each
image there is a message on ``/rgb/frame``, ``/ir/frame`` or ``/depth/frame`` (JSON) with the other fields of the frame.
The file also contains the topic ``/pair`` (JSON), a metadata record ``adsn`` (consent, settings, versions), and the
calibration of the rig as an attachment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import stat
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from runtime import __version__
from runtime.capture.source import SourceInfo
from runtime.capture.uri import redact
from runtime.config.rig import RigSettings
from runtime.core.errors import ConfigError
from runtime.core.values import MODALITIES, Frame, Modality
from runtime.pairing.feed import CapturedPair
from runtime.recording.image_message import COMPRESSED_SCHEMA, IMAGE_SCHEMA, encode_image, encode_jpeg

log = logging.getLogger(__name__)

METADATA = "adsn"
CALIBRATION = "calibration"
FORMAT = "1"
CHUNK = 8 << 20
"""Chunk size in bytes: about a fifth of a second of two raw streams of 640×480 at 30 frames/s. If the process is
killed, the chunk in progress and the items in the queue are lost. A power failure can also lose chunks that the system
has not yet written to the disk, because the file is synchronised (fsync) only at the end."""
QUEUE = 64
"""Maximum number of frames and pairs waiting for the disk. Any more are left out of the recording and counted, so that
the rig never waits."""
MIN_FREE = 1 << 30
"""Minimum free disk space in bytes. Below it the recording ends, before the disk is full."""
PAIR_SCHEMA = json.dumps(
    {
        "title": "adsn.Pair",
        "type": "object",
        "properties": {
            "number": {"type": "integer"},
            "epoch": {"type": "integer"},
            "skew_ns": {"type": "integer"},
            "times_ns": {"type": "object", "additionalProperties": {"type": "integer"}},
            "dark_time_ns": {"type": ["integer", "null"]},
            "lit": {"type": "string"},
            "emitted_ns": {"type": "integer"},
        },
    }
)
FRAME_SCHEMA = json.dumps(
    {
        "title": "adsn.Frame",
        "type": "object",
        "properties": {
            "lit": {"type": "string"},
            "epoch": {"type": "integer"},
            "seq": {"type": ["integer", "null"]},
            "exposure_ns": {"type": ["integer", "null"]},
            "timestamp_source": {"type": "string"},
        },
    }
)


def require_mcap() -> Any:
    """Return the package mcap, which writes the files.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import mcap.writer
    except ImportError as error:
        raise ConfigError("recordings need the package mcap: pip install 'adsn[rig]'.") from error
    return mcap.writer


def private_folder(folder: Path) -> None:
    """Create a folder that only its owner can read, or check that an existing one is private.

    Raises:
        ConfigError: other users can read it, or it is not a folder. The message says what to do.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{folder} is a link or not a folder; use a folder for recordings only.")
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigError(
            f"{folder} can be read by others, and recordings show faces: chmod 700 {folder}, or use another folder."
        )


def create_private(path: Path) -> IO[bytes]:
    """Create and open a file of mode 0600. An existing file is never overwritten."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")


def settings_text(settings: RigSettings) -> str:
    """Return the settings of the rig as JSON, without passwords."""
    values = settings.model_dump(mode="json")
    return json.dumps({k: redact(v) if isinstance(v, str) else v for k, v in values.items()})


class Recorder:
    """Recorder of a rig. Pass it to `Rig` as an observer, and `close` it after the rig.

    ``consent``: who agreed to be recorded, and to what; stored in the file. ``jpeg``: JPEG quality of RGB frames, 1 to
    100. With 0 they are stored without loss, and only then do replays give identical scores. ``max_s``: maximum length
    in seconds.

    Raises:
        ConfigError: consent or the package is missing, or others can read the folder.
        OSError: the file cannot be created.
    """

    def __init__(
        self,
        folder: Path,
        settings: RigSettings,
        *,
        consent: str,
        jpeg: int = 0,
        max_s: float | None = None,
        min_free: int = MIN_FREE,
    ) -> None:
        if not consent.strip():
            raise ConfigError(
                "recordings show people's faces. Say who agreed to it, e.g. --i-have-consent 'test staff, form 12'."
            )
        if not 0 <= jpeg <= 100:
            raise ConfigError(f"the JPEG quality must be 1 to 100, or 0 for no JPEG, not {jpeg}.")
        writers = require_mcap()
        private_folder(folder)
        now = datetime.now(timezone.utc)
        self.path = folder / f"adsn-{now:%Y%m%dT%H%M%S}-{os.getpid()}-{time.monotonic_ns() % 10**6:06d}.mcap"
        self._file = create_private(self.path)
        self._writer = writers.Writer(self._file, chunk_size=CHUNK, compression=writers.CompressionType.NONE)
        self._writer.start(profile="ros2", library=f"adsn {__version__}")
        self._jpeg, self._min_free = jpeg, min_free
        self._until = None if max_s is None else time.monotonic() + max_s
        self._channels: dict[str, int] = {}
        self.describe: Callable[[Modality], SourceInfo | None] = lambda modality: None
        """Function that returns the description of a camera, for the metadata of its channel. Set it once the rig
        exists."""
        self.frames = self.pairs = self.left_out = 0
        self.error = ""
        self._writer.add_metadata(
            METADATA,
            {
                "format": FORMAT,
                "consent": consent.strip(),
                "settings": settings_text(settings),
                "adsn_version": __version__,
                "created": now.isoformat(timespec="seconds"),
                "clock": "CLOCK_MONOTONIC",
                "created_monotonic_ns": str(time.monotonic_ns()),
            },
        )
        if settings.geometry is not None:
            data = settings.geometry.read_bytes()
            self._writer.add_attachment(0, time.monotonic_ns(), CALIBRATION, "application/octet-stream", data)
        self._queue: queue.Queue[Frame | CapturedPair | None] = queue.Queue(QUEUE)
        self._active = True
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()
        log.warning("RECORDING faces to %s. Consent given: %s", self.path, consent.strip())

    @property
    def recording(self) -> str:
        """The file that is being written; see `runtime.pairing.rig.RigObserver`."""
        return str(self.path) if self._active else ""

    def on_frame(self, frame: Frame) -> None:
        """Queue a frame and return at once."""
        self._put(frame)

    def on_pair(self, captured: CapturedPair) -> None:
        """Queue a pair and return at once."""
        self._put(captured)

    def close(self) -> None:
        """Write the queued frames and pairs, finish the file and close it."""
        while self._thread.is_alive():
            # A timeout is needed because the thread may have ended on a full disk, and then nothing empties the queue.
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=0.1)
                self._thread.join()
        log.warning(
            "recording ended: %s has %d frames and %d pairs; %d frames were left out.",
            self.path,
            self.frames,
            self.pairs,
            self.left_out,
        )

    def _put(self, item: Frame | CapturedPair) -> None:
        if not self._active:
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.left_out += 1

    def _write(self) -> None:
        checked = time.monotonic()
        try:
            while (item := self._queue.get()) is not None:
                if isinstance(item, Frame):
                    self._frame(item)
                else:
                    self._pair(item)
                now = time.monotonic()
                if self._until is not None and now >= self._until:
                    break
                if now - checked > 1:
                    checked = now
                    self._writer.flush()
                    if shutil.disk_usage(self.path.parent).free < self._min_free:
                        raise OSError(f"less than {self._min_free >> 20} MB are free on the disk")
        except Exception as error:
            self.error = str(error)
            log.error("recording stopped: %s. The rig continues.", str(error))
        finally:
            self._active = False
            self._finish()

    def _finish(self) -> None:
        try:
            self._writer.finish()
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self.error = self.error or str(error)
            log.error("the recording has no index: %s. Data written before can be read.", str(error))
        finally:
            self._file.close()

    def _channel(self, topic: str, name: str, encoding: str, schema: str, metadata: dict[str, str]) -> int:
        if topic not in self._channels:
            kind = "ros2msg" if encoding == "cdr" else "jsonschema"
            known = self._writer.register_schema(name, kind, schema.encode())
            self._channels[topic] = self._writer.register_channel(topic, encoding, known, metadata)
        return self._channels[topic]

    def _frame(self, frame: Frame) -> None:
        times = {"log_time": frame.t_arrival_ns, "publish_time": frame.t_capture_ns, "sequence": frame.seq or 0}
        facts = {
            "lit": frame.lit,
            "epoch": frame.generation,
            "seq": frame.seq,
            "exposure_ns": frame.exposure_ns,
            "timestamp_source": frame.timestamp_source,
        }
        modality = frame.modality
        channel = self._channel(f"/{modality}/frame", "adsn.Frame", "json", FRAME_SCHEMA, {})
        self._writer.add_message(channel, data=json.dumps(facts).encode(), **times)
        packed = self._jpeg > 0 and modality == "rgb"
        if packed:
            data = encode_jpeg(frame.image, frame.t_capture_ns, self._jpeg)
        else:
            data = encode_image(frame.image, modality, frame.t_capture_ns)
        name = "sensor_msgs/msg/CompressedImage" if packed else "sensor_msgs/msg/Image"
        schema = COMPRESSED_SCHEMA if packed else IMAGE_SCHEMA
        channel = self._channel(f"/{modality}", name, "cdr", schema, self._about(frame))
        self._writer.add_message(channel, data=data, **times)
        self.frames += 1

    def _about(self, frame: Frame) -> dict[str, str]:
        height, width = frame.image.shape[:2]
        about = {"modality": frame.modality, "width": str(width), "height": str(height)}
        info = self.describe(frame.modality)
        if info is not None:
            about |= {
                "identity": info.identity,
                "uri": info.uri,
                "backend": info.backend,
                "pixel_format": info.pixel_format,
                "fps": "" if info.fps is None else f"{info.fps:g}",
            }
        return about

    def _pair(self, captured: CapturedPair) -> None:
        pair = captured.pair
        times = {m: getattr(pair, f"{m}_time_ns") for m in MODALITIES if getattr(pair, m) is not None}
        facts = {
            "number": captured.number,
            "epoch": pair.generation,
            "skew_ns": pair.skew_ns,
            "times_ns": times,
            "dark_time_ns": pair.ir_dark_time_ns,
            "lit": pair.lit,
            "emitted_ns": captured.t_emitted_ns,
        }
        channel = self._channel("/pair", "adsn.Pair", "json", PAIR_SCHEMA, {})
        self._writer.add_message(
            channel, log_time=captured.t_emitted_ns, publish_time=min(times.values()), data=json.dumps(facts).encode()
        )
        self.pairs += 1
