"""examples/kiosk-relay: the unchanged file, with simulated cameras and a fake libgpiod."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.support.kiosk_run import KioskProcess
from service.kiosk.config import read_kiosk_settings
from tests.support.docs.pages import ROOT

CONFIG = ROOT / "examples/kiosk-relay/kiosk.toml"
GPIOD = """
import json, os, time
from types import SimpleNamespace

line = SimpleNamespace(
    Value=SimpleNamespace(ACTIVE="active", INACTIVE="inactive"), Direction=SimpleNamespace(OUTPUT="output")
)


def LineSettings(**settings):
    return settings


def note(*what):
    with open(os.environ["PRETENDED_LINE"], "a") as file:
        file.write(json.dumps([time.monotonic(), *what]) + "\\n")


class Request:
    def set_value(self, line, value):
        note(line, value)

    def release(self):
        note("released")


def request_lines(chip, consumer, config):
    note(chip, consumer, list(config.items()))
    return Request()
"""


def test_the_file_is_what_its_page_says() -> None:
    settings = read_kiosk_settings(CONFIG, environ={})
    assert settings.gpio is not None
    assert (settings.gpio.chip, settings.gpio.line, settings.gpio.pulse_s) == ("/dev/gpiochip0", 17, 3)
    assert settings.mqtt is None
    assert settings.webhook is None


def test_one_person_opens_the_door_once_for_three_seconds(tmp_path: Path) -> None:
    (tmp_path / "pretended").mkdir()
    (tmp_path / "pretended" / "gpiod.py").write_text(GPIOD)
    line = tmp_path / "line"
    environment = {
        "PYTHONPATH": os.pathsep.join((str(tmp_path / "pretended"), str(ROOT))),
        "PRETENDED_LINE": str(line),
        # Use a low frame rate and long timeouts, so that a busy machine reaches a decision too.
        "ADSN_KIOSK_RIG__RGB": "synthetic:?seed=107&fps=5",
        "ADSN_KIOSK_RIG__IR": "synthetic:?seed=107&fps=5",
        "ADSN_KIOSK_DECISION__MAX_AGE_S": "1.9",
        "ADSN_KIOSK_DECISION__DEADLINE_S": "30",
        "ADSN_KIOSK_DECISION__MIN_PAIRS": "2",
        "ADSN_KIOSK_DECISION__ABSENT_S": "10",
        "ADSN_KIOSK_LOG__PATH": str(tmp_path / "events.jsonl"),
        "ADSN_KIOSK_HTTP__PORT": "0",
        "XDG_RUNTIME_DIR": str(tmp_path),
    }

    def happened() -> list[list[Any]]:
        return [json.loads(text) for text in line.read_text().splitlines()] if line.exists() else []

    with KioskProcess(tmp_path, CONFIG.read_text(encoding="utf-8"), **environment) as kiosk:
        kiosk.wait_for(lambda: [17, "active"] in [entry[1:] for entry in happened()])
        kiosk.wait_for(lambda: happened()[-1][1:] == [17, "inactive"])
        assert kiosk.stop()[0] == 0
        assert [event["decision"] for event in kiosk.events("decision")] == ["live"]
    steps = happened()
    assert steps[0][1:3] == ["/dev/gpiochip0", "adsn-kiosk"]
    assert steps[0][3] == [[17, {"direction": "output", "output_value": "inactive", "active_low": False}]]
    opened = next(step[0] for step in steps if step[1:] == [17, "active"])
    locked = next(step[0] for step in steps if step[1:] == [17, "inactive"] and step[0] > opened)
    assert 2.9 < locked - opened < 4.5
    assert steps[-1][1:] == ["released"]
    assert steps[-2][1:] == [17, "inactive"]
