"""Settings of the kiosk, from a TOML file, secrets, ``ADSN_KIOSK_`` environment variables and command-line options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from runtime.config.host_name import HostName, require_host
from runtime.config.loader import EnvironmentPrefix, load_config
from runtime.config.rig import RigSettings
from runtime.core.hosts import is_loopback
from runtime.core.units import SECOND
from runtime.face.open import FaceSettings
from runtime.liveness.evidence import EvidenceRule
from runtime.liveness.open import default_bundle
from service.config.section import Section
from service.config.trust import AttestationSettings, AuditSettings, RemoteEngineSettings
from service.kiosk.door_line import LineSettings
from service.kiosk.state_machine import KioskRule

PREFIX = EnvironmentPrefix("ADSN_KIOSK_")
SHARED = ("ADSN_BUNDLE", "ADSN_BUNDLE_KEY")
"""Environment variables that all programs of this project share."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""Pattern of a name. Names become levels of MQTT topics, so characters with a special meaning in topics are not
allowed."""
TOPIC = r"^[^/+#$\x00-\x20\x7f][^+#\x00-\x20\x7f]{0,199}$"
"""Pattern of the prefix of published topics. It excludes wildcards, white space, and the broker's own topics below
`$SYS`."""


class DecisionSettings(Section):
    """Rules for decisions and what follows them."""

    deadline_s: float = Field(
        default=3, gt=0, le=60, description="Time limit of a session in seconds; after it the decision is uncertain."
    )
    min_pairs: int = Field(default=5, ge=2, le=1000, description="Smallest number of good pairs for a decision.")
    min_follows: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="Pairs on which the face must follow a strobed illuminator before live; 0 disables the check.",
    )
    confirm: float = Field(
        default=1.5, ge=1, le=100, description="Evidence for a decision, in independent pairs of full strength."
    )
    max_age_s: float = Field(default=0.5, gt=0, lt=2, description="Pairs older than this are ignored, in seconds.")
    expiry_s: float = Field(
        default=2, gt=0, le=2, description="Time from a decision's last pair to its expiry, in seconds."
    )
    absent_s: float = Field(
        default=0.7, gt=0, le=30, description="Time without a face after which the person has left, in seconds."
    )
    hold_s: float = Field(default=2, gt=0, le=60, description="Time for which a decision is shown, in seconds.")
    cool_down_s: float = Field(default=1, gt=0, le=600, description="Pause after a decision was shown, in seconds.")
    again_s: float = Field(
        default=15, gt=0, le=3600, description="Further pause after live while the face does not leave, in seconds."
    )
    attempts: int = Field(
        default=5, ge=0, le=1000, description="Number of attacks that triggers a lock-out; 0 disables lock-outs."
    )
    window_s: float = Field(
        default=180, gt=0, le=86400, description="Time window in which attacks are counted, in seconds."
    )
    lock_s: float = Field(default=60, gt=0, le=86400, description="Length of a lock-out, in seconds.")
    count_uncertain: bool = Field(default=False, description="Count uncertain sessions as attacks.")
    expose_score: bool = Field(
        default=True, description="Include scores in events. Never show them to the person in front of the camera."
    )

    def rule(self) -> KioskRule:
        """Return the rule for the state machine. Raises ValueError if values contradict each other."""
        return KioskRule(
            max_age_ns=int(self.max_age_s * SECOND),
            absent_ns=int(self.absent_s * SECOND),
            hold_ns=int(self.hold_s * SECOND),
            cool_down_ns=int(self.cool_down_s * SECOND),
            again_ns=int(self.again_s * SECOND),
            attempts=self.attempts,
            window_ns=int(self.window_s * SECOND),
            lock_ns=int(self.lock_s * SECOND),
            count_uncertain=self.count_uncertain,
            expiry_ns=int(self.expiry_s * SECOND),
        )

    def evidence(self) -> EvidenceRule:
        """Return the rule for the evidence. Raises ValueError if values are out of range or contradict each other."""
        return EvidenceRule(
            min_pairs=self.min_pairs,
            deadline_ns=int(self.deadline_s * SECOND),
            confirm=self.confirm,
            min_follows=self.min_follows,
        )

    @model_validator(mode="after")
    def _consistent(self) -> DecisionSettings:
        self.rule()
        self.evidence()
        return self


class HttpSettings(Section):
    """The console and its endpoints: /console, /events, /metrics, /readyz."""

    enabled: bool = Field(default=True, description="Serve the console and its endpoints.")
    host: HostName = Field(
        default="127.0.0.1", description="Address to listen on. Any address but loopback needs an API key."
    )
    port: int = Field(default=8001, ge=0, le=65535, description="Port to listen on; 0 picks a free port.")
    api_key: SecretStr | None = Field(default=None, description="API key that callers must send.")


class EventLogSettings(Section):
    """The event log."""

    path: Path | None = Field(
        default=None, description="File for JSON lines.", examples=[Path("/var/log/adsn-kiosk/events.jsonl")]
    )
    max_bytes: int = Field(default=16 << 20, ge=4096, description="Size at which the file is rotated, in bytes.")
    keep: int = Field(default=5, ge=0, le=1000, description="Number of rotated files to keep.")
    sync: Literal["always", "decisions", "never"] = Field(
        default="decisions", description="Events that are flushed to disk at once, so that they survive a power cut."
    )


class MqttSettings(Section):
    """An MQTT 5 broker. Needs the extra ``kiosk``."""

    host: HostName = Field(description="Host name or address of the broker.", examples=["broker.example"])
    port: int = Field(default=8883, ge=1, le=65535, description="Port of the broker.")
    tls: bool = Field(default=True, description="Use TLS. Without it, anyone on the network path can send live.")
    authorities: Path | None = Field(
        default=None, description="CA certificates (PEM) to verify the broker; default: the system's."
    )
    certificate: Path | None = Field(default=None, description="Client certificate of this kiosk (PEM).")
    key: Path | None = Field(default=None, description="Private key of the certificate (PEM).")
    username: str | None = Field(default=None, description="User name for the broker.")
    password: SecretStr | None = Field(
        default=None, description="Password for the broker; best set as the secret mqtt.password."
    )
    client_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,60}$",
        description="MQTT client id, unique for each kiosk; default: assigned by the broker.",
    )
    topic_prefix: str | None = Field(
        default=None, pattern=TOPIC, description="Topic prefix; default: site/SITE/door/DOOR/liveness."
    )
    discovery: bool = Field(default=False, description="Announce the kiosk to Home Assistant.")
    discovery_prefix: str = Field(
        default="homeassistant", pattern=TOPIC, description="Prefix of Home Assistant's discovery topics."
    )

    @field_validator("topic_prefix", "discovery_prefix")
    @classmethod
    def _whole(cls, topic: str | None) -> str | None:
        if topic is not None and (topic.endswith("/") or "//" in topic):
            raise ValueError("a topic must not have empty levels. Remove the trailing or doubled slash.")
        return topic

    @model_validator(mode="after")
    def _pairs(self) -> MqttSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("set both certificate and key, or neither.")
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username.")
        if not self.tls and (self.authorities or self.certificate):
            raise ValueError("authorities, certificate and key need TLS. Remove them, or set tls = true.")
        return self


class WebhookSettings(Section):
    """A webhook: signed events are sent to a URL by POST."""

    url: str = Field(description="URL of the receiver.", examples=["https://controller.example/liveness"])
    secret: SecretStr = Field(
        description="Secret shared with the receiver, at least 16 characters; best set as the secret webhook.secret.",
        examples=[""],
    )
    events: list[Literal["decision", "state", "health"]] = Field(
        default=["decision"], min_length=1, description="Events to send: decision, state, health."
    )
    timeout_s: float = Field(default=2, gt=0, le=30, description="Time limit of one attempt, in seconds.")
    authorities: Path | None = Field(
        default=None, description="CA certificates (PEM) to verify the receiver; default: the system's."
    )

    @field_validator("url")
    @classmethod
    def _safe(cls, url: str) -> str:
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ValueError("a URL must be ASCII without spaces; write other characters as %XX or in punycode.")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the URL must begin with https://.")
        if parts.username or parts.password:
            raise ValueError("the URL must not contain a user name or password; events are signed instead.")
        require_host(parts.hostname)
        if parts.port == 0:
            raise ValueError("port 0 cannot be a receiver's port.")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("use https://; http:// is for receivers on this machine only.")
        return url

    @field_validator("secret")
    @classmethod
    def _long(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < 16:
            raise ValueError("shorter than 16 characters. Use a long random secret: openssl rand -hex 24")
        return secret


class GpioSettings(LineSettings):
    """A relay on a GPIO line, pulsed on live and locked otherwise. Needs the extra ``kiosk``."""

    model_config = Section.model_config

    pulse_s: float = Field(default=3, ge=1, le=5, description="Time for which a decision opens the door, in seconds.")
    longest_s: float = Field(
        default=10, ge=1, le=60, description="Limit when further decisions extend the pulse, in seconds."
    )

    @model_validator(mode="after")
    def _ordered(self) -> GpioSettings:
        if self.longest_s < self.pulse_s:
            raise ValueError("longest_s is shorter than pulse_s.")
        return self


class CommandSettings(Section):
    """A program to run on live, without a shell."""

    argv: list[str] = Field(
        min_length=1, description="Program and arguments.", examples=[["/usr/local/bin/open-door", "front"]]
    )
    timeout_s: float = Field(
        default=2, gt=0, le=60, description="Time after which the program and its children are killed, in seconds."
    )

    @field_validator("argv")
    @classmethod
    def _absolute(cls, argv: list[str]) -> list[str]:
        if not argv[0].startswith("/"):
            raise ValueError("the program must be given by its full path.")
        if any("\0" in word for word in argv):
            raise ValueError("arguments must not contain a NUL character.")
        return argv


class KioskSettings(Section):
    """Settings of the kiosk."""

    site: str = Field(default="site", pattern=NAME, description="Name of the site, in topics and events.")
    door: str = Field(default="door", pattern=NAME, description="Name of the door, in topics and events.")
    bundle: Path = Field(default_factory=default_bundle, description="Model folder.")
    bundle_key: Path | None = Field(
        default=None,
        description="Ed25519 public key (PEM); if set, only bundles signed by its owner are loaded.",
    )
    engine: Literal["auto", "tensorrt", "onnx-cuda", "onnx-cpu", "remote"] = Field(
        default="auto", description="Engine that runs the model; auto selects the fastest that works on this machine."
    )
    require_engine: bool = Field(
        default=False, description="Fail if the engine does not work, instead of using the next one."
    )
    precision: Literal["int8", "fp32"] = Field(default="int8", description="Precision of the model to run.")
    remote: RemoteEngineSettings = Field(
        default_factory=RemoteEngineSettings, description="The scoring server for engine = remote."
    )
    rig: RigSettings = Field(default_factory=RigSettings, description="The cameras.")
    face: FaceSettings = Field(default_factory=FaceSettings, description="Face detection.")
    decision: DecisionSettings = Field(
        default_factory=DecisionSettings, description="Rules for decisions and what follows them."
    )
    http: HttpSettings = Field(
        default_factory=HttpSettings, description="The console and its endpoints: /console, /events, /metrics, /readyz."
    )
    log: EventLogSettings = Field(default_factory=EventLogSettings, description="The event log.")
    audit: AuditSettings = Field(
        default_factory=AuditSettings,
        description="The chained log of decisions, written before any output gets a decision.",
    )
    attestation: AttestationSettings = Field(
        default_factory=AttestationSettings, description="Signed decisions; a signature expires with its decision."
    )
    mqtt: MqttSettings | None = Field(default=None, description=MqttSettings.__doc__)
    webhook: WebhookSettings | None = Field(default=None, description=WebhookSettings.__doc__)
    gpio: GpioSettings | None = Field(default=None, description=GpioSettings.__doc__)
    command: CommandSettings | None = Field(default=None, description=CommandSettings.__doc__)

    @model_validator(mode="after")
    def _require_url(self) -> KioskSettings:
        if self.engine == "remote" and self.remote.url is None:
            raise ValueError('engine is "remote", but remote.url is not set. Set it to the scoring server\'s address.')
        return self

    @model_validator(mode="after")
    def _reachable(self) -> KioskSettings:
        """Refuse settings with which no session could end in ``live``."""
        if self.face.kind == "none":
            raise ValueError(
                'face.kind is "none", which finds no faces, so no session would ever begin. Choose a detector.'
            )
        if self.face.kind == "fixed":
            raise ValueError(
                'face.kind is "fixed", which cannot tell whether a person is present or has been replaced by another, '
                "so no session would ever be live. Choose a detector that looks at the images, such as auto."
            )
        if self.decision.min_follows and (self.rig.strobe in ("steady", "none") or (self.rig.rgb and self.rig.depth)):
            raise ValueError(
                f"decision.min_follows is {self.decision.min_follows}, but this rig has no strobed illuminator "
                f'(rig.strobe = "{self.rig.strobe}", or no rig.ir), so no session would ever be live. Set it to 0, or '
                "set up the strobe."
            )
        return self

    @property
    def topic(self) -> str:
        """Prefix of the MQTT topics."""
        if self.mqtt is not None and self.mqtt.topic_prefix is not None:
            return self.mqtt.topic_prefix
        return f"site/{self.site}/door/{self.door}/liveness"


def read_kiosk_settings(
    path: Path | None, *, environ: Mapping[str, str], options: Mapping[str, Any] | None = None
) -> KioskSettings:
    """Read the settings from the file at ``path``, systemd credentials, the environment and ``options`` (dotted keys).

    Raises:
        ConfigError: entries are wrong. The message names all of them.
    """
    own = {name: value for name, value in environ.items() if name.startswith(PREFIX.text)}
    own |= {name.replace("ADSN_", PREFIX.text): environ[name] for name in SHARED if name in environ} | own
    if "CREDENTIALS_DIRECTORY" in environ:
        own["CREDENTIALS_DIRECTORY"] = environ["CREDENTIALS_DIRECTORY"]
    return load_config(KioskSettings, path, prefixes=(PREFIX,), environ=own, options=options)
