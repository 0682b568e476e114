"""Settings files: the place of each mistake, precedence, and the commented file."""

from __future__ import annotations

import codecs
import json
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from runtime.config.loader import EnvironmentPrefix, InvalidConfig, load_config
from runtime.config.rig import RigSettings
from runtime.config.template import config_text, toml_value
from runtime.config.toml_lines import key_lines
from runtime.core.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Broker(BaseModel):
    """An MQTT broker."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field(description="Where it is.", examples=["broker.example"])
    port: int = Field(default=8883, ge=1, le=65535, description="Its port.")
    password: SecretStr | None = Field(default=None, description="What it asks for.")


class Hook(BaseModel):
    """A program to run."""

    model_config = ConfigDict(extra="forbid")

    argv: list[str] = Field(description="Program and arguments.", examples=[["/bin/true"]])
    after_s: float = Field(default=0.5, gt=0, description="A wait.")


class Settings(BaseModel):
    """Everything."""

    model_config = ConfigDict(extra="forbid")

    site: str = Field(default="home", description="Name of the site.")
    level: Literal["low", "high"] = Field(default="low", description="How strict.")
    tags: list[str] = Field(default=[], description="Names.")
    verbose: bool = Field(default=False, description="Say more.")
    rig: RigSettings = Field(default_factory=RigSettings, description="The cameras.")
    mqtt: Broker | None = Field(default=None, description="An MQTT broker to tell.")
    hooks: list[Hook] = Field(default=[], description="Programs to run.")

    @model_validator(mode="after")
    def _strict_sites(self) -> Settings:
        if self.level == "high" and self.site == "home":
            raise ValueError("a high level needs a site of its own.")
        return self


def write(folder: Path, text: str) -> Path:
    path = folder / "kiosk.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder: Path, text: str, **kwargs: Any) -> list[str]:
    path = write(folder, text)
    with pytest.raises(InvalidConfig) as caught:
        load_config(Settings, path, **{"environ": {}, **kwargs})
    assert caught.value.code == "config_error"
    return [str(mistake).replace(str(path), "F") for mistake in caught.value.mistakes]


def test_every_mistake_is_named_with_line_and_key(tmp_path: Path) -> None:
    text = """
# a comment = [ "with brackets
sitte = 'x'
level = "middle"

[rig]
max_skew_ms = 1000
max_skw_ms = 5

[mqtt]
port = "many"

[[hooks]]
argv = [
  "a", # ] not the end
  '''b
  ]''',
]
[[hooks]]
argv = "no list"
after = 1
"""
    found = mistakes(tmp_path, text)
    assert found == [
        "F:3: sitte: there is no such setting; did you mean site?",
        "F:4: level: Input should be 'low' or 'high'",
        "F:7: rig.max_skew_ms: Input should be less than or equal to 100",
        "F:8: rig.max_skw_ms: there is no such setting; did you mean max_skew_ms?",
        "F:10: mqtt.host: is required but not set.",
        "F:11: mqtt.port: Input should be a valid integer, unable to parse string as an integer",
        "F:20: hooks[1].argv: Input should be a valid list",
        "F:21: hooks[1].after: there is no such setting; did you mean after_s?",
    ]


def test_a_rule_over_several_keys_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    assert mistakes(tmp_path, 'level = "high"') == ["F: a high level needs a site of its own."]


def test_text_that_is_no_toml(tmp_path: Path) -> None:
    assert mistakes(tmp_path, 'site = "a"\nsite = "b"\n')[0].startswith("F:2: not valid TOML: Cannot overwrite a value")
    assert mistakes(tmp_path, "site = \n")[0].startswith("F:1: not valid TOML")
    path = tmp_path / "latin.toml"
    path.write_bytes(b'level = "low"\nsite = "Z\xfcrich"\n')
    with pytest.raises(InvalidConfig, match=r"latin.toml:2: not UTF-8"):
        load_config(Settings, path, environ={})
    with pytest.raises(ConfigError, match=r"absent.toml: cannot be read: No such file"):
        load_config(Settings, tmp_path / "absent.toml", environ={})


def test_a_byte_order_mark_is_no_part_of_a_file_or_a_secret(tmp_path: Path) -> None:
    path, secrets = tmp_path / "own.toml", tmp_path / "secrets"
    path.write_bytes(codecs.BOM_UTF8 + b'site = "north"\r\n')
    secrets.mkdir()
    (secrets / "mqtt.password").write_bytes(codecs.BOM_UTF8 + b"hunter2\r\n")
    (secrets / "mqtt.host").write_text("broker.example")
    (secrets / "._mqtt.host").write_bytes(b"left behind")
    found = load_config(Settings, path, secrets=secrets, environ={})
    assert found.site == "north"
    assert found.mqtt is not None
    assert found.mqtt.password is not None
    assert found.mqtt.password.get_secret_value() == "hunter2"
    path.write_bytes(codecs.BOM_UTF8 + b"\n\nsite = 5\n")
    with pytest.raises(InvalidConfig, match=r"own\.toml:3: site"):
        load_config(Settings, path, environ={})


def test_what_is_said_later_wins(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "mqtt.password").write_text("hush\n")
    (secrets / "mqtt__port").write_text("2")
    (secrets / "tls-key.pem").write_text("not a setting")
    path = write(tmp_path, 'site = "file"\nlevel = "high"\n[mqtt]\nhost = "file"\nport = 1\n')
    environ = {
        "ADSN_SITE": "shared",
        "ADSN_KIOSK_SITE": "own",
        "ADSN_HOST": "of another program",
        "ADSN_KIOSK_TAGS": '["a", "b"]',
        "ADSN_KIOSK_VERBOSE": "true",
        "ADSN_KIOSK_RIG__MAX_SKEW_MS": "5",
        "CREDENTIALS_DIRECTORY": str(secrets),
    }
    prefixes = (EnvironmentPrefix("ADSN_", strict=False), EnvironmentPrefix("ADSN_KIOSK_"))
    loaded = load_config(Settings, path, prefixes=prefixes, environ=environ, options={"level": "low", "site": None})
    assert (loaded.site, loaded.level, loaded.tags, loaded.verbose) == ("own", "low", ["a", "b"], True)
    assert loaded.rig.max_skew_ms == 5
    assert loaded.mqtt is not None
    assert loaded.mqtt.password is not None
    assert loaded.mqtt.password.get_secret_value() == "hush"
    assert (loaded.mqtt.host, loaded.mqtt.port) == ("file", 2)


def test_mistakes_outside_the_file_name_their_variable_or_secret(tmp_path: Path) -> None:
    (tmp_path / "mqtt.pasword").write_text("very secret")
    environ = {"ADSN_KIOSK_SIT": "x", "ADSN_KIOSK_RIG__MAX_AGE_MS": "-1", "ADSN_KIOSK_TAGS": "a,b"}
    found = mistakes(tmp_path, "", environ=environ, prefixes=[EnvironmentPrefix("ADSN_KIOSK_")], secrets=tmp_path)
    assert [line.replace(str(tmp_path), "D") for line in found] == [
        "D/mqtt.pasword: mqtt.pasword: there is no such setting; did you mean mqtt.password?",
        "ADSN_KIOSK_SIT: there is no such setting; did you mean ADSN_KIOSK_SITE?",
        'ADSN_KIOSK_TAGS: give this as JSON, e.g. ["one", "two"].',
        "ADSN_KIOSK_RIG__MAX_AGE_MS: rig.max_age_ms: Input should be greater than 0",
    ]
    assert "very secret" not in "".join(found)


def test_a_secret_in_the_file_is_never_repeated(tmp_path: Path) -> None:
    found = mistakes(tmp_path, '[mqtt]\nhost = "h"\npassword = ["hush"]\n')
    assert found == ["F:3: mqtt.password: Input should be a valid string"]


def test_the_commented_file_explains_every_key_and_gives_the_defaults(tmp_path: Path) -> None:
    text = config_text(Settings, "adsn kiosk")
    assert load_config(Settings, write(tmp_path, text), environ={}) == Settings()
    for word in ("Name of the site.", "one of low, high", "at least 1; at most 65535", '#host = "broker.example"'):
        assert word in text
    assert "#[mqtt]" in text
    assert "\n[rig]" in text
    assert "#[[hooks]]" in text
    # Uncommenting all keys gives a valid file, in which keys with a default have that value.
    bare = "\n".join(line.removeprefix("#") if not line.startswith("# ") else line for line in text.splitlines())
    loaded = load_config(Settings, write(tmp_path, bare), environ={})
    assert (loaded.site, loaded.level, loaded.rig.max_skew_ms) == ("home", "low", 10)
    assert loaded.mqtt is not None
    assert loaded.mqtt.port == 8883
    assert loaded.hooks == [Hook(argv=["/bin/true"])]


keys = st.text("abcdef-_0", min_size=1, max_size=4)
scalars = st.integers(-9, 9) | st.booleans() | st.text("a#'\"[]={}\\\n é", max_size=8)
values = scalars | st.lists(scalars, max_size=3)
tables_of_keys = st.dictionaries(keys, st.dictionaries(keys, values, min_size=1, max_size=3), max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables_of_keys, st.booleans())
def test_lines_are_those_of_the_keys(tables: dict[str, dict[str, Any]], array: bool) -> None:
    lines, expected = [], {}
    for table, entries in tables.items():
        lines += ["# = [ '", f"[[ {json.dumps(table)} ]]" if array else f"[{table}] # ]"]
        at: tuple[str | int, ...] = (table, 0) if array else (table,)
        expected[at] = len(lines)
        for key, value in entries.items():
            lines.append(f"{key} = {toml_value(value)} # {key}")
            expected[(*at, key)] = len(lines)
            lines.append("")
    text = "\n".join(lines)
    tomllib.loads(text)
    found = key_lines(text)
    assert {path: found[path] for path in expected} == expected
