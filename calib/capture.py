"""Read live cameras for calibration, with one thread per camera."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from runtime.capture.file import require_same_numbers
from runtime.capture.open import open_source
from runtime.capture.source import Source, SourceInfo
from runtime.core.errors import AdsnError
from runtime.core.values import Frame, Modality
from runtime.pairing.illumination import IlluminationClassifier, frame_stats

READ_S = 0.5


class SourceReader:
    """Reads a source and passes every frame to ``receive`` in the reader's thread.

    IR frames are classified as lit or dark, as in a running rig, so a strobed camera needs no metadata.
    """

    def __init__(self, source: Source, receive: Callable[[Frame], None]) -> None:
        self.info: SourceInfo = source.info
        self._source, self._receive = source, receive
        self._error: AdsnError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"calib-{source.info.modality}", daemon=True)
        self._thread.start()

    def require_running(self) -> None:
        """Raise the error that ended the thread, if there was one."""
        if self._error is not None:
            raise self._error

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def close(self) -> None:
        self._stop.set()
        self._source.close()
        self._thread.join(2)

    def _run(self) -> None:
        strobe = IlluminationClassifier() if self.info.modality == "ir" else None
        try:
            while not self._stop.is_set():
                frame = self._source.read(READ_S)
                if frame is None:
                    continue
                if strobe is not None:
                    lit = strobe.classify(
                        frame_stats(frame.image),
                        t_ns=frame.t_capture_ns,
                        seq=frame.seq,
                        lit=frame.lit,
                        generation=frame.generation,
                    )
                    frame = dataclasses.replace(frame, lit=lit)
                self._receive(frame)
        except AdsnError as error:
            if not self._stop.is_set():
                self._error = error


@contextmanager
def read_cameras(
    uris: Mapping[Modality, str], receive: Callable[[Frame], None]
) -> Iterator[dict[Modality, SourceReader]]:
    """Open cameras and read them until the block ends.

    Raises:
        ConfigError: an address is wrong, or two folders of images do not match.
        CaptureError: a camera cannot be opened.
    """
    with ExitStack() as stack:
        require_same_numbers(uris)
        sources = {}
        for modality, uri in uris.items():
            sources[modality] = open_source(uri, modality)
            stack.callback(sources[modality].close)
        readers = {}
        for modality, source in sources.items():
            readers[modality] = SourceReader(source, receive)
            stack.callback(readers[modality].close)
        yield readers
