"""Create the outputs and the page of the kiosk from the settings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from fastapi import FastAPI

from runtime.engines.base import Batch, Engine, EngineInfo, InputSpec, Scores
from runtime.liveness.open import LoadedModel
from service.app import components_of
from service.config.settings import Settings
from service.http.server import Server
from service.kiosk.config import KioskSettings, MqttSettings, WebhookSettings
from service.kiosk.door_line import open_door_line
from service.monitoring.health import Health
from service.outputs.base import Channel, OutputWorker
from service.outputs.broker import BrokerSettings
from service.outputs.command import CommandOutput
from service.outputs.home_assistant import HomeAssistantChannel, KioskDevice, KioskReadings
from service.outputs.journal import JournalOutput
from service.outputs.mqtt import MqttChannel
from service.outputs.relay import RelayChannel
from service.outputs.webhook import WebhookOutput

log = logging.getLogger("adsn.kiosk")


def open_outputs(settings: KioskSettings, health: Health, read: Callable[[], KioskReadings]) -> list[Channel]:
    """Open one channel for each configured output. ``read``: readings for Home Assistant's sensors.

    Raises:
        ConfigError: a package or a file that an output needs is missing.
    """
    channels: list[Channel] = []
    if settings.gpio is not None:
        gpio = settings.gpio
        channels.append(
            RelayChannel(lambda: open_door_line(gpio), health, pulse_s=gpio.pulse_s, longest_s=gpio.longest_s)
        )
    if settings.command is not None:
        command = CommandOutput(settings.command.argv, door=settings.door, timeout_s=settings.command.timeout_s)
        channels.append(OutputWorker(command, health, capacity=4))
    if settings.webhook is not None:
        channels.append(OutputWorker(webhook_of(settings.webhook), health))
    if settings.mqtt is not None:
        channels += mqtt_channels(settings, settings.mqtt, health, read)
    if settings.log.path is not None:
        own = settings.log
        assert own.path is not None
        journal = JournalOutput(own.path, max_bytes=own.max_bytes, keep=own.keep, sync=own.sync)
        # The event log contains expired events too.
        channels.append(OutputWorker(journal, health, keep_expired=True, capacity=1024))
    return channels


def mqtt_channels(
    settings: KioskSettings, own: MqttSettings, health: Health, read: Callable[[], KioskReadings]
) -> list[Channel]:
    """Return the connections to the broker: one for events and, with discovery, another for Home Assistant."""
    broker = broker_of(own)
    channels: list[Channel] = [MqttChannel(broker, settings.topic, health)]
    if own.discovery:
        device = KioskDevice(settings.site, settings.door, settings.topic)
        channels.append(HomeAssistantChannel(broker, device, own.discovery_prefix, read, health))
    return channels


def webhook_of(settings: WebhookSettings) -> WebhookOutput:
    """Return the configured webhook. Raises `ConfigError` if a file cannot be used."""
    return WebhookOutput(
        settings.url,
        settings.secret.get_secret_value().encode(),
        kinds=frozenset(settings.events),
        timeout_s=settings.timeout_s,
        authorities=settings.authorities,
    )


def broker_of(settings: MqttSettings) -> BrokerSettings:
    password = settings.password.get_secret_value() if settings.password is not None else None
    return BrokerSettings(
        settings.host, settings.port, settings.tls, settings.authorities, settings.certificate, settings.key,
        settings.username, password, settings.client_id,
    )  # fmt: skip


class BorrowedEngine:
    """Wrapper of an engine that does not close it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def inputs(self) -> tuple[InputSpec, ...]:
        return tuple(self._engine.inputs)

    def infer(self, batch: Batch) -> Scores:
        return self._engine.infer(batch)

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


def with_borrowed_engine(loaded: LoadedModel) -> LoadedModel:
    """Return a copy of the pipeline for the page. Closing the copy does not close the engine."""
    return replace(loaded, pipeline=replace(loaded.pipeline, engine=BorrowedEngine(loaded.pipeline.engine)))


def page_settings(settings: KioskSettings) -> Settings:
    """Return the settings of the page as settings of the service.

    Raises:
        ConfigError: other hosts could use the page without a key.
    """
    own = settings.http
    made = Settings(
        host=own.host,
        port=own.port,
        api_key=own.api_key,
        bundle=settings.bundle,
        rig=settings.rig,
        expose_score=settings.decision.expose_score,
    )
    made.require_safe()
    return made


class PageServer:
    """HTTP server that runs the application in a thread. If it fails, the kiosk continues to decide.

    Raises:
        ConfigError: the server cannot listen on the address.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._server = Server(app, settings, stopping=components_of(app).stopping)
        self._thread = threading.Thread(target=self._run, name="adsn-http", daemon=True)

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            self._server.run()
        except (Exception, SystemExit):
            log.exception("the page has failed; the kiosk continues without it")

    def close(self, timeout_s: float) -> None:
        self._server.should_exit = True
        self._thread.join(timeout_s)
