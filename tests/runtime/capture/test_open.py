"""Opening cameras by their address, and the errors when that fails."""

from __future__ import annotations

import pytest

from runtime.capture.open import SCHEMES, Scheme, check_uri, open_source
from runtime.core.errors import CameraUnsupported, ConfigError


def test_every_example_is_an_address_of_its_scheme() -> None:
    for name, scheme in SCHEMES.items():
        assert check_uri(scheme.example).scheme == name


def test_an_unknown_scheme_names_the_known() -> None:
    with pytest.raises(ConfigError, match="unknown camera scheme 'http'; use one of v4l2, opencv"):
        open_source("http://camera.local/stream", "rgb")


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        SCHEMES, "mcap", Scheme("runtime.recording.source", "a recording", "", "no_such_package", "pip x")
    )
    with pytest.raises(CameraUnsupported, match="not installed: pip x"):
        open_source("mcap:recording.mcap", "rgb")


def test_a_package_that_fails_to_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name="somelib")

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(CameraUnsupported, match="needs somelib"):
        open_source("synthetic:", "rgb")
