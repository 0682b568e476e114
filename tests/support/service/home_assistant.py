"""Home Assistant's documented rules for the discovery payload of a device, and its rendering of templates.

Transcribed from https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload and the pages of the three
platforms (sensor.mqtt, binary_sensor.mqtt, event.mqtt). Home Assistant ignores unknown members. Here they are an error,
because a member that is ignored is a mistake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

SHARED = {
    "availability": list,
    "availability_mode": str,
    "availability_template": str,
    "availability_topic": str,
    "default_entity_id": str,
    "enabled_by_default": bool,
    "encoding": str,
    "entity_category": str,
    "entity_picture": str,
    "icon": str,
    "json_attributes_template": str,
    "json_attributes_topic": str,
    "name": str,
    "payload_available": str,
    "payload_not_available": str,
    "platform": str,
    "qos": int,
    "state_topic": str,
    "unique_id": str,
    "value_template": str,
}
PLATFORMS: Mapping[str, Mapping[str, type]] = {
    "sensor": {
        **SHARED,
        "device_class": str,
        "expire_after": int,
        "force_update": bool,
        "last_reset_value_template": str,
        "options": list,
        "state_class": str,
        "suggested_display_precision": int,
        "unit_of_measurement": str,
    },
    "binary_sensor": {
        **SHARED,
        "device_class": str,
        "expire_after": int,
        "force_update": bool,
        "off_delay": int,
        "payload_off": str,
        "payload_on": str,
    },
    "event": {**SHARED, "device_class": str, "event_types": list},
}
REQUIRED = {
    "sensor": {"platform", "unique_id", "state_topic"},
    "binary_sensor": {"platform", "unique_id", "state_topic"},
    "event": {"platform", "unique_id", "state_topic", "event_types"},
}
DEVICE = {
    "configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model", "model_id", "name",
    "serial_number", "suggested_area", "sw_version", "via_device",
}  # fmt: skip
ORIGIN = {"name", "sw_version", "support_url"}
STATE_CLASSES = {"measurement", "total", "total_increasing"}
UNITS = {"duration": {"d", "h", "min", "s", "ms"}}
"""Device class of a sensor → allowed units. Home Assistant refuses a sensor with a different unit."""
TOPIC = re.compile(r"homeassistant/device/([a-zA-Z0-9_-]+/)?[a-zA-Z0-9_-]+/config")


def check_discovery(topic: str, payload: bytes) -> dict[str, Any]:
    """Return a discovery payload after checking it against Home Assistant's documentation."""
    assert TOPIC.fullmatch(topic), topic
    body: dict[str, Any] = json.loads(payload)
    assert set(body) == {"device", "origin", "components"}
    device, origin = body["device"], body["origin"]
    assert set(device) <= DEVICE
    assert device["identifiers"]
    assert set(origin) <= ORIGIN
    assert origin["name"]
    ids = [component["unique_id"] for component in body["components"].values()]
    assert len(set(ids)) == len(ids)
    for component in body["components"].values():
        check_component(component)
    return body


def check_component(component: Mapping[str, Any]) -> None:
    platform = component["platform"]
    known = PLATFORMS[platform]
    assert REQUIRED[platform] <= set(component)
    for name, value in component.items():
        assert name in known, f"{platform} has no {name}"
        assert type(value) is known[name], name
    for name, value in component.items():
        if name.endswith("_topic"):
            assert not re.search(r"[+#]", value), value
        if name.endswith("_template"):
            environment().parse(value)
    assert component.get("entity_category", "diagnostic") == "diagnostic"
    if platform == "sensor":
        assert component.get("state_class", "measurement") in STATE_CLASSES
        units = UNITS.get(component.get("device_class", ""))
        assert units is None or component["unit_of_measurement"] in units


def rendered(template: str, payload: bytes) -> str:
    """Return the result of a component's template for a payload, as rendered by Home Assistant."""
    value_json = json.loads(payload)
    text: str = environment().from_string(template).render(value=payload.decode(), value_json=value_json)
    return text


def environment() -> Any:
    """Return a Jinja environment with Home Assistant's settings."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment()
