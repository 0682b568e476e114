"""Persistent connection to an MQTT broker, in a separate thread.

Every connection starts a new session on both sides, and the kernel discards data that a dead connection has not
delivered. So no old message is delivered late.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from runtime.core.errors import ConfigError
from runtime.core.retry import Backoff
from runtime.core.tls_files import TlsFile, client_context, speaks_no_tls
from service.monitoring.health import Health
from service.outputs.base import error_text

if TYPE_CHECKING:
    import aiomqtt

log = logging.getLogger("adsn.outputs")
BACK_OFF_S = (0.5, 30.0)
CONNECT_S = 5.0
ACKNOWLEDGE_S = 1.5
"""Time limit in seconds for an acknowledgement from the broker, after which the connection is given up."""
KEEP_ALIVE_S = 5


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Address and credentials of the broker. ``authorities``, ``certificate``, ``key``: PEM files for TLS.

    ``client_id``: MQTT client id; if None, one is generated.
    """

    host: str
    port: int = 8883
    tls: bool = True
    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = None
    client_id: str | None = None

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context, or None without TLS. Raises `ConfigError` if a file cannot be used."""
        if not self.tls:
            return None

        def named(setting: str, path: Path | None) -> TlsFile | None:
            return TlsFile(f"mqtt.{setting}", path) if path is not None else None

        return client_context(
            named("authorities", self.authorities), named("certificate", self.certificate), named("key", self.key)
        )


@dataclass(frozen=True, slots=True)
class LastWill:
    """Retained message that the broker publishes if the connection is lost."""

    topic: str
    payload: bytes


class BrokerConnection(ABC):
    """Channel that keeps a connection to ``broker`` open. Subclasses implement `publish_until_lost`."""

    name: ClassVar[str]

    def __init__(
        self, broker: BrokerSettings, will: LastWill, health: Health, back_off_s: tuple[float, float] = BACK_OFF_S
    ) -> None:
        self._library = import_aiomqtt()
        self._broker, self._will, self._health = broker, will, health
        self._tls = broker.context()
        self._backoff = Backoff(first_s=back_off_s[0], last_s=back_off_s[1], spread=0.5)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tries = 0
        self._stopping = False
        self.connected = self._ever = False
        health.raise_("output_failing", "warning", "not connected to the broker yet.", self.name)
        self._thread = threading.Thread(target=self._run, name=f"adsn-output-{self.name}", daemon=True)

    @abstractmethod
    async def publish_until_lost(self, client: aiomqtt.Client) -> None:
        """Publish on a new connection until asked to stop or the connection ends."""

    def close(self, timeout_s: float) -> None:
        """Close the connection and end the thread."""
        self._stopping = True
        self.ring()
        self._thread.join(timeout_s)

    def ring(self) -> None:
        """Wake `publish_until_lost`."""
        loop = self._loop
        # If the event loop has ended or does not exist yet, there is nothing to wake.
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake.set)

    def established(self) -> None:
        """Record that the broker has accepted the first messages."""
        self.connected = self._ever = True
        self._backoff.reset()
        self._tries = 0
        self._health.clear("output_failing", self.name)
        log.info("%s: connected to %s:%d", self.name, self._broker.host, self._broker.port)

    def _run(self) -> None:
        asyncio.run(self._keep_connected())

    async def _keep_connected(self) -> None:
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        while not self._stopping:
            try:
                async with self._client() as client:
                    await self.publish_until_lost(client)
            except Exception as error:
                self._tries += 1
                detail = f"{self._broker.host}:{self._broker.port}: {error_text(error)}{self._tls_advice(error)}"
                self._health.raise_("output_failing", "warning", detail, self.name)
                if self._tries in (1, 10) or self._tries % 100 == 0:
                    log.warning("%s: not connected after %d tries: %s", self.name, self._tries, detail)
            finally:
                self.connected = False
                _cancel_others()
            if not self._stopping:
                await self._pause(self._backoff.next())

    def _tls_advice(self, error: Exception) -> str:
        """Return advice if the port may expect TLS where none is used, or the reverse; otherwise an empty string.

        A broker without TLS resets a connection that starts with TLS. A broker with TLS waits for the rest of a TLS
        record if the connection starts without TLS.
        """
        broker = self._broker
        if self._ever or not isinstance(error, self._library.MqttError):
            return ""
        if broker.tls and (speaks_no_tls(error) or "reset by peer" in str(error) or "EOF occurred" in str(error)):
            return f". If port {broker.port} is for connections without TLS, set mqtt.tls = false"
        if not broker.tls and "timed out" in str(error):
            return f". If port {broker.port} is for TLS, set mqtt.tls = true"
        return ""

    async def _pause(self, seconds: float) -> None:
        """Wait for ``seconds`` or until asked to stop. Events offered meanwhile do not shorten the wait."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not self._stopping and (left := deadline - loop.time()) > 0:
            self._wake.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left)

    def _client(self) -> aiomqtt.Client:
        library, broker = self._library, self._broker
        milliseconds = int(ACKNOWLEDGE_S * 1000)
        client: aiomqtt.Client = library.Client(
            broker.host,
            broker.port,
            identifier=broker.client_id,
            username=broker.username,
            password=broker.password,
            tls_context=self._tls,
            protocol=library.ProtocolVersion.V5,
            clean_start=True,
            keepalive=KEEP_ALIVE_S,
            timeout=CONNECT_S,
            will=library.Will(self._will.topic, self._will.payload, qos=1, retain=True),
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)],
        )
        return client


@contextlib.asynccontextmanager
async def listening(client: aiomqtt.Client) -> AsyncIterator[asyncio.Future[None]]:
    """Yield a future that is done when the connection ends, with the reason as its exception. Subscribes to no
    topic."""

    async def listen() -> None:
        async for _ in client.messages:
            pass

    ended = asyncio.ensure_future(listen())
    try:
        yield ended
    finally:
        ended.cancel()
        with contextlib.suppress(BaseException):
            await ended


async def unless(ended: asyncio.Future[None], work: Coroutine[Any, Any, Any]) -> None:
    """Run ``work``, but stop if the connection ends. The library does not notice that while it waits for a reply."""
    doing = asyncio.ensure_future(work)
    try:
        await asyncio.wait((doing, ended), return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
        if ended.done():
            ended.result()
            raise ConnectionError("the connection has ended.")
    finally:
        doing.cancel()


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """Return ``body`` as JSON. NaN is refused."""
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def import_aiomqtt() -> Any:
    """Return the aiomqtt module. Raises `ConfigError` if it is not installed."""
    try:
        import aiomqtt
    except ModuleNotFoundError:
        raise ConfigError("the MQTT output needs the package aiomqtt: pip install 'adsn[kiosk]'") from None
    return aiomqtt


def _cancel_others() -> None:
    """Cancel the tasks that the library leaves behind after a failed connection.

    Otherwise they would accumulate over months of retries.
    """
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
