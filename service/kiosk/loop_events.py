"""Events from the loop of the kiosk: decisions, state changes, guidance, and assessed pairs for the page."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.liveness.stream_pipeline import StreamAssessment
from runtime.pairing.feed import CapturedPair
from service.kiosk.state_machine import KioskStateMachine, SessionOutcome, StateChange
from service.monitoring.rig_watch import pair_event
from service.outputs.base import Event, boottime_ns, utc_now


@dataclass(frozen=True, slots=True)
class LoopEvents:
    """Factory for the events of one door.

    ``place``: members that identify the door. ``expose_score``: whether events include scores. ``threshold``: threshold
    of the model. ``answer``: returns a decision in the form that is logged and signed, or None.
    """

    place: Mapping[str, str] = field(default_factory=dict)
    expose_score: bool = True
    threshold: float = 0.0
    answer: Callable[[SessionOutcome], Mapping[str, Any] | None] = lambda outcome: None

    def decision(self, outcome: SessionOutcome, now_ns: int) -> Event:
        """Return the event for a decision. ``now_ns``: current time of the clock that ``outcome`` uses."""
        data: dict[str, Any] = {
            **self.place,
            "pairs": outcome.pairs,
            "attempts": outcome.attempts,
            "duration_ms": (outcome.t_ns - outcome.started_ns) // 1_000_000,
        }
        if self.expose_score and outcome.score is not None:
            data["score"] = round(outcome.score, 4)
        return Event(
            "decision",
            outcome.session,
            outcome.t_ns,
            utc_now(),
            data,
            outcome.decision,
            outcome.reasons,
            # The clock of frames (CLOCK_MONOTONIC) stops during suspend; the clock of the outputs (CLOCK_BOOTTIME) does
            # not.
            boottime_ns() + outcome.expires_ns - now_ns,
            self.answer(outcome),
        )

    def change(self, change: StateChange) -> Event:
        """Return the event for a state change."""
        data = {"state": change.after, "before": change.before, "cause": change.cause}
        return self._state(change.t_ns, data, change.session)

    def guidance(self, now_ns: int, kiosk: KioskStateMachine) -> Event:
        """Return the event with hints for the person: come closer, more light."""
        return self._state(now_ns, {"state": kiosk.state, "guidance": list(kiosk.guidance)}, kiosk.session)

    def trace(
        self, captured: CapturedPair, assessed: StreamAssessment, kiosk: KioskStateMachine, latency_ns: int
    ) -> Mapping[str, Any]:
        """Return an assessed pair in the form that the page shows."""
        event = pair_event(
            captured, assessed.assessment, assessed.reasons, self.threshold, expose_score=self.expose_score
        )
        return {**event, "state": kiosk.state, "session": kiosk.session, "latency_ms": round(latency_ns / 1e6, 2)}

    def _state(self, t_ns: int, data: Mapping[str, Any], session: str | None) -> Event:
        return Event("state", str(uuid.uuid4()), t_ns, utc_now(), {**self.place, **data, "session": session})
