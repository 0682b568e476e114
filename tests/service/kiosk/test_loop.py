"""The loop and its monitor on a scripted rig: processing of pairs, and every fault that can occur."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from runtime.capture.status import CameraStatus
from runtime.core.errors import InferenceFailed
from runtime.core.reasons import operator_advice
from runtime.core.units import SECOND
from runtime.pairing.feed import FeedStatus
from service.monitoring.rig_conditions import rig_conditions
from tests.support.service.scripted_kiosk import ScriptedKiosk, a_pair
from tests.support.waiting import until


def test_somebody_comes_is_decided_on_once_leaves_and_comes_again() -> None:
    with ScriptedKiosk() as rig:
        until(lambda: rig.seen.decisions == ["live"])
        event = next(event for event in rig.seen.events if event.kind == "decision")
        assert (event.id, event.data["site"], event.data["door"]) == ("s0", "home", "front")
        assert event.expires_ns is not None
        assert event.data["score"] == 0.95
        until(lambda: rig.kiosk.state == "cool_down")
        rig.go_on()
        assert rig.seen.decisions == ["live"]
        rig.assessor.score = None
        until(lambda: rig.kiosk.state == "idle")
        rig.assessor.score = 0.02
        until(lambda: rig.seen.decisions == ["live", "spoof"])
        assert rig.seen.states[:5] == ["face", "deciding", "decided", "cool_down", "idle"]
        assert rig.assessor.resets >= 1


def test_ready_and_the_watchdog_come_from_judged_pairs_only() -> None:
    with ScriptedKiosk() as rig:
        rig.playing.clear()
        rig.go_on()
        rig.notifier.lines.clear()
        before = rig.loop.counters.pairs
        rig.go_on()
        assert "WATCHDOG=1" not in rig.notifier.lines

        def fed() -> bool:
            # After a silence, the first pairs still see the rig's fault and do not reset the watchdog.
            rig.feed.put(a_pair())
            return "WATCHDOG=1" in rig.notifier.lines

        until(fed)
        assert rig.notifier.lines.count("WATCHDOG=1") <= rig.loop.counters.pairs - before


def test_the_first_pair_proves_the_network_even_without_a_face() -> None:
    rig = ScriptedKiosk()
    rig.assessor.score = None
    assert "starting" in rig.conditions()
    rig.loop.process(rig.feed.put(a_pair()))
    rig.loop.process(rig.feed.put(a_pair()))
    assert len(rig.assessor.proved) == 1
    assert rig.notifier.lines == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
    assert rig.health.ready


def test_a_network_that_cannot_be_run_is_not_ready() -> None:
    rig = ScriptedKiosk()
    rig.assessor.unproved = InferenceFailed("the engine gave no score.")
    rig.assessor.score = None
    rig.loop.process(rig.feed.put(a_pair()))
    assert rig.notifier.lines == []
    assert rig.conditions() == {"starting", "engine_failing"}


@pytest.mark.parametrize(
    ("error", "condition", "cause"),
    [
        (InferenceFailed("the engine gave no score."), "engine_failing", "inference_failed"),
        (RuntimeError("a mistake of ours"), "judging_failing", "internal_error"),
    ],
)
def test_pairs_that_cannot_be_judged_end_the_session_and_are_seen(error: Exception, condition: str, cause: str) -> None:
    with ScriptedKiosk() as rig:
        rig.assessor.score = 0.45
        until(lambda: rig.kiosk.state == "deciding")
        rig.assessor.error = error
        began = time.monotonic()
        until(lambda: condition in rig.conditions())
        assert not rig.health.ready
        assert time.monotonic() - began < 15
        until(lambda: any(event.data.get("cause") == cause for event in rig.seen.events))
        assert "live" not in rig.seen.decisions
        assert all("mistake" not in c.detail for c in rig.health.conditions)
        rig.assessor.error, rig.assessor.score = None, 0.95
        until(lambda: rig.health.ready)
        until(lambda: "live" in rig.seen.decisions)


def test_an_engine_that_hangs_is_seen_and_its_late_answer_is_worth_nothing() -> None:
    with ScriptedKiosk() as rig:
        until(lambda: rig.health.ready)
        until(lambda: rig.kiosk.state == "cool_down")
        rig.assessor.score = None
        until(lambda: rig.kiosk.state == "idle")
        decided = len(rig.seen.decisions)
        rig.assessor.gate.clear()
        rig.assessor.score = 0.95
        until(lambda: "judging_stuck" in rig.conditions())
        rig.notifier.lines.clear()
        until(lambda: any(line.startswith("STATUS=") for line in rig.notifier.lines))
        assert "WATCHDOG=1" not in rig.notifier.lines
        rig.playing.clear()
        rig.assessor.gate.set()
        until(lambda: "judging_stuck" not in rig.conditions())
        assert len(rig.seen.decisions) == decided


def test_pairs_that_newer_ones_replaced_are_counted() -> None:
    rig = ScriptedKiosk()
    rig.assessor.gate.clear()
    with rig:
        until(lambda: rig.feed.status().pairs >= 5)
        rig.assessor.gate.set()
        until(lambda: rig.loop.counters.missed >= 3)


def camera(modality: str = "ir", state: str = "running", **parts: object) -> CameraStatus:
    status = CameraStatus("ir", "running", None, 0, 30.0, 10, {}, 0, 100 * SECOND)
    return replace(status, modality=modality, state=state, **parts)  # type: ignore[arg-type]


def feed(*cameras: CameraStatus, **parts: object) -> FeedStatus:
    status = FeedStatus(cameras, 10, 30.0, 100 * SECOND, 1.0)
    return replace(status, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (feed(camera("rgb"), camera("ir")), {}),
        (feed(camera("ir", "lost", last_error="unplugged")), {("camera_lost", "ir"): "unplugged"}),
        (feed(camera("ir", "opening", last_error="no such device")), {("camera_lost", "ir"): "no such device"}),
        (feed(camera("ir", "opening", frames=0)), {("camera_opening", "ir"): "the ir camera is opening."}),
        (feed(camera("rgb", "stalled")), {("camera_stalled", "rgb"): "the rgb camera is stalled."}),
        (feed(camera("rgb", last_frame_ns=98 * SECOND)), {("camera_stalled", "rgb"): "the rgb camera is running."}),
        (feed(camera(), strobe="strobe_lost"), {("strobe_lost", ""): operator_advice("strobe_lost")}),
        (feed(camera(), strobe="ir_unlit", advice="is it covered?"), {("ir_unlit", ""): "is it covered?"}),
        (feed(camera(), last_pair_ns=98 * SECOND, advice="skew"), {("no_pairs", ""): "skew"}),
        (feed(camera(), last_pair_ns=None), {("no_pairs", ""): "the cameras run, but no two frames form a pair."}),
    ],
)
def test_what_is_wrong_with_a_rig(status: FeedStatus, expected: dict[tuple[str, str], str]) -> None:
    assert rig_conditions(status, 100 * SECOND, 0) == expected
