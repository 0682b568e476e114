"""A real mosquitto on loopback, and a subscriber that keeps the messages."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from service.outputs.broker import BrokerSettings
from tests.support.waiting import until

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="needs a broker: apt-get install mosquitto")
TOPIC = "site/home/door/front/liveness"
FAST = (0.02, 0.1)


class Mosquitto:
    """A broker that can be stopped, restarted on the same port, and frozen."""

    def __init__(self, folder: Path, tls: bool) -> None:
        self.folder, self.tls = folder, tls
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous false", f"password_file {folder}/passwords"]
        if os.geteuid() == 0:
            # Otherwise mosquitto switches to a user that cannot read the folder of the test.
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
    """A subscriber with all received messages."""

    def __init__(self, broker: Mosquitto, topic: str = "site/#") -> None:
        import paho.mqtt.client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        self.got: list[Any] = []
        self._subscribed = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.username_pw_set("door", "hush")
        if broker.tls:
            self.client.tls_set(str(broker.folder / "server.pem"))
        self.client.on_message = lambda client, data, message: self.got.append(message)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.connect("localhost", broker.port)
        self.client.loop_start()
        self.client.subscribe(topic, qos=1)
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
def watching(broker: Mosquitto, topic: str = "site/#") -> Iterator[Watcher]:
    watcher = Watcher(broker, topic)
    try:
        yield watcher
    finally:
        watcher.close()
