"""The kiosk's state machine: its decisions and their timing, and invariants under any sequence of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.core.operating_point import OperatingPoint
from runtime.core.units import MS, SECOND
from runtime.core.values import Box
from runtime.liveness.decision import Verdict
from runtime.liveness.evidence import Evidence, Observation
from service.kiosk.state_machine import AHEAD_NS, KioskRule, KioskStateMachine, SessionOutcome, StateChange, Step

FRAME = 33 * MS
FACE = Box(100, 100, 120, 120)
LIVE, SPOOF, UNCERTAIN = Verdict("live", ()), Verdict("spoof", ("ir_spoof",)), Verdict("uncertain", ("score_in_band",))
RULE = KioskRule()


class Script:
    """Evidence collector that returns the verdicts that the test has queued."""

    def __init__(self) -> None:
        self.verdict: Verdict | None = None
        self.late: Verdict | None = None
        self.resets: list[str] = []
        self.seen: list[Observation] = []

    def add(self, seen: Observation) -> Verdict | None:
        self.seen.append(seen)
        return self.verdict

    def expire(self, now_ns: int) -> Verdict | None:
        return self.late

    def reset(self, reason: str) -> None:
        self.verdict = self.late = None
        self.resets.append(reason)


class Bench:
    """A kiosk with its evidence collector and a clock."""

    def __init__(self, rule: KioskRule = RULE) -> None:
        self.judge = Script()
        ids = count()
        self.kiosk = KioskStateMachine(self.judge, rule, lambda: f"s{next(ids)}")
        self.now = SECOND
        self.number = 0
        self.outcomes: list[SessionOutcome] = []
        self.causes: list[str] = []

    @property
    def state(self) -> str:
        return self.kiosk.state

    def note(self, steps: Sequence[Step]) -> None:
        self.outcomes += [step for step in steps if isinstance(step, SessionOutcome)]
        self.causes += [step.cause for step in steps if isinstance(step, StateChange)]

    def process(
        self, *, face: bool = True, failed: tuple[str, ...] = (), age: int = 10 * MS, after: int = FRAME
    ) -> None:
        self.now += after
        self.number += 1
        seen = Observation(self.number, self.now - age, 0, 0.9, (0.9, 0.9), failed, FACE if face else None)
        self.note(self.kiosk.process(self.now, seen))

    def wait(self, ns: int) -> None:
        self.now += ns
        self.note(self.kiosk.tick(self.now))

    def absent(self, seconds: float = 1.0) -> None:
        for _ in range(int(seconds * 30)):
            self.process(face=False, failed=("no_face",))

    def decide(self, verdict: Verdict) -> None:
        while self.kiosk.state != "deciding":
            self.process()
        self.judge.verdict = verdict
        self.process()


def test_one_person_opens_once_and_may_come_again() -> None:
    bench = Bench()
    bench.process(failed=("face_too_small",))
    assert (bench.state, bench.kiosk.guidance, bench.kiosk.session) == ("face", ("face_too_small",), None)
    bench.process()
    assert (bench.state, bench.kiosk.session) == ("deciding", "s0")
    bench.judge.verdict = LIVE
    bench.process()
    (outcome,) = bench.outcomes
    assert (outcome.session, outcome.decision, outcome.pairs) == ("s0", "live", 2)
    assert outcome.expires_ns == bench.now - 10 * MS + 2 * SECOND
    for _ in range(200):
        bench.process()
    assert bench.state == "cool_down"
    assert len(bench.outcomes) == 1
    bench.absent()
    assert bench.state == "idle"
    bench.decide(LIVE)
    assert [outcome.session for outcome in bench.outcomes] == ["s0", "s1"]


def test_a_face_that_never_leaves_holds_up_the_kiosk_for_a_while_only() -> None:
    bench = Bench()
    bench.decide(LIVE)
    for _ in range(30 * 17):
        bench.process()
    assert bench.state == "cool_down"
    for _ in range(30 * 5):
        bench.process()
    assert bench.state == "deciding"
    assert len(bench.outcomes) == 1


def test_after_a_spoof_one_may_try_again_on_the_spot_until_it_locks() -> None:
    bench = Bench()
    for number in range(5):
        bench.decide(SPOOF)
        assert bench.outcomes[-1].attempts == number + 1
    bench.wait(RULE.hold_ns)
    assert bench.state == "locked"
    assert "too_many_attempts" in bench.causes
    bench.judge.verdict = LIVE
    until = bench.now + RULE.lock_ns - FRAME
    while bench.now < until - FRAME:
        bench.process()
    assert bench.state == "locked"
    assert len(bench.outcomes) == 5
    bench.wait(2 * FRAME)
    assert bench.state == "idle"
    bench.decide(LIVE)
    assert bench.outcomes[-1].decision == "live"


def test_old_attacks_are_forgotten_and_undecided_sessions_count_where_asked() -> None:
    bench = Bench()
    for _ in range(8):
        bench.decide(SPOOF)
        bench.wait(RULE.window_ns // 4)
        assert bench.state in ("cool_down", "idle")
    strict = Bench(KioskRule(attempts=2, count_uncertain=True))
    strict.decide(UNCERTAIN)
    strict.decide(UNCERTAIN)
    strict.wait(RULE.hold_ns)
    assert strict.state == "locked"
    lenient = Bench(KioskRule(attempts=2))
    for _ in range(4):
        lenient.decide(UNCERTAIN)
    assert "locked" not in lenient.state


def test_a_session_ends_without_a_decision_when_the_person_leaves_or_the_rig_fails() -> None:
    bench = Bench()
    bench.process()
    bench.absent()
    assert (bench.state, bench.kiosk.session, bench.outcomes) == ("idle", None, [])
    assert bench.judge.resets == ["session", "left"]
    bench.process()
    bench.note(bench.kiosk.interrupt(bench.now, "camera_lost"))
    assert (bench.state, bench.causes[-1], bench.outcomes) == ("idle", "camera_lost", [])
    bench.process()
    bench.wait(RULE.absent_ns + SECOND)
    assert bench.causes[-1] == "left"


def test_a_camera_that_is_gone_shows_nobody_leaving() -> None:
    bench = Bench()
    bench.decide(LIVE)
    bench.absent(0.5)
    bench.note(bench.kiosk.interrupt(bench.now, "camera_lost"))
    bench.wait(6 * SECOND)
    bench.absent(0.5)
    assert bench.state == "cool_down"
    bench.absent(0.5)
    assert bench.state == "idle"


@pytest.mark.parametrize("age", [RULE.max_age_ns + MS, -AHEAD_NS - MS, 10 * SECOND])
def test_stale_and_future_pictures_are_not_looked_at(age: int) -> None:
    bench = Bench()
    bench.process(age=age)
    assert bench.state == "idle"
    bench.process()
    bench.judge.verdict = LIVE
    bench.process(age=age)
    assert bench.outcomes == []
    assert len(bench.judge.seen) == 1


def test_time_alone_never_gives_live() -> None:
    bench = Bench()
    bench.process()
    bench.judge.late = LIVE
    bench.wait(FRAME)
    assert [outcome.decision for outcome in bench.outcomes] == ["uncertain"]


def test_impossible_rules_are_refused() -> None:
    for field, value in (("expiry_ns", 3 * SECOND), ("expiry_ns", 0), ("hold_ns", 0), ("attempts", -1)):
        with pytest.raises(ValueError, match="invalid kiosk rule"):
            replace(RULE, **{field: value})  # type: ignore[arg-type]  # the field is a number
    with pytest.raises(ValueError, match="expire before they are made"):
        KioskRule(max_age_ns=2 * SECOND)


ALLOWED = {
    "idle": {"face"},
    "face": {"deciding", "idle"},
    "deciding": {"decided", "idle"},
    "decided": {"cool_down", "locked"},
    "cool_down": {"idle"},
    "locked": {"idle"},
}
happenings = st.lists(
    st.tuples(
        st.sampled_from(["pair", "pair", "pair", "tick", "interrupt"]),
        st.sampled_from([0, FRAME, FRAME, SECOND // 2, SECOND, 40 * SECOND, -SECOND]),
        st.booleans(),
        st.sampled_from([(), (), ("rgb_blurry",), ("no_face",)]),
        st.sampled_from([None, LIVE, SPOOF, UNCERTAIN]),
        st.sampled_from([0, 5 * MS, SECOND, -SECOND]),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(happenings, st.integers(0, 3), st.booleans())
def test_whatever_happens(
    events: list[tuple[str, int, bool, tuple[str, ...], Verdict | None, int]], attempts: int, count_uncertain: bool
) -> None:
    rule = KioskRule(attempts=attempts, count_uncertain=count_uncertain)
    judge, ids = Script(), count()
    kiosk = KioskStateMachine(judge, rule, lambda: f"s{next(ids)}")
    now, number, decided = 100 * SECOND, 0, set()
    latest = 0
    for kind, dt, face, failed, verdict, age in events:
        now += dt
        # The state machine's time never goes back, whatever times it gets.
        latest = max(latest, now)
        before, judge.verdict = kiosk.state, verdict
        given_before = len(judge.seen)
        if kind == "pair":
            number += 1
            seen = Observation(number, now - age, 0, 0.5, (), failed, FACE if face else None)
            steps = kiosk.process(now, seen)
        elif kind == "tick":
            steps = kiosk.tick(now)
        else:
            steps = kiosk.interrupt(now, "camera_lost")
        state = before
        for step in steps:
            if isinstance(step, StateChange):
                assert step.before == state
                assert step.after in ALLOWED[state]
                state = step.after
                continue
            assert state == "deciding"
            assert step.session not in decided
            decided.add(step.session)
            assert step.expires_ns <= step.t_ns + 2 * SECOND
            if step.decision == "live":
                # The decision must be based on this fresh pair and on the verdict of the collector.
                assert kind == "pair"
                assert verdict == LIVE
                assert -AHEAD_NS <= latest - seen.t_ns <= rule.max_age_ns
                assert len(judge.seen) == given_before + 1
                assert step.expires_ns > step.t_ns
        assert state == kiosk.state


POINT = OperatingPoint("test", 0.6, 0.4, "none", "none")


@pytest.mark.parametrize(
    ("score", "failed", "decision"),
    [(0.95, (), "live"), (0.05, (), "spoof"), (0.95, ("rgb_blurry",), "uncertain")],
)
def test_with_real_evidence(score: float, failed: tuple[str, ...], decision: str) -> None:
    kiosk = KioskStateMachine(Evidence(POINT, ("rgb", "ir")), RULE, lambda: "s")
    outcomes: list[SessionOutcome] = []
    for number in range(200):
        now = SECOND + number * FRAME
        seen = Observation(number, now - 5 * MS, 0, score, (score, score), failed, FACE)
        outcomes += [step for step in kiosk.process(now, seen) if isinstance(step, SessionOutcome)]
        if outcomes:
            break
    assert [outcome.decision for outcome in outcomes] == [decision]
