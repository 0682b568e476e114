"""Simulated scenarios as functions of time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.capture.simulated.scenario import (
    FaultScript,
    FrameSchedule,
    StrobePattern,
    VisitSchedule,
    hashed_uniform,
    ping_pong,
)
from runtime.capture.uri import parse_uri
from runtime.core.errors import ConfigError
from runtime.core.units import SECOND

KINDS = ("bona_fide", "replay_screen")


def test_a_script_is_spans() -> None:
    script = FaultScript.parse(parse_uri("synthetic:?script=unplug@5s,replug@8s,stall@12s:3s,unplug@20:1,unplug@30"))
    plugged = [not script.active("unplug", round(t * SECOND)) for t in (4.9, 5, 7.9, 8, 20.5, 21, 30, 1000)]
    assert plugged == [True, False, False, True, False, True, False, False]
    assert [script.active("stall", t * SECOND) for t in (11, 12, 14, 15)] == [False, True, True, False]
    assert script.begin("stall", 13 * SECOND) == 12 * SECOND
    assert script.begin("stall", 16 * SECOND) == 16 * SECOND
    assert script.has("stall")
    assert not script.has("cover")


@pytest.mark.parametrize("script", ["explode@5s", "unplug", "unplug@x", "stall@1s:", "stall@-1s"])
def test_what_is_no_script_is_refused(script: str) -> None:
    with pytest.raises(ConfigError, match="Events: unplug, replug"):
        FaultScript.parse(parse_uri(f"synthetic:?script={script}"))


@given(
    fps=st.floats(1, 240),
    phase=st.floats(0, 40),
    jitter=st.floats(0, 1),
    ppm=st.floats(-500, 500),
    n=st.integers(0, 10**6),
)
def test_frames_come_in_order_at_their_rate(fps: float, phase: float, jitter: float, ppm: float, n: int) -> None:
    jitter *= 1e3 / fps / 4
    uri = parse_uri(f"synthetic:?fps={fps!r}&phase_ms={phase!r}&jitter_ms={jitter!r}&drift_ppm={ppm!r}")
    clockwork = FrameSchedule.parse(uri, 7)
    assert clockwork.capture_ns(n) < clockwork.capture_ns(n + 1)
    assert clockwork.capture_ns(n) < clockwork.arrival_ns(n)
    ideal = clockwork.phase_ns + n * SECOND / fps * (1 + ppm * 1e-6) + clockwork.exposure_ns / 2
    assert abs(clockwork.capture_ns(n) - ideal) <= clockwork.jitter_ns + 2 + n * 1e-6
    assert clockwork.capture_ns(clockwork.first_after(clockwork.capture_ns(n))) > clockwork.capture_ns(n)


def test_drops_are_as_many_as_asked_for_and_the_same_each_time() -> None:
    clockwork = FrameSchedule.parse(parse_uri("synthetic:?drop=0.2"), 7)
    dropped = [clockwork.dropped(n) for n in range(5000)]
    assert 0.18 < sum(dropped) / 5000 < 0.22
    assert dropped == [clockwork.dropped(n) for n in range(5000)]
    values = [hashed_uniform(1, n) for n in range(5000)]
    assert 0.48 < sum(values) / 5000 < 0.52
    assert min(values) >= 0
    assert max(values) < 1


def test_a_strobe_is_its_pattern() -> None:
    expected = {"steady": "######", "1:1": "#-#-#-", "2:1": "##-##-", "1:2": "#--#--"}
    patterns = {name: StrobePattern.parse(parse_uri(f"synthetic:?strobe={name}")) for name in expected}
    found = {name: "".join("-#"[strobe.is_lit(n)] for n in range(6)) for name, strobe in patterns.items()}
    assert found == expected


def test_visitors_come_and_go() -> None:
    uri = parse_uri("synthetic:?presence=2s:3s&species=bona_fide,replay_screen&subjects=3")
    visits = VisitSchedule.parse(uri, KINDS, 100)
    assert visits.distinct == 6
    assert [visits.at(t * SECOND) for t in (0, 1, 2, 4, 5, 7)] == [
        (0, False), (0, False), (0, True), (0, True), (1, False), (1, True),
    ]  # fmt: skip
    assert [visits.visitor_of(n) for n in (0, 1, 2, 3)] == [
        ("bona_fide", 100), ("replay_screen", 101), ("bona_fide", 102), ("replay_screen", 100),
    ]  # fmt: skip
    assert VisitSchedule.parse(parse_uri("synthetic:"), KINDS, 100).at(10**15) == (0, True)


@pytest.mark.parametrize("options", ["species=ghost", "subjects=2", "presence=3", "presence=1s:x", "presence=1s:0s"])
def test_what_are_no_visits_is_refused(options: str) -> None:
    with pytest.raises(ConfigError):
        VisitSchedule.parse(parse_uri(f"synthetic:?{options}"), KINDS, 100)


def test_a_cycle_is_walked_there_and_back() -> None:
    assert [ping_pong(n, 4) for n in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert ping_pong(5, 1) == 0
