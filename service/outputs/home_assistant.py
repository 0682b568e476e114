"""The kiosk as a device in Home Assistant, through MQTT discovery. docs/mqtt.md lists all topics.

::

    DISCOVERY/device/ID/config   retained: the entities
    PREFIX/availability          retained: online or offline (the last will)
    PREFIX/status                every ten seconds, not retained: rates, skew, waiting events

This output has a separate connection, because a connection has only one last will and `service.outputs.mqtt` uses it
for ``health``. That way failures of this output do not affect decisions either.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from runtime import __version__
from runtime.core.values import Modality
from runtime.liveness.decision import DECISIONS
from runtime.pairing.feed import FeedStatus
from service.monitoring.health import Health
from service.outputs.base import Event
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

STATUS_EVERY_S = 10.0
EXPIRE_AFTER_S = 35
"""Age in seconds after which Home Assistant discards a reading: three updates were missed."""
ONLINE, OFFLINE = b"online", b"offline"
CAMERA_NAMES: Mapping[Modality, str] = {"rgb": "RGB", "ir": "IR", "depth": "Depth"}

READY = "{{ 'ON' if value_json.ready | default(false) else 'OFF' }}"
CONDITIONS = "{{ {'conditions': value_json.conditions | default([])} | tojson }}"
DECISION = (
    "{{ {'event_type': value_json.decision, 'id': value_json.id, 'reasons': value_json.reasons, "
    "'expires_in_ms': value_json.expires_in_ms} | tojson }}"
)


@dataclass(frozen=True, slots=True)
class KioskReadings:
    """Readings for the sensors. ``waiting``: number of events waiting to be sent."""

    feed: FeedStatus
    waiting: int

    def body(self) -> dict[str, Any]:
        """Return the payload of ``status``."""
        feed = self.feed
        return {
            "pairs_per_s": round(feed.pairs_per_s, 1),
            "fps": {camera.modality: round(camera.fps, 1) for camera in feed.cameras},
            "skew_ms": None if feed.skew_ms is None else round(feed.skew_ms, 3),
            "queue": self.waiting,
        }


@dataclass(frozen=True, slots=True)
class KioskDevice:
    """The device shown in Home Assistant. ``topic``: prefix of the kiosk's topics."""

    site: str
    door: str
    topic: str

    @property
    def id(self) -> str:
        """Id of the device. It has only characters allowed in a discovery topic, and differs for each ``topic``."""
        plain = re.sub(r"[^A-Za-z0-9_-]", "-", f"{self.site}-{self.door}")
        return f"adsn-{plain}-{hashlib.sha256(self.topic.encode()).hexdigest()[:8]}"

    def config(self, cameras: Sequence[Modality]) -> dict[str, Any]:
        """Return the payload of ``config``: the entities of a kiosk with these cameras."""
        components = {
            "ready": self._ready(),
            "decision": self._decision(),
            "pair_rate": self._sensor("Pair rate", "pairs_per_s", unit_of_measurement="fps"),
            "skew": self._sensor("Pair skew", "skew_ms", unit_of_measurement="ms", device_class="duration"),
            "queue": self._sensor("Output queue", "queue"),
        }
        for modality in cameras:
            name = f"{CAMERA_NAMES[modality]} frame rate"
            components[f"fps_{modality}"] = self._sensor(name, f"fps.{modality}", unit_of_measurement="fps")
        return {
            "device": {
                "identifiers": [self.id],
                "name": f"Liveness {self.site} {self.door}",
                "manufacturer": "adsn",
                "model": "adsn-kiosk",
                "sw_version": __version__,
            },
            "origin": {"name": "adsn", "sw_version": __version__},
            "components": {
                key: {**component, "unique_id": f"{self.id}_{key}"} for key, component in components.items()
            },
        }

    def _ready(self) -> dict[str, Any]:
        return {
            "platform": "binary_sensor",
            "name": "Ready",
            "state_topic": f"{self.topic}/health",
            "value_template": READY,
            "json_attributes_topic": f"{self.topic}/health",
            "json_attributes_template": CONDITIONS,
            **self._availability(),
        }

    def _decision(self) -> dict[str, Any]:
        # This entity has no availability topic: when it returned from `unavailable`, it would show its last event
        # again, and an automation on state changes would take that for a new decision.
        return {
            "platform": "event",
            "name": "Decision",
            "state_topic": f"{self.topic}/event",
            "event_types": list(DECISIONS),
            "value_template": DECISION,
            "qos": 1,
        }

    def _sensor(self, name: str, member: str, **options: str) -> dict[str, Any]:
        return {
            "platform": "sensor",
            "name": name,
            "state_topic": f"{self.topic}/status",
            "value_template": f"{{{{ value_json.{member} }}}}",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "expire_after": EXPIRE_AFTER_S,
            **options,
            **self._availability(),
        }

    def _availability(self) -> dict[str, str]:
        return {"availability_topic": f"{self.topic}/availability"}


class HomeAssistantChannel(BrokerConnection):
    """Channel that announces ``device`` below the topic ``discovery`` and publishes the readings returned by ``read``.
    It ignores events."""

    name = "home_assistant"

    def __init__(
        self, broker: BrokerSettings, device: KioskDevice, discovery: str, read: Callable[[], KioskReadings],
        health: Health, *, back_off_s: tuple[float, float] = BACK_OFF_S,
    ) -> None:  # fmt: skip
        # A broker closes a connection if another one uses the same client id.
        own = replace(broker, client_id=f"{broker.client_id}-ha") if broker.client_id is not None else broker
        self._available = f"{device.topic}/availability"
        super().__init__(own, LastWill(self._available, OFFLINE), health, back_off_s)
        self._device, self._read = device, read
        self._config = f"{discovery}/device/{device.id}/config"
        self._thread.start()

    def offer(self, event: Event) -> None: ...

    def counts(self) -> Mapping[str, int]:
        return {}

    def waiting(self) -> int:
        return 0

    async def publish_until_lost(self, client: aiomqtt.Client) -> None:
        """Announce the device, then publish its status periodically."""
        cameras = [camera.modality for camera in self._read().feed.cameras]
        await self._keep(client, self._config, json_bytes(self._device.config(cameras)))
        await self._keep(client, self._available, ONLINE)
        self.established()
        async with listening(client) as ended:
            while not self._stopping:
                self._wake.clear()
                await unless(ended, self._publish_status(client))
                await unless(ended, self._rest())
            await self._keep(client, self._available, OFFLINE)

    async def _rest(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wake.wait(), STATUS_EVERY_S)

    async def _keep(self, client: aiomqtt.Client, topic: str, payload: bytes) -> None:
        await client.publish(topic, payload, qos=1, retain=True, timeout=ACKNOWLEDGE_S)

    async def _publish_status(self, client: aiomqtt.Client) -> None:
        body = json_bytes(self._read().body())
        await client.publish(f"{self._device.topic}/status", body, qos=0, retain=False, timeout=ACKNOWLEDGE_S)
