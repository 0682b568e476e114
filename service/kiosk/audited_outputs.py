"""Outputs that receive a decision only after it has been written to the audit log and signed.

Writing waits for the disk, so a separate thread between the loop and the outputs writes the decisions, in order. If a
required log cannot be written, the outputs get the decision as ``uncertain`` with the reason ``audit_unavailable``. If
the disk hangs, no decision reaches the outputs, and one that reaches them late has expired.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runtime.core.errors import AdsnError
from runtime.liveness.decision import DECISIONS
from runtime.liveness.open import LoadedModel
from service.audit.trail import DecisionTrail
from service.kiosk.state_machine import SessionOutcome
from service.liveness.contract import CONTRACT_VERSION
from service.monitoring.health import Health, Severity
from service.outputs.base import PROBE_S, Channel, Event, EventQueue, Outputs, boottime_ns

log = logging.getLogger("adsn.kiosk")
CAPACITY = 1024
WITHHELD = "audit_unavailable"


def decision_answer(outcome: SessionOutcome, loaded: LoadedModel, *, expose_score: bool) -> Mapping[str, Any]:
    """Return the decision of a session in the form of a ``POST /liveness`` response.

    It is for the audit log and attestations. Its ``request_id`` is the id of the session, which is also the ``id`` of
    the event.
    """
    return {
        "contract_version": CONTRACT_VERSION,
        "request_id": outcome.session,
        "session_id": outcome.session,
        "decision": outcome.decision,
        "reasons": list(outcome.reasons),
        "score": outcome.score if expose_score else None,
        "threshold": loaded.pipeline.point.threshold if expose_score else None,
        "pair": {"source": "camera"},
        "model": {"sha256": loaded.model_sha256, "backend": loaded.pipeline.engine.info.backend},
    }


class AuditedOutputs(Outputs):
    """Outputs that get each decision after it has been written to the log of ``trail`` and signed.

    ``place``: name of the door in the log. Closing the outputs closes the log too.
    """

    def __init__(self, channels: list[Channel], health: Health, trail: DecisionTrail, *, place: str) -> None:
        super().__init__(channels)
        self._health, self._trail, self._place = health, trail, place
        self._queue = EventQueue(CAPACITY)
        self._busy_since: int | None = None
        self._failing = False
        self._withheld = ""
        self._thread = threading.Thread(target=self._run, name="adsn-audit", daemon=True)
        self._thread.start()

    def publish(self, event: Event) -> None:
        """Queue an event and return at once. A separate thread passes it to the outputs."""
        self._queue.put(event)

    def stuck_s(self) -> float:
        """Return how long the current decision has been waiting for the disk, in seconds; 0 without one."""
        since = self._busy_since
        return (time.monotonic_ns() - since) / 1e9 if since is not None else 0.0

    def waiting(self) -> int:
        """Return the number of events waiting here and in the outputs."""
        return self._queue.waiting + super().waiting()

    def close(self, timeout_s: float) -> None:
        """Pass on the queued events, then close the outputs, all within ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        self._queue.close()
        self._thread.join(timeout_s / 2)
        super().close(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        try:
            while not self._queue.closed:
                # Expired decisions are also written to the log; the outputs drop them.
                event = self._queue.get(PROBE_S, keep_expired=True)
                if event is None:
                    self._probe()
                else:
                    super().publish(self._audited(event))
        finally:
            self._trail.close()

    def _audited(self, event: Event) -> Event:
        """Return the event in the form that the outputs may receive."""
        if event.answer is None:
            return self._corrected(event)
        self._busy_since = time.monotonic_ns()
        try:
            self._write(event.answer)
            return replace(event, attestation=self._sign(event))
        except AdsnError as error:
            self._failed("critical", error.message)
        except Exception as error:
            # A bug must not open a door either. The message of the exception may contain anything, so only its type is
            # logged.
            log.error("a decision could not be written to the audit log: %s", type(error).__name__)
            self._failed("critical", f"{type(error).__name__} while writing a decision to the audit log.")
        finally:
            self._busy_since = None
        self._withheld = event.id
        return replace(event, decision="uncertain", reasons=(WITHHELD,))

    def _corrected(self, event: Event) -> Event:
        """Return the state change with the decision that the outputs got.

        Instead of a withheld decision they got ``uncertain``.
        """
        data = event.data
        if event.kind == "state" and data.get("session") == self._withheld and data.get("cause") in DECISIONS:
            return replace(event, data={**data, "cause": "uncertain"})
        return event

    def _write(self, answer: Mapping[str, Any]) -> None:
        written = self._trail.log
        if written is None:
            return
        before = written.failures
        self._trail.record(answer, self._place)
        if written.failures > before:
            self._failed("warning", "the audit log cannot be written; it will state how many decisions are missing.")
        else:
            self._passed()

    def _sign(self, event: Event) -> str | None:
        """Return the attestation. Its expiry is that of the decision or earlier, rounded down to a whole second."""
        attester = self._trail.attester
        if attester is None or event.answer is None or event.expires_ns is None:
            return None
        now = time.time()
        until = int(now + (event.expires_ns - boottime_ns()) / 1e9)
        return attester.attest(event.answer, None, int(now), until) if until > int(now) else None

    def _probe(self) -> None:
        """Try to write to a log that has failed. Otherwise an idle kiosk would never become ready again."""
        written = self._trail.log
        if not self._failing or written is None:
            return
        before = written.failures
        try:
            written.write("resumed", {})
        except Exception:
            return
        if written.failures == before:
            self._passed()

    def _failed(self, severity: Severity, detail: str) -> None:
        self._failing = True
        self._health.raise_("audit_failing", severity, detail)

    def _passed(self) -> None:
        self._failing = False
        self._health.clear("audit_failing")
