"""examples/home-assistant: kiosk and broker as configured, and the automations' templates with the kiosk's messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.kiosk_run import KioskProcess
from tests.support.docs.pages import ROOT
from tests.support.service.home_assistant import check_discovery
from tests.support.service.mosquitto import Mosquitto, needs_mosquitto, watching
from tests.support.waiting import until

yaml = pytest.importorskip("yaml", reason="needs PyYAML")
jinja2 = pytest.importorskip("jinja2", reason="Home Assistant's templates are Jinja's")
pytest.importorskip("aiomqtt", reason="needs aiomqtt: pip install 'adsn[kiosk]'")

pytestmark = needs_mosquitto
FOLDER = ROOT / "examples/home-assistant"
PREFIX = "site/berlin/door/front/liveness"


class ExampleBroker(Mosquitto):
    """mosquitto with the example's file, at a free port."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, tls=False)
        text = (FOLDER / "mosquitto.conf").read_text(encoding="utf-8")
        assert "listener 1883 127.0.0.1" in text
        mine = "user root\n" if "user root" in (folder / "mosquitto.conf").read_text() else ""
        (folder / "mosquitto.conf").write_text(mine + text.replace("1883", str(self.port)))


def slug(name: str) -> str:
    """Return the id that Home Assistant creates for an entity from its name."""
    return name.lower().replace(" ", "_")


def test_the_kiosk_appears_and_the_door_opens_on_its_message_alone(tmp_path: Path) -> None:
    open_door, trouble = yaml.safe_load((FOLDER / "automations.yaml").read_text(encoding="utf-8"))
    condition = jinja2.Environment().from_string(open_door["conditions"][0]["value_template"])

    def opens(payload: bytes) -> bool:
        rendered: str = condition.render(trigger={"payload_json": json.loads(payload)})
        return rendered.strip() == "True"

    broker = ExampleBroker(tmp_path)
    broker.start()
    try:
        with watching(broker, "#") as watcher:
            text = (FOLDER / "kiosk.toml").read_text(encoding="utf-8")
            own = {
                "ADSN_KIOSK_MQTT__PORT": str(broker.port),
                "ADSN_KIOSK_HTTP__PORT": "0",
                # Use a low frame rate and long timeouts, so that a busy machine reaches a decision too.
                "ADSN_KIOSK_RIG__RGB": "synthetic:?seed=107&fps=5",
                "ADSN_KIOSK_RIG__IR": "synthetic:?seed=107&fps=5",
                "ADSN_KIOSK_DECISION__MAX_AGE_S": "1.9",
                "ADSN_KIOSK_DECISION__DEADLINE_S": "30",
                "ADSN_KIOSK_DECISION__MIN_PAIRS": "2",
                "ADSN_KIOSK_DECISION__ABSENT_S": "10",
            }
            with KioskProcess(tmp_path, text, **own) as kiosk:

                def got(topic: str) -> list[Any]:
                    return [message for message in list(watcher.got) if message.topic == topic]

                kiosk.wait_for(lambda: bool(got(f"{PREFIX}/event")))
                kiosk.wait_for(lambda: any(json.loads(message.payload)["fps"] for message in got(f"{PREFIX}/status")))
                (event, *_) = got(f"{PREFIX}/event")
                assert json.loads(event.payload)["decision"] == "live"
                assert not event.retain
                assert open_door["triggers"] == [{"trigger": "mqtt", "topic": event.topic}]
                assert opens(event.payload)
                late = json.dumps(json.loads(event.payload) | {"expires_in_ms": 0}).encode()
                spoof = json.dumps(json.loads(event.payload) | {"decision": "spoof"}).encode()
                assert not opens(late)
                assert not opens(spoof)
                config = next(m for m in watcher.got if m.topic.startswith("homeassistant/device/"))
                body = check_discovery(config.topic, config.payload)
                ready = slug(f"{body['device']['name']} {body['components']['ready']['name']}")
                assert trouble["triggers"][0]["entity_id"] == f"binary_sensor.{ready}"
                assert {"fps_rgb", "fps_ir"} <= set(body["components"])
                log = (tmp_path / "mosquitto.log").read_text()
                assert " as front-door (" in log
                assert " as front-door-ha (" in log
                assert kiosk.stop()[0] == 0
            until(lambda: got(f"{PREFIX}/availability")[-1].payload == b"offline")
        with watching(broker, "#") as late_watcher:
            until(lambda: len(late_watcher.got) >= 3)
            assert f"{PREFIX}/event" not in {message.topic for message in late_watcher.got}
    finally:
        broker.stop()


def test_the_message_about_trouble_lists_what_is_wrong() -> None:
    _, trouble = yaml.safe_load((FOLDER / "automations.yaml").read_text(encoding="utf-8"))
    template = jinja2.Environment().from_string(trouble["actions"][0]["data"]["message"])
    conditions = [{"detail": "unplugged"}, {"detail": "the illuminator is off"}]
    said = template.render(state_attr=lambda entity, name: conditions)
    assert said == "unplugged; the illuminator is off"
