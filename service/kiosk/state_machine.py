"""State machine of the kiosk: sessions, attempts, cool-down and lock-out. It has no clock and does no I/O.

::

    idle ──face──▶ face ──near enough──▶ deciding ──verdict──▶ decided ──▶ cool_down ──▶ idle
      ▲             │ left, lost            │ left, lost          └─ too many attacks ─▶ locked ─▶ idle
      └─────────────┴───────────────────────┘

A session begins when a face is near enough. It ends with exactly one decision, or without a decision if the person
leaves or the rig fails. If the evidence is insufficient at the deadline (for example, because a screen is black in IR),
the decision is ``uncertain``. After ``live`` no new session starts until the face has left, so that a person opens the
door only once. A face that never leaves, such as one on a poster, blocks the kiosk only for ``again_ns``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from runtime.core.units import SECOND
from runtime.liveness.decision import Decision, Verdict
from runtime.liveness.evidence import Observation

KioskState = Literal["idle", "face", "deciding", "decided", "cool_down", "locked"]
EXPIRY_LIMIT_NS = 2 * SECOND
"""Maximum lifetime of a decision, counted from the last frame that it used."""

AHEAD_NS = SECOND // 20
"""Tolerance for errors of mapped clocks and measured offsets: a frame may appear to lie this far in the future."""

DISTANT = frozenset({"face_too_small", "face_cropped"})
"""Codes of the gates that passers-by fail. A face that fails them does not start a session."""


class EvidenceCollector(Protocol):
    """Accumulator of evidence, implemented by `runtime.liveness.evidence.Evidence`."""

    def add(self, observation: Observation) -> Verdict | None: ...
    def expire(self, now_ns: int) -> Verdict | None: ...
    def reset(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class KioskRule:
    """Rules of the state machine, with times in nanoseconds.

    ``max_age_ns``: maximum age of a pair; older pairs are ignored. ``absent_ns``: time without a face after which the
    person counts as having left. ``hold_ns``: time for which a decision is shown. ``cool_down_ns``: pause after that.
    ``again_ns``: longest further pause after ``live`` while the face stays. ``attempts``: the kiosk locks
    for ``lock_ns`` after this many attacks within ``window_ns``; 0 disables the lock-out. ``count_uncertain``: whether
    ``uncertain`` sessions count as attacks. ``expiry_ns``: time from the last frame of a decision to its expiry.
    """

    max_age_ns: int = SECOND // 2
    absent_ns: int = SECOND * 7 // 10
    hold_ns: int = 2 * SECOND
    cool_down_ns: int = SECOND
    again_ns: int = 15 * SECOND
    attempts: int = 5
    window_ns: int = 180 * SECOND
    lock_ns: int = 60 * SECOND
    count_uncertain: bool = False
    expiry_ns: int = EXPIRY_LIMIT_NS

    def __post_init__(self) -> None:
        times = (
            self.max_age_ns,
            self.absent_ns,
            self.hold_ns,
            self.cool_down_ns,
            self.again_ns,
            self.window_ns,
            self.lock_ns,
        )
        if min(times) <= 0 or self.attempts < 0 or not 0 < self.expiry_ns <= EXPIRY_LIMIT_NS:
            raise ValueError(f"invalid kiosk rule {self}: times must be positive and the expiry at most two seconds.")
        if self.max_age_ns >= self.expiry_ns:
            raise ValueError("max_age must be shorter than the expiry, or decisions would expire before they are made.")


@dataclass(frozen=True, slots=True)
class StateChange:
    """A transition between two states. ``cause``: a stable code."""

    t_ns: int
    before: KioskState
    after: KioskState
    cause: str
    session: str | None


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """Decision of a session.

    ``expires_ns``: time of expiry. ``pairs``: number of pairs used.
    ``attempts``: attacks counted in the window, including this one.
    """

    session: str
    decision: Decision
    reasons: tuple[str, ...]
    t_ns: int
    started_ns: int
    expires_ns: int
    pairs: int
    score: float | None
    attempts: int


Step = StateChange | SessionOutcome


class KioskStateMachine:
    """The state machine. Times are CLOCK_MONOTONIC in nanoseconds and never go back. Not thread-safe.

    ``new_session``: returns an identifier for each session.
    """

    def __init__(self, evidence: EvidenceCollector, rule: KioskRule, new_session: Callable[[], str]) -> None:
        self.rule = rule
        self.state: KioskState = "idle"
        self.session: str | None = None
        self.guidance: tuple[str, ...] = ()
        self._evidence = evidence
        self._new_session = new_session
        self._attacks: deque[int] = deque(maxlen=max(rule.attempts, 1))
        self._now = 0
        self._until = 0
        self._face_ns: int | None = None
        self._absent_since: int | None = None
        self._wait_for_leaving = False
        self._started = self._pair = self._pairs = 0
        self._score: float | None = None
        self._steps: list[Step] = []

    def process(self, now_ns: int, observation: Observation) -> Sequence[Step]:
        """Process the observation of one pair, and return the resulting steps in order."""
        self._advance(now_ns)
        if not -AHEAD_NS <= self._now - observation.t_ns <= self.rule.max_age_ns:
            # Neither an old frame nor one from the future says anything about the present.
            return self._flush()
        there = observation.box is not None and "no_face" not in observation.failed
        self._note_presence(observation.t_ns, there)
        if self.state not in ("idle", "face", "deciding"):
            return self._flush()
        self.guidance = observation.failed
        if there and self.state == "idle":
            self._go("face", "face_seen")
        if self.state == "face" and not DISTANT.intersection(observation.failed):
            self._begin(observation)
        if self.state == "deciding":
            self._pairs += 1
            self._pair = max(self._pair, min(observation.t_ns, self._now))
            self._score = observation.score if not observation.failed else self._score
            self._decide(self._evidence.add(observation))
        return self._flush()

    def tick(self, now_ns: int) -> Sequence[Step]:
        """Advance the time without a pair, and return the resulting steps in order."""
        self._advance(now_ns)
        return self._flush()

    def interrupt(self, now_ns: int, reason: str) -> Sequence[Step]:
        """End the current session without a decision because the rig or the engine has failed, or because the kiosk is
        stopping. The person does not count as having left."""
        self._advance(now_ns)
        self._absent_since = None
        self._drop(reason)
        return self._flush()

    def _advance(self, now_ns: int) -> None:
        self._now = max(self._now, now_ns)
        if self.state == "deciding":
            self._decide_late(self._evidence.expire(self._now))
        if (
            self.state in ("face", "deciding")
            and self._face_ns is not None
            and self._now - self._face_ns > self.rule.absent_ns
        ):
            self._drop("left")
        if self.state == "decided" and self._now >= self._until:
            locked = 0 < self.rule.attempts <= len(self._attacks)
            if locked:
                self._attacks.clear()
            self._until += self.rule.lock_ns if locked else self.rule.cool_down_ns
            self._go("locked" if locked else "cool_down", "too_many_attempts" if locked else "shown")
        gone = not self._wait_for_leaving or self._now >= self._until + self.rule.again_ns
        if self.state in ("cool_down", "locked") and self._now >= self._until and gone:
            self._end("rested")

    def _note_presence(self, t_ns: int, there: bool) -> None:
        if there:
            self._face_ns, self._absent_since = t_ns, None
            return
        # For the wait after ``live``, only frames without a face show that the person has left; missing frames do not.
        # A session, in contrast, also ends if frames are missing for as long (see `_advance`).
        self._absent_since = t_ns if self._absent_since is None else self._absent_since
        if t_ns - self._absent_since >= self.rule.absent_ns:
            self._wait_for_leaving = False

    def _begin(self, observation: Observation) -> None:
        self._evidence.reset("session")
        self.session = self._new_session()
        self._started, self._pair, self._pairs, self._score = (
            observation.t_ns,
            min(observation.t_ns, self._now),
            0,
            None,
        )
        self._go("deciding", "near")

    def _decide_late(self, verdict: Verdict | None) -> None:
        """Apply a verdict that was reached only because time passed. It can never be ``live``."""
        if verdict is not None:
            self._decide(Verdict("uncertain", verdict.reasons) if verdict.decision == "live" else verdict)

    def _decide(self, verdict: Verdict | None) -> None:
        if verdict is None or self.session is None:
            return
        attack = verdict.decision == "spoof" or (self.rule.count_uncertain and verdict.decision == "uncertain")
        while self._attacks and self._now - self._attacks[0] > self.rule.window_ns:
            self._attacks.popleft()
        if attack:
            self._attacks.append(self._now)
        self._steps.append(
            SessionOutcome(
                session=self.session,
                decision=verdict.decision,
                reasons=verdict.reasons,
                t_ns=self._now,
                started_ns=self._started,
                expires_ns=self._pair + self.rule.expiry_ns,
                pairs=self._pairs,
                score=self._score,
                attempts=len(self._attacks),
            )
        )
        self._until = self._now + self.rule.hold_ns
        self._wait_for_leaving = verdict.decision == "live"
        self._absent_since = None
        self._go("decided", verdict.decision)

    def _drop(self, cause: str) -> None:
        if self.state in ("face", "deciding"):
            self._end(cause)

    def _end(self, cause: str) -> None:
        self._evidence.reset(cause)
        self._go("idle", cause)
        self.session = None
        self.guidance = ()
        self._face_ns = None

    def _go(self, state: KioskState, cause: str) -> None:
        self._steps.append(StateChange(self._now, self.state, state, cause, self.session))
        self.state = state

    def _flush(self) -> Sequence[Step]:
        steps, self._steps = self._steps, []
        return steps
