"""The model in use, while it is starting, ready, failed, or being replaced by a newer one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runtime.core.errors import AdsnError, NotReady
from runtime.liveness.open import LoadedModel

log = logging.getLogger("adsn.service")


def log_failure(error: BaseException) -> None:
    """Log why the engine cannot start."""
    log.error("the engine cannot start: %s", error)


class ActiveModel:
    """Holder of the pipeline in use. Scoring takes a lease, so that a replaced pipeline is closed only after its last
    pair."""

    def __init__(self, load: Callable[[], LoadedModel]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._leases: dict[int, int] = {}
        self._retired: dict[int, LoadedModel] = {}
        self._loading = threading.Lock()
        self._closed = False
        self.on_loaded: Callable[[LoadedModel], None] = lambda loaded: None
        """Called in the loading thread, each time a loaded model takes over."""
        self.loaded: LoadedModel | None = None
        self.failure: BaseException | None = None

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """Load in a thread, so that the service answers /livez meanwhile. ``failed``: called with the exception if
        loading fails."""

        def run() -> None:
            try:
                with self._loading:
                    loaded = self._load()
                    self._put(loaded)
            except BaseException as error:
                self.failure = error
                failed(error)
            else:
                self.on_loaded(loaded)

        threading.Thread(target=run, name="adsn-load", daemon=True).start()

    def reload(self) -> None:
        """Load again in a thread, and use the new pipeline once it is loaded.

        The new pipeline must reproduce its golden vectors before it gets any request. If it does not, the old one stays
        in use and the log gives the reason.
        """

        def run() -> None:
            if not self._loading.acquire(blocking=False):
                log.warning("a model is already being loaded; this reload is ignored.")
                return
            loaded = None
            try:
                loaded = self._load()
                self._put(loaded)
            except Exception as error:
                reason = error.message if isinstance(error, AdsnError) else type(error).__name__
                log.error("the model was not replaced; the old one stays in use: %s", reason)
            finally:
                self._loading.release()
            if loaded is not None:
                self.on_loaded(loaded)

        threading.Thread(target=run, name="adsn-reload", daemon=True).start()

    def replace(self, load: Callable[[], LoadedModel]) -> None:
        """Load with ``load`` in the caller's thread and use the result. Later calls of `reload` use ``load`` too.

        Exceptions from ``load`` are raised, and the old model then stays in use.
        """
        with self._loading:
            self._put(load())
            self._load = load

    def require(self) -> LoadedModel:
        """Return the pipeline, to read its properties. To score with it, take a `lease`.

        Raises:
            NotReady: the pipeline is still starting, or could not start.
        """
        loaded = self.loaded
        if loaded is None:
            raise NotReady(
                "the engine is starting."
                if self.failure is None
                else "the engine could not start; see the service's log."
            )
        return loaded

    @contextmanager
    def lease(self) -> Iterator[LoadedModel]:
        """Yield the pipeline. It stays open until the end of the block, even if it is replaced.

        Raises:
            NotReady: see `require`.
        """
        with self._lock:
            loaded = self.require()
            key = id(loaded)
            self._leases[key] = self._leases.get(key, 0) + 1
        try:
            yield loaded
        finally:
            with self._lock:
                self._leases[key] -= 1
                done = self._leases[key] == 0
                if done:
                    del self._leases[key]
                idle = self._retired.pop(key, None) if done else None
            if idle is not None:
                idle.pipeline.engine.close()

    def _put(self, loaded: LoadedModel) -> None:
        with self._lock:
            old, self.loaded = self.loaded, loaded
            waits = old is not None and id(old) in self._leases
            if old is not None and waits:
                self._retired[id(old)] = old
            closed = self._closed
        log.info("model loaded: %s %s", loaded.manifest.name, loaded.manifest.version)
        if old is not None and not waits:
            old.pipeline.engine.close()
        if closed:
            loaded.pipeline.engine.close()

    def close(self) -> None:
        """Close the loaded pipeline, and the result of any load still in progress."""
        with self._lock:
            self._closed = True
            held = [*self._retired.values(), *([self.loaded] if self.loaded is not None else [])]
        for loaded in held:
            loaded.pipeline.engine.close()
