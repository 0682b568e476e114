"""The kiosk as a device of Home Assistant, on a real mosquitto."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.liveness.decision import DECISIONS
from service.monitoring.health import Health
from service.outputs.home_assistant import HomeAssistantChannel, KioskDevice
from service.outputs.mqtt import MqttChannel
from tests.support.service.home_assistant import check_discovery, rendered
from tests.support.service.kiosk_readings import read
from tests.support.service.mosquitto import FAST, TOPIC, Mosquitto, Watcher, brokered, needs_mosquitto, watching
from tests.support.service.output_events import decision, other
from tests.support.waiting import until

pytest.importorskip("aiomqtt", reason="needs aiomqtt: pip install 'adsn[kiosk]'")
pytest.importorskip("jinja2", reason="Home Assistant's templates are Jinja's")

pytestmark = needs_mosquitto
DEVICE = KioskDevice("home", "front", TOPIC)
CONFIG = f"homeassistant/device/{DEVICE.id}/config"


def announced(broker: Mosquitto, health: Health) -> HomeAssistantChannel:
    return HomeAssistantChannel(broker.settings(), DEVICE, "homeassistant", read, health, back_off_s=FAST)


def last(watcher: Watcher, topic: str) -> bytes:
    payload: bytes = next(message.payload for message in reversed(watcher.got) if message.topic == topic)
    return payload


def topics(watcher: Watcher) -> set[str]:
    return {message.topic for message in list(watcher.got)}


def test_the_device_is_announced_and_every_reading_can_be_read(tmp_path: Path) -> None:
    health = Health()
    health.raise_("camera_lost", "critical", "unplugged", "ir")
    with brokered(tmp_path) as broker:
        events = MqttChannel(broker.settings(), TOPIC, health, back_off_s=FAST)
        own = announced(broker, health)
        try:
            until(lambda: events.connected and own.connected)
            with watching(broker, "#") as watcher:
                until(lambda: {CONFIG, f"{TOPIC}/availability", f"{TOPIC}/health"} <= topics(watcher))
                body = check_discovery(CONFIG, last(watcher, CONFIG))
                assert last(watcher, f"{TOPIC}/availability") == b"online"
                components = body["components"]
                assert set(components) == {"ready", "decision", "pair_rate", "skew", "queue", "fps_rgb", "fps_ir"}
                assert body["device"]["name"] == "Liveness home front"
                ready = components["ready"]
                assert rendered(ready["value_template"], last(watcher, ready["state_topic"])) == "OFF"
                attributes = json.loads(rendered(ready["json_attributes_template"], last(watcher, f"{TOPIC}/health")))
                assert [condition["name"] for condition in attributes["conditions"]] == ["camera_lost"]
                health.clear("camera_lost", "ir")
                events.offer(other("health"))
                until(lambda: rendered(ready["value_template"], last(watcher, f"{TOPIC}/health")) == "ON")

                made = components["decision"]
                assert "availability_topic" not in made
                for number, said in enumerate(DECISIONS):
                    events.offer(decision(f"s{number}", said))
                until(lambda: sum(message.topic == made["state_topic"] for message in watcher.got) == 3)
                seen = [
                    json.loads(rendered(made["value_template"], message.payload))
                    for message in watcher.got
                    if message.topic == made["state_topic"]
                ]
                assert [entry["event_type"] for entry in seen] == made["event_types"]
                assert seen[0]["id"] == "s0"
                assert 0 < seen[0]["expires_in_ms"] <= 2000
                assert set(seen[0]) == {"event_type", "id", "reasons", "expires_in_ms"}
        finally:
            own.close(20)
            events.close(20)


def test_sensors_show_rates_skew_and_queue(tmp_path: Path) -> None:
    with brokered(tmp_path) as broker, watching(broker, "#") as watcher:
        own = announced(broker, Health())
        try:
            until(lambda: f"{TOPIC}/status" in topics(watcher))
            status = last(watcher, f"{TOPIC}/status")
            components = check_discovery(CONFIG, last(watcher, CONFIG))["components"]
            shown = {
                key: rendered(component["value_template"], status)
                for key, component in components.items()
                if component["platform"] == "sensor"
            }
            assert shown == {"pair_rate": "15.0", "skew": "1.235", "queue": "2", "fps_rgb": "30.0", "fps_ir": "30.0"}
            # Home Assistant reads this word as "no value".
            unknown = json.dumps(read(None).body()).encode()
            assert rendered(components["skew"]["value_template"], unknown) == "None"
        finally:
            own.close(20)


def test_nothing_that_was_decided_is_retained(tmp_path: Path) -> None:
    with brokered(tmp_path) as broker:
        health = Health()
        events = MqttChannel(broker.settings(), TOPIC, health, back_off_s=FAST)
        own = announced(broker, health)
        try:
            until(lambda: events.connected and own.connected)
            with watching(broker, "#") as watcher:
                events.offer(decision("s1"))
                events.offer(other())
                until(lambda: {f"{TOPIC}/event", f"{TOPIC}/state"} <= topics(watcher))
                now = {message.topic for message in watcher.got if not message.retain}
                assert f"{TOPIC}/event" in now
            with watching(broker, "#") as late:
                until(lambda: len(late.got) >= 3)
                kept = {message.topic for message in late.got if message.retain}
                assert kept == {CONFIG, f"{TOPIC}/availability", f"{TOPIC}/health"}
                assert last(late, f"{TOPIC}/availability") == b"online"
                assert '"live"' not in last(late, f"{TOPIC}/health").decode()
        finally:
            own.close(20)
            events.close(20)
        with watching(broker, "#") as after:
            until(lambda: len(after.got) >= 3)
            assert last(after, f"{TOPIC}/availability") == b"offline"


def test_a_kiosk_that_dies_is_declared_offline(tmp_path: Path) -> None:
    with brokered(tmp_path) as broker, watching(broker, "#") as watcher:
        script = (
            "import os, time\nfrom service.monitoring.health import Health\n"
            "from tests.service.outputs.test_home_assistant import DEVICE, HomeAssistantChannel, read\n"
            "from service.outputs.broker import BrokerSettings\n"
            f"broker = BrokerSettings('localhost', {broker.port}, False, username='door', password='hush')\n"
            "own = HomeAssistantChannel(broker, DEVICE, 'homeassistant', read, Health())\n"
            "while not own.connected: time.sleep(0.01)\nos.kill(os.getpid(), 9)\n"
        )
        assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == -9

        def said() -> list[bytes]:
            return [message.payload for message in list(watcher.got) if message.topic == f"{TOPIC}/availability"]

        until(lambda: said() == [b"online", b"offline"])


def test_each_connection_has_a_name_of_its_own(tmp_path: Path) -> None:
    with brokered(tmp_path) as broker:
        named = replace(broker.settings(), client_id="front-door")
        health = Health()
        events = MqttChannel(named, TOPIC, health, back_off_s=FAST)
        own = HomeAssistantChannel(named, DEVICE, "homeassistant", read, health, back_off_s=FAST)
        try:
            until(lambda: events.connected and own.connected)
            log = (tmp_path / "mosquitto.log").read_text()
            assert " as front-door (" in log
            assert " as front-door-ha (" in log
            assert not health.conditions
        finally:
            own.close(20)
            events.close(20)


def test_a_broker_that_comes_back_is_told_again(tmp_path: Path) -> None:
    with brokered(tmp_path) as broker:
        health = Health()
        own = announced(broker, health)
        try:
            until(lambda: own.connected)
            broker.stop()
            until(lambda: [condition.subject for condition in health.conditions] == ["home_assistant"])
            assert health.ready
            broker.start()
            with watching(broker, "#") as watcher:
                until(lambda: CONFIG in topics(watcher))
            until(lambda: not health.conditions)
        finally:
            own.close(20)


def test_two_doors_are_two_devices_whatever_their_names_are_made_of() -> None:
    ids = {
        KioskDevice(site, door, f"site/{site}/door/{door}/liveness").id
        for site, door in (("a", "b-c"), ("a-b", "c"), ("a.b", "c"), ("a_b", "c"))
    }
    assert len(ids) == 4
    unique = [
        component["unique_id"]
        for component in KioskDevice("a", "b", "t").config(["rgb", "ir", "depth"])["components"].values()
    ]
    assert len(set(unique)) == 8
