"""Events to an MQTT broker.

::

    site/SITE/door/DOOR/liveness/health   retained: online or offline (the last will), and what is wrong
    site/SITE/door/DOOR/liveness/state    QoS 0, not retained
    site/SITE/door/DOOR/liveness/event    decisions: QoS 1, never retained, expiring within two seconds (MQTT 5)

A retained ``live`` would open the door again for whoever subscribes later, and one that was queued while the broker was
away would open it after everyone has gone. So every connection is a new session on both sides, nothing waits for a
broker that is not there, and the kernel drops what a dead connection has not delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.core.errors import ConfigError
from runtime.core.retry import Backoff
from runtime.core.tls_files import TlsFile, client_context
from service.monitoring.health import Health
from service.outputs.base import Clock, Event, EventQueue, boottime_ns, error_text, utc_now

if TYPE_CHECKING:
    import aiomqtt

log = logging.getLogger("adsn.outputs")
BACK_OFF_S = (0.5, 30.0)
CONNECT_S = 5.0
ACKNOWLEDGE_S = 1.5
"""What a broker has not acknowledged after so long, it will not in time: the connection is given up."""
KEEP_ALIVE_S = 5


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker is and how to come in. ``authorities``, ``certificate``, ``key``: PEM files for TLS."""

    host: str
    port: int = 8883
    tls: bool = True
    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = None

    def context(self) -> ssl.SSLContext | None:
        """Raises ConfigError when a file cannot be used."""
        if not self.tls:
            return None

        def named(setting: str, path: Path | None) -> TlsFile | None:
            return TlsFile(f"mqtt.{setting}", path) if path is not None else None

        return client_context(
            named("authorities", self.authorities), named("certificate", self.certificate), named("key", self.key)
        )


class MqttChannel:
    """Keeps one connection to ``broker``, in a thread of its own."""

    name = "mqtt"

    def __init__(
        self, broker: BrokerSettings, topic: str, health: Health, *, clock: Clock = boottime_ns,
        back_off_s: tuple[float, float] = BACK_OFF_S,
    ) -> None:  # fmt: skip
        self._library = import_aiomqtt()
        self._broker, self._topic, self._health, self._clock = broker, topic, health, clock
        self._tls = broker.context()
        self._backoff = Backoff(first_s=back_off_s[0], last_s=back_off_s[1], spread=0.5)
        self._queue = EventQueue(clock=clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self.connected = False
        health.raise_("output_failing", "warning", "not connected to the broker yet.", self.name)
        self._thread = threading.Thread(target=self._run, name="adsn-output-mqtt", daemon=True)
        self._thread.start()

    def offer(self, event: Event) -> None:
        if event.kind == "decision" and not self.connected:
            # It would have expired by the time there is a connection, or arrive as a surprise.
            self._queue.count("failed")
            return
        self._queue.put(event)
        self._ring()

    def counts(self) -> Mapping[str, int]:
        return dict(self._queue.counts)

    def close(self, timeout_s: float) -> None:
        self._queue.close()
        self._stopping = True
        self._ring()
        self._thread.join(timeout_s)

    def _ring(self) -> None:
        loop = self._loop
        # The loop may be gone, or not be there yet; then nobody sleeps who would have to be woken.
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake.set)

    def _run(self) -> None:
        asyncio.run(self._keep_connected())

    async def _keep_connected(self) -> None:
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        tries = 0
        while not self._stopping:
            try:
                async with self._client() as client:
                    await self._greet(client)
                    self._backoff.reset()
                    tries = 0
                    await self._serve(client)
            except Exception as error:
                tries += 1
                detail = f"{self._broker.host}:{self._broker.port}: {error_text(error)}"
                self._health.raise_("output_failing", "warning", detail, self.name)
                if tries in (1, 10) or tries % 100 == 0:
                    log.warning("mqtt: not connected after %d tries: %s", tries, detail)
            finally:
                self.connected = False
                _cancel_others()
            if not self._stopping:
                await self._pause(self._backoff.next())

    async def _pause(self, seconds: float) -> None:
        """Wait, unless asked to stop. What is offered meanwhile does not shorten it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not self._stopping and (left := deadline - loop.time()) > 0:
            self._wake.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left)

    def _client(self) -> aiomqtt.Client:
        library, broker = self._library, self._broker
        milliseconds = int(ACKNOWLEDGE_S * 1000)
        return library.Client(  # type: ignore[no-any-return]  # imported where it is used
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            tls_context=self._tls,
            protocol=library.ProtocolVersion.V5,
            clean_start=True,
            keepalive=KEEP_ALIVE_S,
            timeout=CONNECT_S,
            will=library.Will(f"{self._topic}/health", _json({"status": "offline"}), qos=1, retain=True),
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)],
        )

    async def _greet(self, client: aiomqtt.Client) -> None:
        """Say how we are. Decisions that were made before this connection are not told to it."""
        while (event := self._queue.get(0)) is not None:
            self._queue.count("expired" if event.kind == "decision" else "superseded")
        await self._say_health(client)
        self.connected = True
        self._health.clear("output_failing", self.name)
        log.info("mqtt: connected to %s:%d", self._broker.host, self._broker.port)

    async def _say_health(self, client: aiomqtt.Client, status: str = "online") -> None:
        body = {
            "status": status,
            "ready": self._health.ready and status == "online",
            "conditions": [condition.view() for condition in self._health.conditions if condition.subject != "mqtt"],
            "time": utc_now().isoformat(timespec="milliseconds"),
        }
        await client.publish(f"{self._topic}/health", _json(body), qos=1, retain=True, timeout=ACKNOWLEDGE_S)

    async def _serve(self, client: aiomqtt.Client) -> None:
        # Nothing is subscribed to; the iteration ends, with the reason, when the connection does.
        listening = asyncio.ensure_future(_listen(client))
        try:
            while not (self._stopping and self._queue.closed):
                self._wake.clear()
                while (event := self._queue.get(0)) is not None:
                    await _unless(listening, self._send(client, event))
                if self._stopping:
                    break
                await _unless(listening, self._wake.wait())
            await self._say_health(client, "offline")
        finally:
            listening.cancel()
            with contextlib.suppress(BaseException):
                await listening

    async def _send(self, client: aiomqtt.Client, event: Event) -> None:
        if event.kind == "health":
            return await self._say_health(client)
        now = self._clock()
        if not event.fresh(now):
            return self._queue.count("expired")
        decision = event.kind == "decision"
        topic = f"{self._topic}/{'event' if decision else 'state'}"
        try:
            await client.publish(
                topic,
                _json(event.body(now)),
                qos=1 if decision else 0,
                retain=False,
                properties=self._properties(event, now),
                timeout=ACKNOWLEDGE_S,
            )
        except Exception:
            self._queue.count("failed")
            raise
        self._queue.count("sent")

    def _properties(self, event: Event, now: int) -> Any:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's own gap
        if event.expires_ns is not None:
            # MQTT has whole seconds only; the body carries the milliseconds.
            properties.MessageExpiryInterval = max(1, (event.expires_ns - now) // 1_000_000_000)
        return properties


def _cancel_others() -> None:
    """A connection that failed half-way leaves tasks of the library's behind; months of retries must not add up."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def _unless(ended: asyncio.Future[None], work: Coroutine[Any, Any, Any]) -> None:
    """Do ``work``, unless the connection ends meanwhile: a library that waits for an answer would not notice."""
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


async def _listen(client: aiomqtt.Client) -> None:
    async for _ in client.messages:
        pass


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode()


def import_aiomqtt() -> Any:
    """Return the module. Raises ConfigError where it is not installed."""
    try:
        import aiomqtt
    except ModuleNotFoundError:
        raise ConfigError("the MQTT output needs the package aiomqtt: pip install 'adsn[kiosk]'") from None
    return aiomqtt
