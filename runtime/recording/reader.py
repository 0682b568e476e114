"""Read a recording: its frames in the order in which they went into pairing, and the pairs that they form.

A recording that was cut short by a power failure, or whose index or chunks are damaged, is read as far as possible.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from runtime.config.rig import RigSettings
from runtime.core.errors import CameraData, CameraMissing, ConfigError, RecordingInvalid
from runtime.core.values import MODALITIES, Frame, IlluminationState, Modality, TimestampSource
from runtime.pairing.feed import CapturedPair
from runtime.pairing.rig_pairing import RigPairing
from runtime.recording.image_message import decode_image, decode_jpeg
from runtime.recording.writer import CALIBRATION, FORMAT, METADATA

log = logging.getLogger(__name__)

LARGEST = 256 << 20
"""Maximum length of a record. A greater length means damage or an attempt to exhaust memory."""
CLOCK = 1 << 62


@dataclass(slots=True)
class ReadTally:
    """Counts of frames that were read and that could not be read. ``end``: why reading stopped early; empty if it
    reached the end."""

    frames: int = 0
    pairs: int = 0
    damaged: int = 0
    end: str = ""


class Recording:
    """An MCAP file of this project.

    ``settings``: settings of the rig during recording. ``consent``: recorded statement of consent. ``calibration``:
    bytes of the rig's calibration file; None if there was none.

    Raises:
        CameraMissing: the file does not exist.
        ConfigError: the package mcap is not installed.
        RecordingInvalid: the file is not a recording of this project, or none of it can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calibration: bytes | None = None
        metadata: dict[str, str] | None = None
        first = None
        self.modalities: tuple[Modality, ...] = ()
        found: set[Modality] = set()
        tally = ReadTally()
        for record in self._records(tally):
            name = type(record).__name__
            if name == "Metadata" and record.name == METADATA:
                metadata = dict(record.metadata)
            elif name == "Attachment" and record.name == CALIBRATION:
                self.calibration = bytes(record.data)
            elif name == "Channel":
                found |= {m for m in MODALITIES if record.topic == f"/{m}"}
            elif name == "Message" and first is None:
                first = record.log_time
            # A channel is declared with its first frame, so both channels are known after about a second of the
            # recording.
            if metadata is not None and first is not None and len(found) > 1:
                break
        if metadata is None or first is None:
            reason = tally.end or "it has no frames of a rig"
            raise RecordingInvalid(f"{path}: not a readable recording of a rig: {reason}.")
        if metadata.get("format") != FORMAT:
            raise RecordingInvalid(f"{path}: unknown format, written by adsn {metadata.get('adsn_version')}.")
        self.first_ns = int(first)
        self.modalities = tuple(m for m in MODALITIES if m in found)
        self.consent = metadata.get("consent", "")
        self.created = metadata.get("created", "")
        try:
            stored = json.loads(metadata.get("settings", "{}"))
            # The recorded geometry path is only valid on the machine that recorded it. The calibration file itself is
            # attached.
            self.settings = RigSettings.model_validate({**stored, "geometry": None})
        except (ValueError, ValidationError) as error:
            raise RecordingInvalid(f"{path}: the recorded settings are damaged: {error}") from error

    def frames(self, only: Modality | None = None, tally: ReadTally | None = None) -> Iterator[Frame]:
        """Yield the frames in the order in which they went into pairing. Damaged frames are skipped and counted in
        ``tally``."""
        tally = tally if tally is not None else ReadTally()
        topics: dict[int, tuple[str, str]] = {}
        schemas: dict[int, str] = {}
        facts: dict[str, dict[str, Any]] = {}
        for record in self._records(tally):
            name = type(record).__name__
            if name == "Schema":
                schemas[record.id] = record.name
            elif name == "Channel":
                topics[record.id] = record.topic, schemas.get(record.schema_id, "")
            elif name == "Message":
                topic, schema = topics.get(record.channel_id, ("", ""))
                modality, _, kind = topic.lstrip("/").partition("/")
                wanted = next((m for m in MODALITIES if m == modality and only in (None, m)), None)
                if topic == "/pair":
                    tally.pairs += 1
                elif wanted is not None and kind == "frame":
                    facts[modality] = _facts(record.data)
                elif wanted is not None and not kind:
                    try:
                        yield _frame(record, wanted, schema, facts.pop(modality, {}))
                        tally.frames += 1
                    except CameraData as error:
                        tally.damaged += 1
                        log.debug("%s: %s", self.path, str(error))

    def pair_times(self) -> Iterator[dict[str, int]]:
        """Yield modality → mid-exposure in nanoseconds of each pair that the rig formed during recording."""
        topics: dict[int, str] = {}
        for record in self._records(ReadTally()):
            name = type(record).__name__
            if name == "Channel":
                topics[record.id] = record.topic
            elif name == "Message" and topics.get(record.channel_id) == "/pair":
                data = _facts(record.data)
                try:
                    yield dict(data["times_ns"])
                except (KeyError, TypeError, ValueError):
                    continue

    def replay(self, tally: ReadTally | None = None) -> Iterator[CapturedPair]:
        """Yield the pairs that the frames form, as fast as they can be read.

        The recorded settings form them, so these are the pairs that the rig formed.
        """
        pairing = RigPairing(self.settings)
        number = 0
        newest = 0
        for frame in self.frames(tally=tally):
            if frame.modality in pairing.modalities:
                newest = frame.t_arrival_ns
                for pair in pairing.push(frame):
                    yield CapturedPair(number, pair, newest)
                    number += 1
        while (due := pairing.deadline_ns) is not None:
            for pair in pairing.advance(due):
                yield CapturedPair(number, pair, due)
                number += 1

    def _records(self, tally: ReadTally) -> Iterator[Any]:
        try:
            import mcap.exceptions
            import mcap.records
            from mcap.stream_reader import StreamReader
        except ImportError as error:
            raise ConfigError("recordings need the package mcap: pip install 'adsn[rig]'.") from error
        try:
            file = self.path.open("rb")
        except FileNotFoundError as error:
            raise CameraMissing(f"{self.path}: no such file.") from error
        except OSError as error:
            raise RecordingInvalid(f"{self.path}: cannot be read: {error.strerror}.") from error
        with file:
            reader = StreamReader(file, emit_chunks=True, record_size_limit=LARGEST)
            records = iter(reader.records)
            while True:
                try:
                    record = next(records)
                    parts = _chunk_records(record, tally) if isinstance(record, mcap.records.Chunk) else [record]
                except StopIteration:
                    return
                except Exception as error:
                    # On damaged bytes the package can raise almost any exception: struct.error, UnicodeDecodeError, …
                    tally.end = f"{type(error).__name__} ({error})" if str(error) else type(error).__name__
                    return
                yield from parts


def _chunk_records(chunk: Any, tally: ReadTally) -> list[Any]:
    """Return the records of a chunk. If it is damaged, return an empty list, because the next chunk may be intact."""
    from mcap.stream_reader import breakup_chunk

    try:
        if chunk.compression:
            # This project writes uncompressed chunks. Compressed chunks from elsewhere could exhaust memory.
            raise CameraData(f"a chunk compressed with {chunk.compression}; rewrite the file without compression.")
        return breakup_chunk(chunk, validate_crc=True)
    except Exception as error:
        tally.damaged += 1
        log.debug("a damaged chunk: %s", str(error))
        return []


def _facts(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _frame(message: Any, modality: Modality, schema: str, facts: Mapping[str, Any]) -> Frame:
    decoder = decode_jpeg if schema.endswith("CompressedImage") else decode_image
    image = decoder(message.data, modality)
    if modality != "depth":
        image = np.ascontiguousarray(image)
    image.setflags(write=False)
    source: TimestampSource = next(
        (s for s in get_args(TimestampSource) if s == facts.get("timestamp_source")), "recorded"
    )
    lit: IlluminationState = next(
        (state for state in get_args(IlluminationState) if state == facts.get("lit")), "unknown"
    )
    seq, exposure, generation = facts.get("seq"), facts.get("exposure_ns"), facts.get("epoch")
    if not max(message.publish_time, message.log_time) < CLOCK:
        raise CameraData("a recorded image has impossible times.")
    return Frame(
        modality=modality,
        image=image,
        t_capture_ns=message.publish_time,
        t_arrival_ns=message.log_time,
        seq=seq if isinstance(seq, int) else None,
        timestamp_source=source,
        lit=lit,
        generation=generation if isinstance(generation, int) and generation >= 0 else 0,
        exposure_ns=exposure if isinstance(exposure, int) else None,
    )
