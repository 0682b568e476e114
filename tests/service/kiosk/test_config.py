"""The kiosk's settings: the commented file, refused values, and the sources of each value."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runtime.config.template import config_text
from runtime.core.errors import ConfigError
from service.kiosk.check import check, check_outputs
from service.kiosk.cli import demo_rig, require_rig
from service.kiosk.config import KioskSettings, read_kiosk_settings
from service.kiosk.wiring import open_outputs, page_settings
from service.monitoring.health import Health
from service.outputs.home_assistant import KioskReadings
from tests.support.fakes import FakeFeed

RIG = '[rig]\nrgb = "synthetic:"\nir = "synthetic:"\n'
SECRET = "0123456789abcdef"
WEBHOOK = f'[webhook]\nurl = "https://host.example/"\nsecret = "{SECRET}"\n'


def read(folder: Path, text: str, **environ: str) -> KioskSettings:
    path = folder / "kiosk.toml"
    path.write_text(text)
    return read_kiosk_settings(path, environ=environ)


def test_the_commented_file_is_the_defaults(tmp_path: Path) -> None:
    text = config_text(KioskSettings, "Settings of adsn-kiosk.")
    assert read(tmp_path, text) == KioskSettings()
    for part in ("[decision]", "#[mqtt]", "#[webhook]", "#[gpio]", "#[command]", "#pulse_s = 3", "#expiry_s = 2"):
        assert part in text
    assert "(no description)" not in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[decision]\nexpiry_s = 3\n", "kiosk.toml:2: decision.expiry_s: Input should be less than or equal to 2"),
        ("[decision]\nmax_age_s = 1.5\nexpiry_s = 1\n", "kiosk.toml:1: decision: max_age must be shorter"),
        ("[gpio]\nline = 17\npulse_s = 60\n", "kiosk.toml:3: gpio.pulse_s: Input should be less than or equal to 5"),
        ("[gpio]\nline = 17\npulse_s = 5\nlongest_s = 4\n", "kiosk.toml:1: gpio: longest_s is shorter"),
        ("[gpoi]\nline = 17\n", "kiosk.toml:1: gpoi: there is no such setting; did you mean gpio?"),
        (
            '[command]\nargv = ["open-door"]\n',
            "kiosk.toml:2: command.argv: the program must be given by its full",
        ),
        ("[command]\nargv = []\n", "kiosk.toml:2: command.argv: List should have at least 1 item"),
        (f'[webhook]\nurl = "http://host.example/"\nsecret = "{SECRET}"\n', "webhook.url: use https://"),
        (
            f'[webhook]\nurl = "https://u:p@h.example/"\nsecret = "{SECRET}"\n',
            "must not contain a user name",
        ),
        ('[webhook]\nurl = "https://h.example/"\nsecret = "short"\n', "kiosk.toml:3: webhook.secret: shorter than 16"),
        ('[mqtt]\nhost = "b"\npassword = "p"\n', "kiosk.toml:1: mqtt: a password needs a username."),
        ('[mqtt]\nhost = "b"\ncertificate = "/c"\n', "mqtt: set both certificate and key"),
        (
            '[mqtt]\nhost = "mqtts://broker.example:8883"\n',
            "kiosk.toml:2: mqtt.host: give only the host, without scheme",
        ),
        ('[mqtt]\nhost = "mqtts://broker.example:8883"\n', "port or path: broker.example."),
        (
            '[mqtt]\nhost = "broker.example:1883"\n',
            "without the port: broker.example; 'broker.example:1883' has both",
        ),
        ('[mqtt]\nhost = "10.0.0.256"\n', "mqtt.host: '10.0.0.256' is not an IP address"),
        ('[mqtt]\nhost = "broker one"\n', "mqtt.host: 'broker one' is not a host name"),
        ('[mqtt]\nhost = ""\n', "mqtt.host: '' is not a host name"),
        ('[mqtt]\nhost = "b"\ntls = false\ncertificate = "/c"\nkey = "/k"\n', "need TLS. Remove them"),
        ('[http]\nhost = "http://127.0.0.1"\n', "http.host: give only the host"),
        (f'[webhook]\nurl = "https://h.example:99999/"\nsecret = "{SECRET}"\n', "webhook.url: Port out of range"),
        (f'[webhook]\nurl = "https://h.example:0/"\nsecret = "{SECRET}"\n', "webhook.url: port 0"),
        (
            f'[webhook]\nurl = "https://h.example/a b"\nsecret = "{SECRET}"\n',
            "webhook.url: a URL must be ASCII without",
        ),
        (f'[webhook]\nurl = "https://a..b/"\nsecret = "{SECRET}"\n', "webhook.url: 'a..b' is not a host name"),
        ('[command]\nargv = ["/bin/true", "a\\u0000b"]\n', "command.argv: arguments must not contain a NUL"),
        ("[decision]\nmin_pairs = 5000\n", "decision.min_pairs: Input should be less than or equal to 1000"),
        ("[rig]\nmax_age_ms = inf\n", "rig.max_age_ms: Input should be a finite number"),
        ("[rig]\nir_offset_ms = 1e9\n", "rig.ir_offset_ms: Input should be less than or equal to 10000"),
        ('[decision]\nmin_follows = 2\n[rig]\nstrobe = "none"\n', "no session would ever be live"),
        ('[face]\nkind = "none"\n', 'face.kind is "none", which finds no face'),
        (
            '[face]\nkind = "fixed"\nregion = [0.3, 0.2, 0.4, 0.5]\n',
            'face.kind is "fixed", which cannot tell whether a person is present',
        ),
        ('[attestation]\ndevice = "!! gate"\n', "attestation.device: String should match pattern"),
        ('door = "front/#"\n', "kiosk.toml:1: door: String should match pattern"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert "short\n" not in str(caught.value)


def test_environment_and_credentials(tmp_path: Path) -> None:
    secrets = tmp_path / "credentials"
    secrets.mkdir()
    (secrets / "webhook.secret").write_text(SECRET + "\n")
    settings = read(
        tmp_path,
        '[webhook]\nurl = "http://127.0.0.1:9/x"\n',
        CREDENTIALS_DIRECTORY=str(secrets),
        ADSN_KIOSK_DOOR="back",
        ADSN_KIOSK_COMMAND__ARGV='["/bin/true", "x"]',
        ADSN_BUNDLE=str(tmp_path),
        ADSN_API_KEY="of adsn-serve",
    )
    assert settings.webhook is not None
    assert settings.webhook.secret.get_secret_value() == SECRET
    assert settings.topic == "site/site/door/back/liveness"
    assert settings.command is not None
    assert settings.command.argv == ["/bin/true", "x"]
    assert settings.bundle == tmp_path
    with pytest.raises(ConfigError, match="ADSN_KIOSK_DOR: there is no such setting; did you mean ADSN_KIOSK_DOOR"):
        read(tmp_path, "", ADSN_KIOSK_DOR="x")


def test_the_page_is_open_to_this_machine_only_unless_there_is_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without an API key"):
        page_settings(read(tmp_path, '[http]\nhost = "0.0.0.0"\n'))
    made = page_settings(
        read(tmp_path, f'[http]\nhost = "0.0.0.0"\napi_key = "{SECRET}"\n[decision]\nexpose_score = false\n')
    )
    assert (made.port, made.expose_score) == (8001, False)


def test_a_rig_needs_two_cameras_with_readable_addresses(tmp_path: Path) -> None:
    require_rig(read(tmp_path, RIG))
    check(read(tmp_path, RIG))
    with pytest.raises(ConfigError, match="no cameras are configured"):
        require_rig(read(tmp_path, ""))
    for text, says in (
        ('[rig]\nrgb = "synthetic:"\n', "two cameras"),
        (
            '[rig]\nrgb = "synthetic:"\nir = "v4l3:/dev/video0"\n',
            r"rig\.ir: v4l3:/dev/video0: unknown camera scheme",
        ),
    ):
        with pytest.raises(ConfigError, match=says):
            check(read(tmp_path, text))
    with pytest.raises(ConfigError, match="unknown species ghost"):
        demo_rig("bona_fide,ghost", 1)


def test_outputs_are_checked_without_being_used(tmp_path: Path) -> None:
    for text, says in (
        ('[command]\nargv = ["/dev/null/absent"]\n', "/dev/null/absent is not an executable file"),
        ('[command]\nargv = ["/etc"]\n', r"command\.argv: /etc is not an executable file"),
        ('[command]\nargv = ["/etc/passwd"]\n', r"/etc/passwd is not an executable file.*chmod \+x"),
        (WEBHOOK + 'authorities = "/dev/null/absent"\n', r"webhook\.authorities: /dev/null/absent cannot be read"),
        ('[log]\npath = "/etc"\n', r"log\.path: /etc is a folder or a device"),
        ('[log]\npath = "/etc/passwd/events.jsonl"\n', r"log\.path: /etc/passwd is not a folder"),
        (
            '[log]\npath = "/tmp/x.jsonl"\n[audit]\npath = "/tmp/../tmp/x.jsonl"\n',
            r"log\.path: \S+ is also the audit log",
        ),
        (
            '[mqtt]\nhost = "b"\nauthorities = "/dev/null/absent"\n',
            r"mqtt\.authorities: /dev/null/absent cannot",
        ),
        ('bundle = "/dev/null/absent"\n', "bundle: /dev/null/absent: no such model folder"),
        ('[audit]\npath = "/dev/null/absent/audit.jsonl"\n', r"audit\.path: /dev/null is not a folder"),
        ('[audit]\npath = "/absent/audit.jsonl"\n', r"audit\.path: the folder /absent does not exist"),
        ('[attestation]\nkey = "/dev/null/absent.pem"\n', "/dev/null/absent.pem"),
    ):
        with pytest.raises(ConfigError, match=says):
            check(read(tmp_path, text))
    check_outputs(read(tmp_path, RIG))


@pytest.mark.parametrize("package", ["aiomqtt", "gpiod"])
def test_a_package_that_an_output_needs_is_missed_before_it_starts(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    section = '[mqtt]\nhost = "broker.example"\n' if package == "aiomqtt" else "[gpio]\nline = 17\n"
    with pytest.raises(ConfigError, match=f"needs the package {package}: pip install"):
        check_outputs(read(tmp_path, section))


def readings() -> KioskReadings:
    return KioskReadings(FakeFeed().status(), 0)


def test_only_what_is_configured_is_opened(tmp_path: Path) -> None:
    assert open_outputs(read(tmp_path, RIG), Health(), readings) == []
    text = f"""
[log]
path = "{tmp_path}/events.jsonl"
[command]
argv = ["/bin/true"]
[webhook]
url = "http://127.0.0.1:9/"
secret = "{SECRET}"
"""
    channels = open_outputs(read(tmp_path, text), Health(), readings)
    assert sorted(channel.name for channel in channels) == ["command", "log", "webhook"]
    for channel in channels:
        channel.close(20)
    with pytest.raises(ConfigError, match=r"webhook\.authorities: /dev/null/absent cannot be read"):
        open_outputs(read(tmp_path, WEBHOOK + 'authorities = "/dev/null/absent"\n'), Health(), readings)


MQTT = '[mqtt]\nhost = "localhost"\n'


@pytest.mark.parametrize("discovery", [False, True])
def test_discovery_has_a_connection_of_its_own(discovery: bool, tmp_path: Path) -> None:
    pytest.importorskip("aiomqtt")
    text = MQTT + f"port = 1\ntls = false\ndiscovery = {str(discovery).lower()}\n"
    channels = open_outputs(read(tmp_path, text), Health(), readings)
    assert [channel.name for channel in channels] == ["mqtt", "home_assistant"][: 1 + discovery]
    for channel in channels:
        channel.close(20)


def test_topics_begin_as_the_settings_say(tmp_path: Path) -> None:
    text = f'site = "berlin"\ndoor = "front"\n{MQTT}'
    assert read(tmp_path, text).topic == "site/berlin/door/front/liveness"
    assert read(tmp_path, text + 'topic_prefix = "doors/front"\n').topic == "doors/front"


@pytest.mark.parametrize(
    ("key", "value"),
    [("topic_prefix", topic) for topic in ("a/+", "#", "/a", "a/", "a//b", "$SYS/a", "a b", "", "a" * 201)]
    + [("discovery_prefix", "ha/#"), ("client_id", "two words"), ("client_id", "")],
)
def test_names_that_a_broker_would_refuse_are_refused(key: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"mqtt\.{key}"):
        read(tmp_path, f'{MQTT}{key} = "{value}"\n')


def test_scoring_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"remote\.url"):
        read(tmp_path, 'engine = "remote"\n')
    text = 'engine = "remote"\n[remote]\nurl = "https://scores.example:8000"\ntimeout_ms = 300\n'
    found = read(tmp_path, text, ADSN_KIOSK_REMOTE__KEY=SECRET).remote.engine()
    assert found is not None
    assert (found.url, found.timeout_s, found.key) == ("https://scores.example:8000", 0.3, SECRET)
