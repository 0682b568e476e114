"""Publish events to an MQTT broker. docs/mqtt.md lists all topics.

::

    PREFIX/health   retained: online or offline (the last will), and the current conditions
    PREFIX/state    QoS 0, not retained
    PREFIX/event    decisions: QoS 1, never retained, expiring within two seconds (MQTT 5)

A retained ``live`` would open the door again for any later subscriber. A ``live`` that was queued while the broker was
unreachable would open it after the person has left. So decisions are never retained, and never queued while the broker
is not connected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from service.monitoring.health import Health
from service.outputs.base import Event, EventQueue, boottime_ns, utc_now
from service.outputs.broker import (
    ACKNOWLEDGE_S,
    BACK_OFF_S,
    BrokerConnection,
    BrokerSettings,
    LastWill,
    json_bytes,
    listening,
    unless,
)

if TYPE_CHECKING:
    import aiomqtt

OWN_SUBJECTS = ("mqtt", "home_assistant")
"""Conditions of the MQTT connections. They are left out of ``health``, because a client that reads ``health`` is
connected to the broker."""


class MqttChannel(BrokerConnection):
    """Channel that publishes events to ``broker`` below ``topic``."""

    name = "mqtt"

    def __init__(
        self, broker: BrokerSettings, topic: str, health: Health, *, back_off_s: tuple[float, float] = BACK_OFF_S
    ) -> None:
        super().__init__(broker, LastWill(f"{topic}/health", json_bytes({"status": "offline"})), health, back_off_s)
        self._topic = topic
        self._queue = EventQueue()
        self._thread.start()

    def offer(self, event: Event) -> None:
        if event.kind == "decision" and not self.connected:
            # If it were queued, it would expire before there is a connection, or open the door unexpectedly.
            self._queue.count("failed")
            return
        self._queue.put(event)
        self.ring()

    def counts(self) -> Mapping[str, int]:
        return dict(self._queue.counts)

    def waiting(self) -> int:
        return self._queue.waiting

    def close(self, timeout_s: float) -> None:
        self._queue.close()
        super().close(timeout_s)

    async def publish_until_lost(self, client: aiomqtt.Client) -> None:
        """Publish the health of the kiosk, then its events. Decisions from before this connection are not sent."""
        while (event := self._queue.get(0)) is not None:
            self._queue.count("expired" if event.kind == "decision" else "superseded")
        await self._publish_health(client)
        self.established()
        async with listening(client) as ended:
            while not (self._stopping and self._queue.closed):
                self._wake.clear()
                while (event := self._queue.get(0)) is not None:
                    await unless(ended, self._send(client, event))
                if self._stopping:
                    break
                await unless(ended, self._wake.wait())
            await self._publish_health(client, "offline")

    async def _publish_health(self, client: aiomqtt.Client, status: str = "online") -> None:
        conditions = [c.view() for c in self._health.conditions if c.subject not in OWN_SUBJECTS]
        body = {
            "status": status,
            "ready": self._health.ready and status == "online",
            "conditions": conditions,
            "time": utc_now().isoformat(timespec="milliseconds"),
        }
        await client.publish(f"{self._topic}/health", json_bytes(body), qos=1, retain=True, timeout=ACKNOWLEDGE_S)

    async def _send(self, client: aiomqtt.Client, event: Event) -> None:
        if event.kind == "health":
            return await self._publish_health(client)
        now = boottime_ns()
        if not event.fresh(now):
            return self._queue.count("expired")
        decision = event.kind == "decision"
        topic = f"{self._topic}/{'event' if decision else 'state'}"
        try:
            await client.publish(
                topic,
                json_bytes(event.body(now)),
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

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # untyped in paho
        if event.expires_ns is not None:
            # MQTT expiry is in whole seconds. The body contains it in milliseconds.
            properties.MessageExpiryInterval = max(1, (event.expires_ns - now) // 1_000_000_000)
        return properties
