"""Locking the door after the daemon has ended: it is fast, and only the line in the settings has to be valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from runtime.core.errors import ConfigError
from service.kiosk import door_line
from service.kiosk.config import GpioSettings, KioskSettings
from service.kiosk.door_line import LineSettings, lock, open_door_line, read_line

SETTINGS = """
prot = 1
[mqtt]
host = 5
[gpio]
line = 17
active_low = true
pulse_s = 1000
"""


class Line:
    """Fake line that records its calls."""

    done: ClassVar[list[object]] = []
    fails: ClassVar[OSError | None] = None

    def __init__(self, *where: object) -> None:
        self.done.append(where)
        if self.fails is not None:
            raise self.fails

    def close(self) -> None:
        self.done.append("closed")
        raise OSError("gone by now")


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> type[Line]:
    monkeypatch.setattr(Line, "done", [])
    monkeypatch.setattr(door_line, "GpiodLine", Line)
    return Line


def test_mistakes_elsewhere_keep_no_door_open(tmp_path: Path, line: type[Line]) -> None:
    file = tmp_path / "kiosk.toml"
    file.write_text(SETTINGS)
    lock(read_line(file, {"ADSN_KIOSK_NONSENSE": "1", "HOME": "/"}))
    assert line.done == [("/dev/gpiochip0", 17, True), "closed"]


def test_the_environment_wins_as_it_does_for_the_daemon(tmp_path: Path) -> None:
    file = tmp_path / "kiosk.toml"
    file.write_text(SETTINGS)
    environ = {"ADSN_KIOSK_GPIO__LINE": "DOOR", "ADSN_KIOSK_GPIO__CHIP": "/dev/gpiochip3"}
    assert read_line(file, environ) == LineSettings(chip="/dev/gpiochip3", line="DOOR", active_low=True)
    assert read_line(None, {"ADSN_KIOSK_GPIO__LINE": "4"}) == LineSettings(line="4")


def test_the_line_that_was_taken_is_locked_whatever_the_settings_say_since(tmp_path: Path, line: type[Line]) -> None:
    file, environ = tmp_path / "kiosk.toml", {"RUNTIME_DIRECTORY": str(tmp_path)}
    open_door_line(GpioSettings(line=17, active_low=True, pulse_s=2), environ)
    for text in ("[gpio]\nline = 18", "no TOML", ""):
        file.write_text(text)
        assert read_line(file, environ) == LineSettings(line=17, active_low=True)
    assert read_line(tmp_path / "gone.toml", environ) == LineSettings(line=17, active_low=True)
    assert [path.name for path in tmp_path.iterdir() if path != file] == ["line.json"]
    assert line.done == [("/dev/gpiochip0", 17, True)]


@pytest.mark.parametrize("note", [None, b"", b"{", b'{"chip": 5}', b"\xff"])
def test_without_a_good_note_the_settings_say_which_line(tmp_path: Path, note: bytes | None) -> None:
    file = tmp_path / "kiosk.toml"
    file.write_text("[gpio]\nline = 18")
    if note is not None:
        (tmp_path / "line.json").write_bytes(note)
    assert read_line(file, {"RUNTIME_DIRECTORY": str(tmp_path)}) == LineSettings(line=18)


def test_a_note_that_cannot_be_written_is_said_and_the_line_taken(
    tmp_path: Path, line: type[Line], caplog: pytest.LogCaptureFixture
) -> None:
    open_door_line(LineSettings(line=17), {"RUNTIME_DIRECTORY": str(tmp_path / "gone")})
    assert "could not be written" in caplog.text
    assert line.done == [("/dev/gpiochip0", 17, False)]


def test_without_a_line_there_is_nothing_to_lock(tmp_path: Path, line: type[Line]) -> None:
    file = tmp_path / "kiosk.toml"
    file.write_text("site = 'berlin'")
    lock(read_line(file, {}))
    assert line.done == []


@pytest.mark.parametrize("text", ["[gpio]\nactive_low = true", "[gpio", "[gpio]\nline = []"])
def test_a_line_that_is_not_said_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "kiosk.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"kiosk\.toml"):
        read_line(file, {})


def test_a_line_that_cannot_be_driven_is_an_error(line: type[Line], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "fails", OSError(16, "Device or resource busy (line 17 of /dev/gpiochip0)"))
    with pytest.raises(ConfigError, match=r"cannot be locked: Device or resource busy \(line 17 of /dev/gpiochip0\)"):
        lock(LineSettings(line=17))


def test_it_reads_what_the_daemon_reads() -> None:
    """Both settings have the same names, defaults and meaning."""
    gpio = KioskSettings.model_validate({"gpio": {"line": "17"}}).gpio
    assert isinstance(gpio, GpioSettings)
    with pytest.raises(ValueError, match="Extra inputs"):
        KioskSettings.model_validate({"gpio": {"line": 17, "pulses": 1}})
    assert gpio.model_dump(include=set(LineSettings.model_fields)) == LineSettings(line="17").model_dump()


def test_the_command_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    file = tmp_path / "kiosk.toml"
    file.write_text(SETTINGS)
    script = (
        "import pathlib, sys; from service.kiosk import cli, door_line\n"
        "door_line.GpiodLine = lambda *found: sys.exit(f'locks {found}')\n"
        f"try: cli.kiosk(config=pathlib.Path({str(file)!r}), lock_door=True)\n"
        "finally: print(sorted({'cv2', 'fastapi', 'numpy', 'onnxruntime', 'uvicorn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "locks ('/dev/gpiochip0', 17, True)\n")
