"""MQTT with a real mosquitto on loopback: TLS, last will, and the effect of a dead broker on decisions."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.core.errors import ConfigError
from service.monitoring.health import Health
from service.outputs.broker import BrokerSettings
from service.outputs.mqtt import MqttChannel
from tests.support.service.mosquitto import FAST, TOPIC, brokered, needs_mosquitto, watching
from tests.support.service.output_events import decision, other
from tests.support.waiting import until

pytest.importorskip("aiomqtt", reason="needs aiomqtt: pip install 'adsn[kiosk]'")
pytestmark = needs_mosquitto


def test_decisions_over_tls_expire_and_are_never_retained(tmp_path: Path) -> None:
    with brokered(tmp_path, tls=True) as broker:
        health = Health()
        health.raise_("camera_lost", "critical", "unplugged", "ir")
        output = MqttChannel(broker.settings(), TOPIC, health, back_off_s=FAST)
        try:
            until(lambda: output.connected)
            with watching(broker) as watcher:
                until(lambda: bool(watcher.bodies("health")))
                (birth,) = watcher.bodies("health")
                assert (birth["status"], birth["ready"]) == ("online", False)
                assert birth["conditions"][0]["name"] == "camera_lost"
                output.offer(other())
                output.offer(decision("s1"))
                output.offer(decision("old", left_s=0))
                output.offer(decision("s2", "spoof"))
                until(lambda: len(watcher.bodies("event")) == 2)
                messages = {message.topic.rpartition("/")[2]: message for message in watcher.got}
                event, state, retained = messages["event"], messages["state"], messages["health"]
                assert (event.qos, event.retain) == (1, 0)
                assert 1 <= event.properties.MessageExpiryInterval <= 2
                assert (state.qos, state.retain, retained.retain) == (0, 0, 1)
                first = watcher.bodies("event")[0]
                assert (first["id"], first["decision"], first["kind"]) == ("s1", "live", "decision")
                assert first["monotonic_ns"] == 7
                assert first["time"].endswith("+00:00")
                assert 0 < first["expires_in_ms"] <= 2000
                health.clear("camera_lost", "ir")
                output.offer(other("health"))
                until(lambda: watcher.bodies("health")[-1]["ready"])
            # A later subscriber gets the kiosk's health, and no decision.
            with watching(broker) as late:
                until(lambda: bool(late.got))
                assert {message.topic for message in late.got} == {f"{TOPIC}/health"}
        finally:
            output.close(20)
        with watching(broker) as after:
            until(lambda: bool(after.bodies("health")))
            assert after.bodies("health")[0]["status"] == "offline"


def test_a_broker_that_goes_and_comes_back_gets_nothing_old(tmp_path: Path) -> None:
    with brokered(tmp_path) as broker:
        health = Health()
        output = MqttChannel(broker.settings(), TOPIC, health, back_off_s=FAST)
        try:
            until(lambda: output.connected)
            assert not health.conditions
            broker.stop()
            until(lambda: not output.connected)
            until(lambda: len(health.conditions) == 1)
            assert health.conditions[0].subject == "mqtt"
            assert health.ready
            for number in range(50):
                output.offer(decision(f"lost{number}", left_s=60))
            broker.start()
            until(lambda: output.connected)
            with watching(broker) as watcher:
                output.offer(decision("new"))
                until(lambda: bool(watcher.bodies("event")))
                assert [body["id"] for body in watcher.bodies("event")] == ["new"]
            assert health.conditions == ()
            assert output.counts() == {"failed": 50, "sent": 1}
        finally:
            output.close(20)


def test_a_kiosk_that_dies_is_declared_offline(tmp_path: Path) -> None:
    with brokered(tmp_path) as broker, watching(broker) as watcher:
        script = (
            "import os, time\nfrom service.monitoring.health import Health\n"
            "from service.outputs.broker import BrokerSettings\nfrom service.outputs.mqtt import MqttChannel\n"
            f"broker = BrokerSettings('localhost', {broker.port}, False, username='door', password='hush')\n"
            f"output = MqttChannel(broker, {TOPIC!r}, Health())\n"
            "while not output.connected: time.sleep(0.01)\nos.kill(os.getpid(), 9)\n"
        )
        assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == -9
        until(lambda: len(watcher.bodies("health")) == 2)
        assert [body["status"] for body in watcher.bodies("health")] == ["online", "offline"]


def test_a_broker_that_answers_nothing_is_left(tmp_path: Path) -> None:
    """Check a connection that is accepted but never answered."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        health = Health()
        broker = BrokerSettings("localhost", mute.getsockname()[1], tls=False)
        output = MqttChannel(broker, TOPIC, health, back_off_s=FAST)
        try:
            until(lambda: "timed out" in health.conditions[0].detail)
            output.offer(decision())
            assert output.counts() == {"failed": 1}
        finally:
            output.close(20)


# paho leaves closing the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("wrong", ["password", "certificate"])
def test_what_the_broker_or_its_certificate_lacks_is_named(tmp_path: Path, wrong: str) -> None:
    with brokered(tmp_path, tls=True) as broker:
        settings = broker.settings()
        if wrong == "password":
            settings, says = replace(settings, password="wrong"), "Not authorized"
        else:
            settings, says = replace(settings, authorities=None), "certificate verify failed"
        health = Health()
        output = MqttChannel(settings, TOPIC, health, back_off_s=FAST)
        until(lambda: says in health.conditions[0].detail)
        output.close(20)


# As above.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("expects", [True, False])
def test_a_port_of_the_other_kind_is_named(tmp_path: Path, expects: bool) -> None:
    with brokered(tmp_path, tls=expects) as broker:
        health = Health()
        settings = replace(broker.settings(), tls=not expects, authorities=None)
        output = MqttChannel(settings, TOPIC, health, back_off_s=FAST)
        says = f"set mqtt.tls = {str(expects).lower()}"
        until(lambda: says in health.conditions[0].detail)
        output.close(20)


def test_tls_files_that_cannot_be_used_are_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.authorities: .* cannot be read"):
        MqttChannel(BrokerSettings("localhost", authorities=tmp_path / "absent.pem"), TOPIC, Health())
