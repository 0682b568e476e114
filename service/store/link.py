"""Connection to Redis or Valkey: one deadline per call, no retries, and one word for the cause of a failure.

A call without an answer may still have been executed. It is never repeated: the request is refused, and a nonce or key
that the call has claimed stays claimed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Sequence
from typing import Any

from runtime.config.store import StoreSettings, connection_options
from runtime.core.errors import ConfigError
from service.store.base import Cause
from service.store.scripts import Script

SENTENCES: dict[Cause, str] = {
    "slow": "it does not answer in time. Check its load, its disk and the network.",
    "unreachable": "no connection can be made. Start it, or correct store.url.",
    "untrusted": "its certificate is not trusted, or TLS fails. Correct store.ca, the certificates, or store.url.",
    "denied": "it refuses this user. Correct store.username and store.password, or the user's permissions.",
    "full": "it is full (maxmemory). Give it more memory.",
    "loading": "it is loading its data. Wait.",
    "read_only": "it is a replica, which accepts no writes. Set store.url to the primary.",
    "error": "it refuses a command. See its log; it must be Redis 6 or newer, or Valkey, and no cluster.",
}
LAST_LOOK_S = 0.005
"""Time in seconds reserved at the end of each deadline. If the event loop was busy until after the deadline, it reads
once more what has arrived before it gives up."""
CONNECTIONS = 8
CONNECT_S = 1.0
"""Timeout in seconds for opening a connection for which no request is waiting."""


class StoreFailure(Exception):
    """A call failed. ``cause``: one word for the cause, which does not quote any data."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause: Cause = cause


def import_redis() -> Any:
    """Return the redis-py module.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import redis
        import redis.asyncio
    except ModuleNotFoundError:
        raise ConfigError("store.url needs the package redis: pip install 'adsn[redis]'") from None
    return redis


class StoreLink:
    """Connections on which scripts are run in the store. Use it on one event loop only.

    Raises:
        ConfigError: redis-py is not installed, or a TLS file cannot be used.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._redis = import_redis()
        settings.check_files()
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._client: Any = self._redis.asyncio.Redis(
            **connection_options(settings),
            # Deadlines are enforced in this module. Those of the library would end a call even if its answer has
            # arrived.
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            max_connections=CONNECTIONS,
        )
        # Further calls wait for one of these connections, because that takes less time than a new handshake.
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._running: set[asyncio.Task[Any]] = set()

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes], within_s: float) -> Any:
        """Return the result of ``script``.

        Raises:
            StoreFailure: the store gave no answer within ``within_s``, or refused the call.
        """
        return await self._within(self._evaluate(script, keys, arguments), within_s)

    async def connect(self) -> None:
        """Open all connections, so that no request waits for a handshake.

        Raises:
            StoreFailure: a connection cannot be opened.
        """
        await self._within(self._open(), CONNECT_S)

    async def disconnect(self) -> None:
        """Close idle connections, which are useless after a restart of the server."""
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close all connections."""
        for task in tuple(self._running):
            task.cancel()
        await self._client.aclose()

    async def _evaluate(self, script: Script, keys: Sequence[str], arguments: Sequence[str | bytes]) -> Any:
        words = (len(keys), *keys, *arguments)
        async with self._free:
            try:
                return await self._client.execute_command("EVALSHA", script.sha, *words)
            except self._redis.exceptions.NoScriptError:
                # The script was not executed: the server was restarted and does not know it yet.
                return await self._client.execute_command("EVAL", script.text, *words)

    async def _open(self) -> None:
        # Run at the same time, each ping uses a different connection.
        await asyncio.gather(*(self._ping() for _ in range(CONNECTIONS)))

    async def _ping(self) -> None:
        async with self._free:
            await self._client.ping()

    async def _within(self, call: Coroutine[Any, Any, Any], seconds: float) -> Any:
        task = asyncio.ensure_future(call)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, seconds - LAST_LOOK_S))
            if not done:
                done, _ = await asyncio.wait({task}, timeout=LAST_LOOK_S)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            # The library closes a connection whose call was cancelled.
            task.cancel()
            raise StoreFailure("slow")
        try:
            return task.result()
        except Exception as error:
            # With any exception of the library it is unknown whether the script was executed, so the call counts as
            # failed.
            raise StoreFailure(self._cause(error)) from error

    def _cause(self, error: BaseException) -> Cause:
        known = self._redis.exceptions
        chain: BaseException | None = error
        while chain is not None:
            if isinstance(chain, ssl.SSLError):
                return "untrusted"
            chain = chain.__cause__ or chain.__context__
        if isinstance(error, (known.AuthenticationError, known.NoPermissionError)):
            return "denied"
        if isinstance(error, known.BusyLoadingError):
            return "loading"
        if isinstance(error, known.OutOfMemoryError):
            return "full"
        if isinstance(error, known.ReadOnlyError):
            return "read_only"
        if isinstance(error, (known.ConnectionError, OSError)):
            return "unreachable"
        if isinstance(error, known.TimeoutError):
            return "slow"
        text = str(error)
        # Older servers wrap the error of a script in another error.
        words: dict[str, Cause] = {"OOM": "full", "READONLY": "read_only", "NOPERM": "denied", "NOAUTH": "denied"}
        return next((cause for word, cause in words.items() if word in text), "error")
