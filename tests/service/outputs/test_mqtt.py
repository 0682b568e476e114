"""MQTT against a real mosquitto on loopback: TLS, last will, and what a dead broker does to decisions."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.core.errors import ConfigError
from service.monitoring.health import Health
from service.outputs.mqtt import BrokerSettings, MqttChannel
from tests.support.service.output_events import decision, other, until

mqtt = pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt: pip install 'adsn[kiosk]'")
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="needs a broker: apt-get install mosquitto")
TOPIC = "site/home/door/front/liveness"
FAST = (0.02, 0.1)


class Mosquitto:
    """A broker that can be stopped, started again at the same port, and frozen."""

    def __init__(self, folder: Path, tls: bool) -> None:
        self.folder, self.tls = folder, tls
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous false", f"password_file {folder}/passwords"]
        if os.geteuid() == 0:
            # Else it takes on the rights of a user that cannot read the test's folder.
            lines.append("user root")
        if tls:
            make_certificate(folder)
            lines += [f"certfile {folder}/server.pem", f"keyfile {folder}/server.key"]
        (folder / "passwords").write_text(PASSWORDS)
        (folder / "passwords").chmod(0o600)
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        assert MOSQUITTO is not None
        log = (self.folder / "mosquitto.log").open("ab")
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self.folder / "mosquitto.conf"), "-v"], stdout=log, stderr=subprocess.STDOUT
        )
        log.close()

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "mosquitto.log").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                return False
            return True

        until(answers)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None

    def settings(self) -> BrokerSettings:
        authorities = self.folder / "server.pem" if self.tls else None
        return BrokerSettings("localhost", self.port, self.tls, authorities, username="door", password="hush")


# mosquitto_passwd -b FILE door hush
PASSWORDS = (
    "door:$7$101$9p+qbNA0NGWQ03+3$"
    "0AZOGksCbZ3bGy6v1iYbkkuaQW/3+j3ewQGbyrOPnE2FvAeRDFASlueI+LkmnUcr1DneSkZHtGosW7u2FmDU/w==\n"
)


def make_certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-keyout", folder / "server.key", "-out", folder / "server.pem", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip


class Watcher:
    """A subscriber with everything that came."""

    def __init__(self, broker: Mosquitto) -> None:
        self.got: list[Any] = []
        self._subscribed = threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.username_pw_set("door", "hush")
        if broker.tls:
            self.client.tls_set(str(broker.folder / "server.pem"))
        self.client.on_message = lambda client, data, message: self.got.append(message)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("localhost", broker.port)
        self.client.loop_start()
        self.client.subscribe("site/#", qos=1)
        assert self._subscribed.wait(20)

    def bodies(self, part: str) -> list[dict[str, Any]]:
        return [json.loads(message.payload) for message in list(self.got) if message.topic == f"{TOPIC}/{part}"]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def brokered(folder: Path, tls: bool = False) -> Iterator[Mosquitto]:
    broker = Mosquitto(folder, tls)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def watching(broker: Mosquitto) -> Iterator[Watcher]:
    watcher = Watcher(broker)
    try:
        yield watcher
    finally:
        watcher.close()


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
            # Whoever comes later finds how the kiosk is, and no decision.
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
            "from service.outputs.mqtt import BrokerSettings, MqttChannel\n"
            f"broker = BrokerSettings('localhost', {broker.port}, False, username='door', password='hush')\n"
            f"output = MqttChannel(broker, {TOPIC!r}, Health())\n"
            "while not output.connected: time.sleep(0.01)\nos.kill(os.getpid(), 9)\n"
        )
        assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == -9
        until(lambda: len(watcher.bodies("health")) == 2)
        assert [body["status"] for body in watcher.bodies("health")] == ["online", "offline"]


def test_a_broker_that_answers_nothing_is_left(tmp_path: Path) -> None:
    """A connection is accepted and nothing ever comes back."""
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


def test_tls_files_that_cannot_be_used_are_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.authorities: .* cannot be read"):
        MqttChannel(BrokerSettings("localhost", authorities=tmp_path / "absent.pem"), TOPIC, Health())
