"""What an operator may set for the kiosk: a TOML file, secrets, ``ADSN_KIOSK_`` variables, command-line options."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from runtime.config.host_name import HostName, require_host
from runtime.config.loader import EnvironmentPrefix, load_config
from runtime.config.rig import RigSettings
from runtime.face.open import FaceSettings
from runtime.liveness.evidence import EvidenceRule
from runtime.liveness.open import default_bundle
from service.config.section import Section
from service.config.trust import AttestationSettings, AuditSettings, RemoteEngineSettings
from service.kiosk.door_line import LineSettings
from service.kiosk.state_machine import KioskRule

PREFIX = EnvironmentPrefix("ADSN_KIOSK_")
SHARED = ("ADSN_BUNDLE", "ADSN_BUNDLE_KEY")
"""Variables that mean the same to all programs of this project."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""Names become a part of MQTT topics, so they hold none of their signs."""
TOPIC = r"^[^/+#$\x00-\x20\x7f][^+#\x00-\x20\x7f]{0,199}$"
"""Where published topics begin: no wildcard, no blank, and not the broker's own `$SYS`."""
NS = 1_000_000_000


class DecisionSettings(Section):
    """When there is a decision, and what follows from it."""

    deadline_s: float = Field(default=3, gt=0, le=60, description="A session is undecided after so many seconds.")
    min_pairs: int = Field(default=5, ge=2, le=1000, description="Good pairs that a decision needs at least.")
    min_follows: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Pairs on which the face must have followed a strobing illuminator before live.",
    )
    confirm: float = Field(default=1.5, ge=1, le=100, description="How many independent pairs must agree.")
    max_age_s: float = Field(default=0.5, gt=0, lt=2, description="A pair older than this is not looked at.")
    expiry_s: float = Field(default=2, gt=0, le=2, description="How long after its last pair a decision holds.")
    absent_s: float = Field(default=0.7, gt=0, le=30, description="A face not seen for so long has left.")
    hold_s: float = Field(default=2, gt=0, le=60, description="How long a decision is shown.")
    cool_down_s: float = Field(default=1, gt=0, le=600, description="Rest after that.")
    again_s: float = Field(
        default=15, gt=0, le=3600, description="Further rest after live, for a face that does not leave."
    )
    attempts: int = Field(default=5, ge=0, le=1000, description="So many attacks lock the kiosk; 0: it never locks,")
    window_s: float = Field(default=180, gt=0, le=86400, description="if they come within so many seconds,")
    lock_s: float = Field(default=60, gt=0, le=86400, description="for so many seconds.")
    count_uncertain: bool = Field(default=False, description="Undecided sessions count as attacks too.")
    expose_score: bool = Field(default=True, description="Scores in events; never show them to whoever is judged.")

    def rule(self) -> KioskRule:
        """The state machine's rule. Raises ValueError for values that contradict each other."""
        return KioskRule(
            max_age_ns=int(self.max_age_s * NS),
            absent_ns=int(self.absent_s * NS),
            hold_ns=int(self.hold_s * NS),
            cool_down_ns=int(self.cool_down_s * NS),
            again_ns=int(self.again_s * NS),
            attempts=self.attempts,
            window_ns=int(self.window_s * NS),
            lock_ns=int(self.lock_s * NS),
            count_uncertain=self.count_uncertain,
            expiry_ns=int(self.expiry_s * NS),
        )

    def evidence(self) -> EvidenceRule:
        """The evidence's rule. Raises ValueError for impossible values."""
        return EvidenceRule(
            min_pairs=self.min_pairs,
            deadline_ns=int(self.deadline_s * NS),
            confirm=self.confirm,
            min_follows=self.min_follows,
        )

    @model_validator(mode="after")
    def _consistent(self) -> DecisionSettings:
        self.rule()
        self.evidence()
        return self


class HttpSettings(Section):
    """The page and its sources: /console, /events, /metrics, /readyz."""

    enabled: bool = Field(default=True, description="Serve them.")
    host: HostName = Field(default="127.0.0.1", description="Address to listen on. Any but loopback needs an API key.")
    port: int = Field(default=8001, ge=0, le=65535, description="Port; 0 lets the system choose.")
    api_key: SecretStr | None = Field(default=None, description="Key that callers must present.")


class EventLogSettings(Section):
    """The event log."""

    path: Path | None = Field(
        default=None, description="File of JSON lines.", examples=[Path("/var/log/adsn-kiosk/events.jsonl")]
    )
    max_bytes: int = Field(default=16 << 20, ge=4096, description="The file is rotated at this size.")
    keep: int = Field(default=5, ge=0, le=1000, description="Older files that are kept.")
    sync: Literal["always", "decisions", "never"] = Field(
        default="decisions", description="What is flushed to the disk at once: survives a power cut."
    )


class MqttSettings(Section):
    """An MQTT 5 broker. Needs the extra ``kiosk``."""

    host: HostName = Field(description="Its name or address.", examples=["broker.example"])
    port: int = Field(default=8883, ge=1, le=65535, description="Its port.")
    tls: bool = Field(default=True, description="Speak TLS. Without, anybody on the way can say live.")
    authorities: Path | None = Field(default=None, description="PEM file of who vouches for it; default: the system's.")
    certificate: Path | None = Field(default=None, description="This kiosk's certificate, PEM.")
    key: Path | None = Field(default=None, description="The certificate's private key, PEM.")
    username: str | None = Field(default=None, description="Name to log in with.")
    password: SecretStr | None = Field(default=None, description="Password; better from a secret, mqtt.password.")
    client_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,60}$",
        description="Name of the connection, different for each kiosk; default: the broker makes one.",
    )
    topic_prefix: str | None = Field(
        default=None, pattern=TOPIC, description="What topics begin with; default: site/SITE/door/DOOR/liveness."
    )
    discovery: bool = Field(default=False, description="Announce the kiosk to Home Assistant.")
    discovery_prefix: str = Field(
        default="homeassistant", pattern=TOPIC, description="What Home Assistant's discovery topics begin with."
    )

    @field_validator("topic_prefix", "discovery_prefix")
    @classmethod
    def _whole(cls, topic: str | None) -> str | None:
        if topic is not None and (topic.endswith("/") or "//" in topic):
            raise ValueError("a topic has no empty level: take out the slash at its end, or the second of two.")
        return topic

    @model_validator(mode="after")
    def _pairs(self) -> MqttSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("name both certificate and key, or neither.")
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username.")
        if not self.tls and (self.authorities or self.certificate):
            raise ValueError("authorities, certificate and key are for TLS: take them out, or set tls = true.")
        return self


class WebhookSettings(Section):
    """A web address that events are posted to, signed."""

    url: str = Field(description="Where to.", examples=["https://controller.example/liveness"])
    secret: SecretStr = Field(
        description="Shared with the receiver, 16 characters or more; better from a secret, webhook.secret.",
        examples=[""],
    )
    events: list[Literal["decision", "state", "health"]] = Field(
        default=["decision"], min_length=1, description="Which events: decision, state, health."
    )
    timeout_s: float = Field(default=2, gt=0, le=30, description="For one try.")
    authorities: Path | None = Field(default=None, description="PEM file of who vouches for it; default: the system's.")

    @field_validator("url")
    @classmethod
    def _safe(cls, url: str) -> str:
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ValueError("an address has no blanks and only ASCII characters; write others as %XX or in punycode.")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give an address that begins with https://.")
        if parts.username or parts.password:
            raise ValueError("no name or password in the address: events are signed instead.")
        require_host(parts.hostname)
        if parts.port == 0:
            raise ValueError("port 0 is no port to send to.")
        if parts.scheme == "http" and not _loopback(parts.hostname):
            raise ValueError("use https://; http:// is for receivers on this machine only.")
        return url

    @field_validator("secret")
    @classmethod
    def _long(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < 16:
            raise ValueError("shorter than 16 characters. Use a long random one: openssl rand -hex 24")
        return secret


class GpioSettings(LineSettings):
    """A relay on a GPIO line: pulsed on live, locked otherwise. Needs the extra ``kiosk``."""

    model_config = Section.model_config

    pulse_s: float = Field(default=3, ge=1, le=5, description="How long the door is open.")
    longest_s: float = Field(default=10, ge=1, le=60, description="Further people extend that, but never beyond this.")

    @model_validator(mode="after")
    def _ordered(self) -> GpioSettings:
        if self.longest_s < self.pulse_s:
            raise ValueError("longest_s is shorter than pulse_s.")
        return self


class CommandSettings(Section):
    """A program that is run on live, without a shell."""

    argv: list[str] = Field(
        min_length=1, description="Program and arguments.", examples=[["/usr/local/bin/open-door", "front"]]
    )
    timeout_s: float = Field(default=2, gt=0, le=60, description="It and its children are killed after so long.")

    @field_validator("argv")
    @classmethod
    def _absolute(cls, argv: list[str]) -> list[str]:
        if not argv[0].startswith("/"):
            raise ValueError("give the program by its full path.")
        if any("\0" in word for word in argv):
            raise ValueError("a word of a command holds no NUL character.")
        return argv


class KioskSettings(Section):
    """Settings of the kiosk."""

    site: str = Field(default="site", pattern=NAME, description="Name of the place, in topics and events.")
    door: str = Field(default="door", pattern=NAME, description="Name of the door, in topics and events.")
    bundle: Path = Field(default_factory=default_bundle, description="Model folder.")
    bundle_key: Path | None = Field(
        default=None, description="Ed25519 public key (PEM); with it, only a bundle signed by its owner is loaded."
    )
    engine: Literal["auto", "tensorrt", "onnx-cuda", "onnx-cpu", "remote"] = Field(
        default="auto", description="What runs the model; auto: the fastest that works here."
    )
    require_engine: bool = Field(default=False, description="Fail when that engine does not work, instead of the next.")
    precision: Literal["int8", "fp32"] = Field(default="int8", description="Which of the bundle's models to run.")
    remote: RemoteEngineSettings = Field(
        default_factory=RemoteEngineSettings, description="A scoring server, for engine = remote."
    )
    rig: RigSettings = Field(default_factory=RigSettings, description="The cameras.")
    face: FaceSettings = Field(default_factory=FaceSettings, description="How the face is found.")
    decision: DecisionSettings = Field(
        default_factory=DecisionSettings, description="When there is a decision, and what follows from it."
    )
    http: HttpSettings = Field(
        default_factory=HttpSettings, description="The page and its sources: /console, /events, /metrics, /readyz."
    )
    log: EventLogSettings = Field(default_factory=EventLogSettings, description="The event log.")
    audit: AuditSettings = Field(
        default_factory=AuditSettings, description="The log of decisions, chained; before any output hears of them."
    )
    attestation: AttestationSettings = Field(
        default_factory=AttestationSettings, description="Signed decisions. They expire when the decision does."
    )
    mqtt: MqttSettings | None = Field(default=None, description=MqttSettings.__doc__)
    webhook: WebhookSettings | None = Field(default=None, description=WebhookSettings.__doc__)
    gpio: GpioSettings | None = Field(default=None, description=GpioSettings.__doc__)
    command: CommandSettings | None = Field(default=None, description=CommandSettings.__doc__)

    @model_validator(mode="after")
    def _elsewhere(self) -> KioskSettings:
        if self.engine == "remote" and self.remote.url is None:
            raise ValueError("engine is remote, and remote.url names no scoring server.")
        return self

    @model_validator(mode="after")
    def _reachable(self) -> KioskSettings:
        """Refuse what could never end in ``live``."""
        if self.face.kind == "none":
            raise ValueError(
                'face.kind is "none", which finds no face, so no session would ever begin. Name a detector.'
            )
        if self.decision.min_follows and (self.rig.strobe in ("steady", "none") or (self.rig.rgb and self.rig.depth)):
            raise ValueError(
                f"decision.min_follows is {self.decision.min_follows}, and this rig has no strobing illuminator "
                f'(rig.strobe = "{self.rig.strobe}", or no rig.ir), so nobody would ever be live. Set it to 0, or set '
                "up the strobe."
            )
        return self

    @property
    def topic(self) -> str:
        """What the MQTT topics begin with."""
        if self.mqtt is not None and self.mqtt.topic_prefix is not None:
            return self.mqtt.topic_prefix
        return f"site/{self.site}/door/{self.door}/liveness"


def read_kiosk_settings(
    path: Path | None, *, environ: Mapping[str, str], options: Mapping[str, Any] | None = None
) -> KioskSettings:
    """Settings from the file at ``path``, systemd's credentials, the environment, and ``options`` (dotted keys).

    Raises:
        ConfigError: names every wrong entry.
    """
    own = {name: value for name, value in environ.items() if name.startswith(PREFIX.text)}
    own |= {name.replace("ADSN_", PREFIX.text): environ[name] for name in SHARED if name in environ} | own
    if "CREDENTIALS_DIRECTORY" in environ:
        own["CREDENTIALS_DIRECTORY"] = environ["CREDENTIALS_DIRECTORY"]
    return load_config(KioskSettings, path, prefixes=(PREFIX,), environ=own, options=options)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
