"""HTTP, console, kiosk and ``adsn-rig view --decide`` apply the same rule about the illuminator to a pair."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from rich.console import Console

from runtime.cli import options
from runtime.cli.options import DecisionPrinter
from runtime.cli.rig.view import show
from runtime.config.rig import RigSettings
from runtime.core.values import Image, Pair
from runtime.liveness.evidence import Evidence
from runtime.liveness.open import LoadedModel
from runtime.pairing.feed import CapturedPair
from service.config.settings import Settings
from service.kiosk.scoring import RigAssessor
from service.monitoring.rig_watch import pair_event
from tests.support.fakes import FakeFeed, manifest
from tests.support.scenes import BOX, ir_image, pair, pipeline
from tests.support.service.running_service import running

PERIOD_NS = 66_000_000
LIT = ir_image()


def unlit(follows: bool) -> Image:
    """Return the IR image with the illuminator off. ``follows``: whether it is of a face, which gains more light than
    the wall behind it, or of a screen, which gains less."""
    face, around = (0.1, 0.9) if follows else (0.7, 0.2)
    dark = LIT * around
    x, y, w, h = (int(v) for v in (BOX.x, BOX.y, BOX.w, BOX.h))
    dark[y : y + h, x : x + w] = LIT[y : y + h, x : x + w] * face
    return np.asarray(dark, np.uint8)


def captured(follows: bool, at_ns: int) -> Pair:
    changes: dict[str, Any] = {"ir_dark": unlit(follows), "ir_dark_time_ns": at_ns, "clock": "synthetic"}
    return pair(at_ns, **changes, source="camera", generation=1)


def loaded() -> LoadedModel:
    """Return a model that calls every pair live."""
    return LoadedModel(pipeline(), manifest(), "0" * 64)


def by_http(follows: bool) -> tuple[str, list[str]]:
    feed = FakeFeed()
    with running(Settings(), loaded, feed=feed) as service:
        answers: list[httpx.Response] = []
        body = {"source": "camera", "timeout_ms": 15_000}
        asking = threading.Thread(target=lambda: answers.append(service.client.post("/liveness", json=body)))
        asking.start()
        while asking.is_alive():
            feed.put(captured(follows, time.monotonic_ns()))
            asking.join(0.1)
    found = answers[0].json()
    return found["decision"], found["reasons"]


def by_console(follows: bool) -> tuple[str, list[str]]:
    now = time.monotonic_ns()
    made = CapturedPair(0, captured(follows, now), now)
    seen = RigAssessor(loaded(), RigSettings(), FakeFeed()).assess(made, now)
    assert seen.assessment is not None
    event = pair_event(made, seen.assessment, seen.assessment.reasons, 0.5, expose_score=True)
    assert event["strobe"] == ("follows" if follows else "mismatch")
    return event["decision"], event["reasons"]


def by_kiosk(follows: bool) -> tuple[str, list[str]]:
    sight, evidence = RigAssessor(loaded(), RigSettings(), FakeFeed()), None
    used = loaded().pipeline
    evidence = Evidence(used.point, used.modalities)
    start = time.monotonic_ns()
    for number in range(100):
        at = start + number * PERIOD_NS
        verdict = evidence.add(sight.assess(CapturedPair(number, captured(follows, at), at), at).observation)
        if verdict is not None:
            return verdict.decision, list(verdict.reasons)
    raise AssertionError("the attempt has no end")


def by_rig_view(follows: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    monkeypatch.setattr(options, "open_pipeline", lambda folder: loaded())
    feed, out = FakeFeed(), io.StringIO()
    feed.put(captured(follows, time.monotonic_ns()))
    show(feed, Console(file=out, width=500), threading.Event(), 0.5, DecisionPrinter())  # type: ignore[arg-type]  # a rig's feed
    words = out.getvalue().splitlines()[-1].split("  ")[-1].split()
    return words[0], words[2:]


@pytest.mark.parametrize("follows", [True, False], ids=["follows", "mismatch"])
def test_all_who_decide_agree_on_the_illuminator(follows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expected: tuple[str, list[str]] = ("live", []) if follows else ("uncertain", ["strobe_lost"])
    found = {
        "http": by_http(follows),
        "console": by_console(follows),
        "kiosk": by_kiosk(follows),
        "adsn-rig view": by_rig_view(follows, monkeypatch),
    }
    assert found == dict.fromkeys(found, expected)


def test_the_rule_holds_for_a_spoof_too() -> None:
    """A mismatch prevents ``live``, but not ``spoof``."""
    made = captured(False, 0)
    low = pipeline()
    low.engine.score = 0.01  # type: ignore[attr-defined]  # the scripted engine's
    found = low.assess(replace(made, rgb_time_ns=0))
    assert (found.decision, found.reasons) == ("spoof", ("strobe_lost", "fused_spoof"))
